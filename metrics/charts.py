"""What the admin draws: prices with bands and verdicts, and a grid's levels with its fills. Chart.js's own shape."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from collectors import history
from marketmon.lib import clock
from metrics import ladder
from metrics.models import Candle, Grid, PaperFill, Series

VERDICT_COLOURS = {
    "RANGE_OK": "#16a34a",
    "RANGE_WEAK": "#ca8a04",
    "TRANSITION": "#ea580c",
    "TREND": "#dc2626",
    "": "#9ca3af",
}
SERIES_BARS = 120
GRID_SPAN = timedelta(hours=24)
LEVELS_SHOWN = 24  # more lines would be one grey area
POINTS_SHOWN = 240


@dataclass(frozen=True, slots=True)
class Chart:
    """`data` and `options` as the page's script reads them."""

    title: str
    data: str
    options: str
    words: str = ""


def of_series(series: Series) -> Chart:
    """The newest bars, each in the colour of the verdict that counted then, between the newest verdict's bounds."""
    candles = list(
        Candle.objects.filter(market=series.market_id, timeframe=series.timeframe).order_by("-opened_at")[:SERIES_BARS]
    )[::-1]
    verdicts = list(series.verdicts.exclude(bar_at=None).order_by("bar_at", "analyzed_at"))
    by_bar = {verdict.bar_at: verdict for verdict in verdicts}
    colours, shown = [], ""
    for candle in candles:
        shown = by_bar[candle.opened_at].verdict if candle.opened_at in by_bar else shown
        colours.append(VERDICT_COLOURS.get(shown, VERDICT_COLOURS[""]))
    newest = verdicts[-1] if verdicts else None
    lines = [_line("close", [candle.close for candle in candles], "#6366f1", points=colours)]
    if newest is not None:
        lines += [
            _level("lower bound", newest.lower_bound, len(candles)),
            _level("upper bound", newest.upper_bound, len(candles)),
        ]
    words = ", ".join(f"{name} {colour}" for name, colour in _named_colours())
    return _chart(f"{series}", [candle.opened_at for candle in candles], lines, words=words)


def of_grid(grid: Grid) -> Chart:
    """Levels, the price of the last day, and what was filled on paper."""
    now = clock.now()
    past = history.read(grid.market_id, start=now - GRID_SPAN, end=now, limit=100_000, now=now, grain="minute")
    rows = past.rows[:: max(1, len(past.rows) // POINTS_SHOWN)]
    at, close = past.columns.index("minute_at"), past.columns.index("close")
    moments = [row[at] for row in rows]
    levels = ladder.build(grid.lower_bound, grid.upper_bound, levels=grid.levels, spacing=grid.spacing).levels
    step = max(1, len(levels) // LEVELS_SHOWN)
    lines = [_line("price", [row[close] for row in rows], "#6366f1")]
    lines += [_level(f"{float(level):g}", float(level), len(moments), width=0.5) for level in levels[::step]]
    fills = list(PaperFill.objects.filter(grid=grid, filled_at__gte=now - GRID_SPAN))
    lines += [_fills(side, fills, moments) for side in ("buy", "sell")]
    return _chart(f"{grid.market}: the last day, {len(fills)} fills on paper", moments, lines)


def _chart(title: str, moments: Sequence[datetime], lines: Sequence[dict[str, Any]], *, words: str = "") -> Chart:
    labels = [f"{moment.astimezone(UTC):%d %b %H:%M}" for moment in moments]
    options = {
        "animation": False,
        "maintainAspectRatio": False,
        "plugins": {"legend": {"display": False}},
        "scales": {"x": {"ticks": {"maxTicksLimit": 8}}, "y": {"ticks": {"display": True}}},
    }
    return Chart(title, json.dumps({"labels": labels, "datasets": list(lines)}), json.dumps(options), words)


def _line(label: str, values: Sequence[float | None], colour: str, *, points: Sequence[str] = ()) -> dict[str, Any]:
    shown = {"pointRadius": 2.5, "pointBackgroundColor": list(points), "pointBorderColor": list(points)}
    more = shown if points else {"pointRadius": 0}
    return {
        "label": label,
        "data": list(values),
        "borderColor": colour,
        "borderWidth": 1.5,
        "displayYAxis": True,
        **more,
    }


def _level(label: str, value: float | None, count: int, *, width: float = 1.0) -> dict[str, Any]:
    dashes = {"borderDash": [4, 4], "borderWidth": width, "pointRadius": 0}
    return {"label": label, "data": [value] * count, "borderColor": "#9ca3af", **dashes}


def _fills(side: str, fills: Sequence[PaperFill], moments: Sequence[datetime]) -> dict[str, Any]:
    """Each at the minute that is nearest to it."""
    values: list[float | None] = [None] * len(moments)
    for fill in fills:
        if fill.side == side and moments:
            nearest = min(range(len(moments)), key=lambda n: abs(moments[n] - fill.filled_at))
            values[nearest] = float(fill.price)
    colour = "#16a34a" if side == "buy" else "#dc2626"
    style = {
        "showLine": False,
        "pointRadius": 4,
        "pointStyle": "triangle",
        "pointRotation": 0 if side == "buy" else 180,
    }
    return {"label": side, "data": values, "borderColor": colour, "backgroundColor": colour, **style}


def _named_colours() -> list[tuple[str, str]]:
    words = {"#16a34a": "green", "#ca8a04": "yellow", "#ea580c": "orange", "#dc2626": "red", "#9ca3af": "grey"}
    return [(name or "no verdict", words[colour]) for name, colour in VERDICT_COLOURS.items()]
