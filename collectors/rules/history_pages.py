"""Reads one page of an exchange's history as minutes: what it tells of each, and how far it reaches. Pure.

Candles and trades are judged as when a gap is filled: only closed, aligned minutes with sound prices count, and where
nobody traded there is no minute. What a page does not prove whole is left out and counted as lacking.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from feeds.base import Candle, Trade

MINUTE = 60
SKIPS = 1  # minutes left out at the edge of a page of trades: nobody knows what of them is on the page before


@dataclass(frozen=True, slots=True)
class HistoryMinute:
    """One minute as the exchange tells it; `trades` is null where a candle tells it. Without trades it has no price."""

    opened_at: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    has_trades: bool = True
    trades: int | None = None


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """The minutes of one answer, oldest first. Everything before `reached` is asked for."""

    minutes: tuple[HistoryMinute, ...]
    reached: int
    lacking: int


def of_candles(candles: Iterable[Candle], start: int, end: int) -> HistoryPage:
    """Returns the minutes that open in [start, end). An exchange that begins later is asked from there on."""
    sound = {
        int(each.opened_at): each
        for each in candles
        if each.opened_at % MINUTE == 0 and each.opened_at >= start and _is_sound(each)
    }
    inside = [sound[at] for at in sorted(sound) if at < end]
    first_later = min((at for at in sound if at >= end), default=None)
    reached = int(inside[-1].opened_at) + MINUTE if inside and first_later is None else end
    minutes = tuple(_of_candle(each) for each in inside)
    due = (reached - start) // MINUTE
    return HistoryPage(minutes, reached, due - len(minutes))


def _is_sound(candle: Candle) -> bool:
    return 0 < candle.low <= min(candle.open, candle.close) and max(candle.open, candle.close) <= candle.high


def _of_candle(candle: Candle) -> HistoryMinute:
    prices = (candle.open, candle.high, candle.low, candle.close)
    is_written_on = candle.base_volume == 0 and len(set(prices)) == 1
    return HistoryMinute(int(candle.opened_at), *prices, candle.base_volume, has_trades=not is_written_on)


def of_trades(trades: Sequence[Trade], start: int, end: int) -> HistoryPage:
    """Returns the minutes of [start, end) that lie whole on the page. The newest is whole only if a later trade is
    there; the oldest only if the page begins with the span, or it is the exchange's first."""
    sound = sorted((each for each in trades if each.price > 0 and each.traded_at >= start), key=_traded_at)
    if not sound:
        return HistoryPage((), end, (end - start) // MINUTE)
    newest, oldest = _minute(sound[-1]), _minute(sound[0])
    reached = min(newest, end) if newest > start else min(start + MINUTE, end)
    grouped: dict[int, list[Trade]] = {}
    for each in sound:
        grouped.setdefault(_minute(each), []).append(each)
    is_begun = oldest == start or any(each.traded_at < start for each in trades)
    whole = [at for at in sorted(grouped) if at < reached and (is_begun or at > oldest)]
    minutes = tuple(_of_trades(at, grouped[at]) for at in whole)
    lacking = 0 if is_begun else (min(oldest + SKIPS * MINUTE, reached) - start) // MINUTE
    return HistoryPage(minutes, reached, lacking)


def _of_trades(opened_at: int, trades: Sequence[Trade]) -> HistoryMinute:
    prices = [each.price for each in trades]
    volume = sum(each.amount for each in trades)
    return HistoryMinute(
        opened_at, prices[0], max(prices), min(prices), prices[-1], volume, has_trades=True, trades=len(trades)
    )


def _minute(trade: Trade) -> int:
    return int(trade.traded_at // MINUTE) * MINUTE


def _traded_at(trade: Trade) -> float:
    return trade.traded_at
