"""Reads an exchange's answer about a gap: the rows it gives, how far it reaches, what is missing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil, floor
from typing import NamedTuple

from collectors.models import Origin
from feeds.base import Candle, Trade

MINUTE = 60.0
PAGE = 300  # rows a request; coinbase gives no more


@dataclass(frozen=True, slots=True)
class GapSpan:
    """The part of a gap still to be asked for, in Unix seconds; its ends are rows we have, or moments of no row."""

    gap_id: int
    pipeline_id: int
    symbol: str
    start: float
    end: float
    is_ended: bool
    expected_seconds: float
    claimed_until: datetime


class Point(NamedTuple):
    """One row to store: a price that the exchange gave for this moment."""

    at: float
    price: float


class MinuteBar(NamedTuple):
    """A closed minute as the exchange's candle tells it; without trades its prices are only the last one again."""

    candle: Candle
    has_trades: bool


@dataclass(frozen=True, slots=True)
class AnswerRows:
    """The rows that an answer gives for a span, how far it reaches, and how many rows are missing up to there.

    `candles` are kept as they are, for the minutes that nothing else covers.
    """

    points: tuple[Point, ...]
    reached: float
    lacking: int
    origin: int
    candles: tuple[MinuteBar, ...] = ()


def minutes_between(start: float, end: float) -> int:
    """Returns how many whole minutes close strictly between two moments, in Unix seconds."""
    return max(0, ceil(end / MINUTE) - 1 - floor(start / MINUTE))


def from_candles(candles: Iterable[Candle], span: GapSpan) -> AnswerRows:
    """Returns the close of each closed minute with trades, at the moment it closed. Its high and low are a minute's,
    not a day's. Where an exchange repeats the last price, without volume, nobody has traded: that fills nothing."""
    closes: dict[float, float] = {}
    bars: dict[float, MinuteBar] = {}
    newest = reached = 0.0
    for candle in candles:
        closed_at = candle.opened_at + MINUTE
        newest = max(newest, closed_at)
        if not (span.start < closed_at < span.end and candle.opened_at % MINUTE == 0 and candle.close > 0):
            continue
        reached = max(reached, closed_at)
        bars[closed_at] = MinuteBar(candle, has_trades=not _is_written_on(candle))
        if bars[closed_at].has_trades:
            closes[closed_at] = candle.close
    last_due = (ceil(span.end / MINUTE) - 1) * MINUTE
    last_asked = (floor(span.start / MINUTE) + PAGE) * MINUTE
    is_all = last_due <= last_asked and (newest >= last_due or not reached)
    reached = span.end if is_all else reached or last_asked
    due = minutes_between(span.start, reached) + (reached < span.end)
    points = tuple(Point(at, closes[at]) for at in sorted(closes))
    kept = tuple(bars[at] for at in sorted(bars))
    return AnswerRows(points, reached, max(0, due - len(points)), Origin.CANDLE, kept)


def _is_written_on(candle: Candle) -> bool:
    return candle.base_volume == 0 and candle.open == candle.high == candle.low == candle.close


def from_trades(trades: Sequence[Trade], span: GapSpan) -> AnswerRows:
    """Returns the newest trade of each expected interval. Fewer than were asked for prove no end: exchanges cap their
    pages. So the rest stays open behind the newest one, until an answer goes beyond the end or has nothing more."""
    inside = sorted((t for t in trades if span.start < t.traded_at < span.end and t.price > 0), key=_traded_at)
    newest_by_interval = {_interval(span, trade.traded_at): trade for trade in inside}
    oldest = min((trade.traded_at for trade in trades), default=span.start)
    newest = max((trade.traded_at for trade in trades), default=span.start)
    reached = inside[-1].traded_at if inside and newest < span.end else span.end
    lacking = 0
    if oldest > span.start:  # before the oldest it was perhaps quiet, and perhaps the exchange does not keep so much
        lacking = max(_interval(span, min(oldest, reached)), int(not inside))
    points = tuple(Point(trade.traded_at, trade.price) for trade in newest_by_interval.values())
    return AnswerRows(points, reached, lacking, Origin.TRADE)


def _traded_at(trade: Trade) -> float:
    return trade.traded_at


def _interval(span: GapSpan, at: float) -> int:
    return int((at - span.start) / span.expected_seconds)
