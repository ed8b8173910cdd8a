"""Funding rates of perpetuals through ccxt: one request for all where the venue has that."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from feeds.base import BadReply, FundingRate, Unsupported

MOST_SINGLE_CALLS = 20  # where every market costs a request
INTERVALS_SECONDS = 3600.0  # how long the list of intervals is good
# The list of intervals names only markets that differ from this.
USUAL_INTERVALS: Mapping[str, float] = {"binanceusdm": 28_800.0, "binancecoinm": 28_800.0}
# ccxt makes the next time up from our clock.
INVENTED_NEXT_TIMES = frozenset({"hyperliquid"})


class FundingReader:
    """Reads one client's rates, and remembers the intervals that some venues give in a list of their own."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._intervals: dict[str, float] = {}
        self._intervals_at = -math.inf

    async def fetch(self, symbols: Collection[str], *, answered_at: Any) -> tuple[FundingRate, ...]:
        """`answered_at` is asked after the answer has come."""
        known = [symbol for symbol in symbols if symbol in self._client.markets]
        if not known:
            raise Unsupported(f"{self._client.id} lists none of the {len(symbols)} wanted markets")
        rows = await self._rows(known)
        received_at = answered_at()
        intervals = await self._list_of_intervals()
        wanted = frozenset(known)
        read = (self._read(row, intervals, received_at) for row in rows if row.get("symbol") in wanted)
        found = tuple(rate for rate in read if rate is not None)
        if not found:
            raise BadReply(f"{self._client.id} gave no funding rate of {len(known)} markets")
        return found

    async def _rows(self, symbols: Collection[str]) -> Iterable[Any]:
        has = self._client.has
        if has.get("fetchFundingRates"):
            rows: Mapping[str, Any] = await self._client.fetch_funding_rates()
            return rows.values()
        if has.get("fetchFundingRate"):
            return [await self._client.fetch_funding_rate(symbol) for symbol in sorted(symbols)[:MOST_SINGLE_CALLS]]
        raise Unsupported(f"{self._client.id} gives no funding rates")

    async def _list_of_intervals(self) -> Mapping[str, float]:
        if not self._client.has.get("fetchFundingIntervals"):
            return {}
        if time.monotonic() - self._intervals_at > INTERVALS_SECONDS:
            rows = await self._client.fetch_funding_intervals()
            read = {symbol: self._seconds(row.get("interval")) for symbol, row in rows.items()}
            self._intervals = {symbol: seconds for symbol, seconds in read.items() if seconds is not None}
            self._intervals_at = time.monotonic()
        return self._intervals

    def _read(self, row: Any, intervals: Mapping[str, float], received_at: float) -> FundingRate | None:
        rate = _finite(row.get("fundingRate"))
        if rate is None:
            return None
        symbol, id_ = row["symbol"], self._client.id
        usual = USUAL_INTERVALS.get(id_)
        return FundingRate(
            symbol=symbol,
            rate=rate,
            interval_seconds=self._seconds(row.get("interval")) or intervals.get(symbol, usual),
            next_at=None if id_ in INVENTED_NEXT_TIMES else _next_at(row, received_at),
            mark_price=_finite(row.get("markPrice")),
            index_price=_finite(row.get("indexPrice")),
            exchange_at=_seconds_of(row.get("timestamp")),
            received_at=received_at,
        )

    def _seconds(self, interval: Any) -> float | None:
        return float(self._client.parse_timeframe(interval)) if isinstance(interval, str) and interval else None


def _next_at(row: Any, now: float) -> float | None:
    """Some venues put the next payment under fundingTimestamp, some the last one."""
    stamps = (_seconds_of(row.get(name)) for name in ("fundingTimestamp", "nextFundingTimestamp"))
    ahead = [stamp for stamp in stamps if stamp is not None and stamp > now]
    return min(ahead, default=None)


def _seconds_of(milliseconds: Any) -> float | None:
    value = _finite(milliseconds)
    return None if value is None else value / 1000


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
