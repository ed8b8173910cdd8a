"""Charts of the admin: prices with bands and verdicts, and a grid's levels with its fills. Chart.js's own shape."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from collectors.history import reading
from lib import clock
from metrics import analysis
from metrics.models import Candle, Grid, PaperFill, Series
from metrics.rules import grid_levels, indicators

VERDICT_COLOURS = {
    "RANGE_OK": "#16a34a",
    "RANGE_WEAK": "#ca8a04",
    "TRANSITION": "#ea580c",
    "TREND": "#dc2626",
}
PRICE, QUIET, BUY, SELL, STOP = "#6366f1", "#8b95a5", "#16a34a", "#dc2626", "#dc2626"
BAND_FILL = "rgba(99, 102, 241, 0.10)"
WORDS_COLOUR = "#748091"  # of the axes: as readable on white as on the dark ground
SERIES_BARS = 120
GRID_SPAN = timedelta(hours=24)
LEVELS_SHOWN = 24  # more lines would be one grey area
POINTS_SHOWN = 240

Line = dict[str, Any]


class Key(NamedTuple):
    """One entry of the legend; `shape` is a class of marketmon/metrics.css."""

    shape: str
    colour: str
    words: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart for the admin; `data` and `options` are as the page's script reads them."""

    title: str
    data: str
    options: str
    keys: Sequence[Key]


def of_series(series: Series) -> Chart:
    """Draws the newest bars between bands, judged ones in their verdict's colour, and the newest verdict's bounds."""
    policy = analysis.policy()
    newest = Candle.objects.filter(market=series.market_id, timeframe=series.timeframe).order_by("-opened_at")
    candles = list(newest[: SERIES_BARS + policy.band_bars])[::-1]
    lower, upper = _bands([candle.close for candle in candles], policy.band_bars, policy.band_deviations)
    candles, lower, upper = candles[-SERIES_BARS:], lower[-SERIES_BARS:], upper[-SERIES_BARS:]
    verdicts = list(series.verdicts.exclude(bar_at=None).order_by("bar_at", "analyzed_at"))
    by_bar = {verdict.bar_at: verdict.verdict for verdict in verdicts}
    lines = [
        _judged([candle.close for candle in candles], [by_bar.get(candle.opened_at, "") for candle in candles]),
        {**_line("upper band", upper, QUIET, width=1), "fill": "+1", "backgroundColor": BAND_FILL},
        _line("lower band", lower, QUIET, width=1),
    ]
    if verdicts:
        bounds = {"lower bound": verdicts[-1].lower_bound, "upper bound": verdicts[-1].upper_bound}
        lines += [_level(name, value, len(candles), width=1.5) for name, value in bounds.items()]
    keys = [
        Key("line", PRICE, "close"),
        Key("band", QUIET, f"Bollinger bands ({policy.band_bars} bars, {policy.band_deviations:g} deviations)"),
        Key("dash", QUIET, "bounds of the range"),
        *(Key("dot", colour, name) for name, colour in VERDICT_COLOURS.items()),
    ]
    moments = [candle.opened_at for candle in candles]
    title = f"{series}: the last {len(candles)} closed candles"
    return _chart(title, moments, lines, keys=keys, unit=series.market.quote)


def of_grid(grid: Grid) -> Chart:
    """Draws a grid's levels, the price of the last day, and what was filled on paper."""
    now = clock.now()
    moments, prices = _minutes(grid, now)
    levels = grid_levels.build(grid.lower_bound, grid.upper_bound, levels=grid.levels, spacing=grid.spacing).levels
    inner = levels[1:-1]
    step = max(1, math.ceil(len(inner) / LEVELS_SHOWN))
    fills = list(PaperFill.objects.filter(grid=grid, filled_at__gte=now - GRID_SPAN))
    count = len(moments)
    lines = [_line("price", prices, PRICE, width=2)]
    lines += [_level(f"level {float(level):g}", float(level), count, width=0.75) for level in inner[::step]]
    lines += [_line("bound", [float(level)] * count, QUIET, width=1.5) for level in (levels[0], levels[-1])]
    if grid.stop_loss is not None:
        lines.append({**_level("stop loss", float(grid.stop_loss), count, width=1.5), "borderColor": STOP})
    lines += [_fills(side, fills, moments) for side in ("buy", "sell")]
    every = "levels" if step == 1 else f"levels (1 of {step} is drawn)"
    keys = [
        Key("line", PRICE, "price"),
        Key("line", QUIET, "bounds"),
        Key("dash", QUIET, every),
        *([Key("dash", STOP, "stop loss")] if grid.stop_loss is not None else []),
        Key("up", BUY, "bought on paper"),
        Key("down", SELL, "sold on paper"),
    ]
    title = f"{grid.market}: the last day, {len(fills)} fills on paper"
    return _chart(title, moments, lines, keys=keys, unit=grid.market.quote, rules=False)


def _minutes(grid: Grid, now: datetime) -> tuple[list[datetime], list[float]]:
    past = reading.read(grid.market_id, start=now - GRID_SPAN, end=now, limit=100_000, now=now, grain="minute")
    rows = past.rows[:: max(1, len(past.rows) // POINTS_SHOWN)]
    at, close = past.columns.index("minute_at"), past.columns.index("close")
    return [row[at] for row in rows], [row[close] for row in rows]


def _bands(closes: Sequence[float], bars: int, deviations: float) -> tuple[list[float | None], list[float | None]]:
    """Returns the lower and the upper band; None where bars are too few."""
    lower, upper = indicators.bands(closes, bars=bars, deviations=deviations)
    known = ([None if math.isnan(value) else float(value) for value in line] for line in (lower, upper))
    return next(known), next(known)


def _chart(
    title: str,
    moments: Sequence[datetime],
    lines: Sequence[Line],
    *,
    keys: Sequence[Key],
    unit: str,
    rules: bool = True,
) -> Chart:
    """Makes a chart; `rules` adds horizontal lines at the price's ticks, which would be taken for a grid's levels."""
    ticks = {"color": WORDS_COLOUR}
    options = {
        "animation": False,
        "maintainAspectRatio": False,
        "plugins": {"legend": {"display": False}},
        "scales": {
            "x": {"ticks": {"maxTicksLimit": 8, **ticks}, "grid": {"display": False}, "title": _words("UTC")},
            "y": {"ticks": {"display": True, **ticks}, "grid": {"display": rules}, "title": _words(unit)},
        },
    }
    data = {"labels": [_label(moment) for moment in moments], "datasets": list(lines)}
    return Chart(title, json.dumps(data), json.dumps(options), keys)


def _words(text: str) -> Mapping[str, Any]:
    return {"display": True, "text": text, "color": WORDS_COLOUR}


def _label(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%d %b %H:%M}"


def _line(label: str, values: Sequence[float | None], colour: str, *, width: float) -> Line:
    shape = {"borderWidth": width, "pointRadius": 0, "pointHitRadius": 6, "displayYAxis": True}
    return {"label": label, "data": list(values), "borderColor": colour, **shape}


def _judged(values: Sequence[float | None], verdicts: Sequence[str]) -> Line:
    """Returns the price line with a point on each bar that has a verdict, in the verdict's colour."""
    colours = [VERDICT_COLOURS.get(verdict, PRICE) for verdict in verdicts]
    radii = [4.5 if verdict in VERDICT_COLOURS else 0 for verdict in verdicts]
    points = {"pointRadius": radii, "pointBackgroundColor": colours, "pointBorderColor": colours}
    return {**_line("close", values, PRICE, width=2), **points}


def _level(label: str, value: float | None, count: int, *, width: float) -> Line:
    return {**_line(label, [value] * count, QUIET, width=width), "borderDash": [4, 4]}


def _fills(side: str, fills: Sequence[PaperFill], moments: Sequence[datetime]) -> Line:
    """Returns a side's fills as points, each at the minute nearest to it: one minute may have many."""
    points = [
        {"x": _label(min(moments, key=lambda moment: abs(moment - fill.filled_at))), "y": float(fill.price)}
        for fill in fills
        if fill.side == side and moments
    ]
    colour, turn = (BUY, 0) if side == "buy" else (SELL, 180)
    style = {"showLine": False, "pointRadius": 6, "pointStyle": "triangle", "pointRotation": turn, "order": -1}
    return {"label": side, "data": points, "borderColor": colour, "backgroundColor": colour, **style}
