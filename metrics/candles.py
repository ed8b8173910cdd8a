"""Finds closed candles that are missing and asks the exchange for those. Stored once, never changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import structlog
from django.conf import settings

from exchanges.models import Market
from feeds.base import Candle as FeedCandle
from feeds.base import FeedError
from metrics.exchange_calls import NotNow, open_line
from metrics.models import PERIOD_SECONDS, Candle, Series
from metrics.rules.indicators import Bar
from metrics.rules.regime import CandleWindow

log = structlog.get_logger(__name__)

SETTLE_SECONDS = 5.0  # after its close a candle is asked for: an exchange's clock may be behind ours
HOLES_SECONDS = 3600.0  # between two requests for candles that did not come: most of them never will
LIVE_PERIODS = 2  # a candle that came within so many periods of its end was watched, a later one is backfilled
PAGE_CANDLES = 500  # what exchanges give in one answer, or more


def newest_closed(now: datetime, period_seconds: int) -> float:
    """Returns the Unix second at which the newest bar that is surely closed was opened."""
    settled = now.timestamp() - SETTLE_SECONDS
    return float(settled - settled % period_seconds - period_seconds)


def load_window(
    market_id: int, timeframe: str, *, newest_at: float, lookback: int, known_at: datetime | None = None
) -> CandleWindow:
    """Returns the stored candles of `lookback` periods; with `known_at`, as they were known then."""
    period = PERIOD_SECONDS[timeframe]
    span = (_moment(newest_at - (lookback - 1) * period), _moment(newest_at))
    candles = Candle.objects.filter(market_id=market_id, timeframe=timeframe, opened_at__range=span)
    if known_at is not None:
        candles = candles.filter(fetched_at__lte=known_at)
    rows = candles.order_by("opened_at").values_list("opened_at", "open", "high", "low", "close", "is_backfilled")
    bars = tuple(Bar(row[0].timestamp(), *row[1:]) for row in rows)
    return CandleWindow(bars, newest_at, period, lookback)


def missing_since(window: CandleWindow) -> float | None:
    """Returns where the oldest missing candle of the window begins (Unix seconds); None when all are there."""
    present = {bar.opened_at for bar in window.bars}
    start = window.newest_at - (window.lookback - 1) * window.period_seconds
    wanted = (start + n * window.period_seconds for n in range(window.lookback))
    return next((opened_at for opened_at in wanted if opened_at not in present), None)


def is_due(series: Series, window: CandleWindow, now: datetime) -> bool:
    """Says whether to ask the exchange: for the newest candle once it is closed, for older holes once an hour."""
    since = missing_since(window)
    if since is None:
        return False
    holes_are_due = series.holes_asked_at is None or now - series.holes_asked_at >= timedelta(seconds=HOLES_SECONDS)
    newest_is_missing = not window.bars or window.bars[-1].opened_at < window.newest_at
    return holes_are_due or newest_is_missing


def collect(series: Series, *, now: datetime, deadline_seconds: float, lookback: int | None = None) -> int:
    """Asks for what is missing and returns the number of candles stored. Raises FeedError or NotNow.

    Harmless when run twice: a candle that is there stays as it is.
    """
    lookback = lookback or settings.CANDLE_LOOKBACK
    newest_at = newest_closed(now, series.period_seconds)
    window = load_window(series.market_id, series.timeframe, newest_at=newest_at, lookback=lookback)
    if not is_due(series, window, now):
        return 0
    since = _ask_from(series, window, now)
    try:
        fetched = _fetch(series, since=since, window=window, deadline_seconds=deadline_seconds, now=now)
    except (FeedError, NotNow) as error:
        Series.objects.filter(pk=series.pk).update(asked_at=now, last_error=str(error)[:500])
        raise
    stored = store(series.market, series.timeframe, fetched, now=now)
    asked_holes = {"holes_asked_at": now} if since < newest_at else {}
    Series.objects.filter(pk=series.pk).update(asked_at=now, last_error="", **asked_holes)
    return stored


def store(market: Market, timeframe: str, fetched: Iterable[FeedCandle], *, now: datetime) -> int:
    """Stores the candles that are closed, sane and on the timeframe's grid; returns how many were new."""
    period = PERIOD_SECONDS[timeframe]
    newest_at = newest_closed(now, period)
    live_since = newest_at - (LIVE_PERIODS - 1) * period
    rows = [
        Candle(
            market=market,
            timeframe=timeframe,
            opened_at=_moment(bar.opened_at),
            open=bar.open,
            high=bar.high,
            low=bar.low,
            close=bar.close,
            base_volume=bar.base_volume,
            fetched_at=now,
            is_backfilled=bar.opened_at < live_since,
        )
        for bar in fetched
        if bar.opened_at <= newest_at and bar.opened_at % period == 0 and is_sane(bar)
    ]
    wanted = Candle.objects.filter(market=market, timeframe=timeframe, opened_at__in=[row.opened_at for row in rows])
    before = wanted.count()
    Candle.objects.bulk_create(rows, ignore_conflicts=True)
    return wanted.count() - before


def is_sane(bar: FeedCandle) -> bool:
    return 0 < bar.low <= min(bar.open, bar.close) and max(bar.open, bar.close) <= bar.high < float("inf")


def _ask_from(series: Series, window: CandleWindow, now: datetime) -> float:
    """Returns where to ask from (Unix seconds): the oldest hole when holes are due, else behind the newest candle."""
    oldest = missing_since(window)
    assert oldest is not None
    was_asked = series.holes_asked_at is not None
    recently = was_asked and now - series.holes_asked_at < timedelta(seconds=HOLES_SECONDS)  # type: ignore[operator]
    if recently and window.bars:
        return window.bars[-1].opened_at + window.period_seconds
    return oldest


def _fetch(
    series: Series, *, since: float, window: CandleWindow, deadline_seconds: float, now: datetime
) -> Sequence[FeedCandle]:
    line = open_line(series.market.exchange, now=now)
    wanted = round((window.newest_at - since) / window.period_seconds) + 2
    return line.feed.fetch_candles(
        series.market.symbol,
        timeframe=series.timeframe,
        since=since,
        limit=min(wanted, PAGE_CANDLES),
        deadline_seconds=deadline_seconds,
        may_call=line.may_call,
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
