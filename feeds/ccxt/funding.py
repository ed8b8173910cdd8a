"""Funding rates of perpetuals through ccxt: one request for all where the venue has that."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from feeds import errors
from feeds.base import BadReply, FundingRate, Superseded, Unsupported
from feeds.loop import note_failed_part

MOST_SINGLE_CALLS = 20  # where every market costs a request
LONGEST_INTERVAL_SECONDS = 31 * 86_400.0
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
        self._turn = 0

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
            rows: Mapping[str, Any] = await self._in_bulk(symbols)
            return rows.values()
        if has.get("fetchFundingRate"):
            return await self._one_by_one(sorted(symbols))
        raise Unsupported(f"{self._client.id} gives no funding rates")

    async def _in_bulk(self, symbols: Collection[str]) -> Any:
        """Of all; where ccxt cannot say what "all" are, of those that are wanted."""
        try:
            return await self._client.fetch_funding_rates()
        except Exception as error:
            if not isinstance(errors.from_exception(error), Unsupported):
                raise
        return await self._client.fetch_funding_rates(sorted(symbols))

    async def _one_by_one(self, symbols: Sequence[str]) -> list[Any]:
        """Some at a time, beginning where the last call stopped. One market's error costs that market; what ends the
        asking does not cost what has come."""
        start, rows = self._turn % len(symbols), list[Any]()
        first: Exception | None = None
        for symbol in (*symbols[start:], *symbols[:start])[:MOST_SINGLE_CALLS]:
            self._turn += 1
            try:
                rows.append(await self._client.fetch_funding_rate(symbol))
            except Exception as error:
                first, failure = first or error, errors.from_exception(error)
                if isinstance(failure, Superseded) or not (rows or isinstance(failure, BadReply | Unsupported)):
                    raise
                if not isinstance(failure, BadReply | Unsupported):
                    note_failed_part(failure)
                    break
        if not rows and first is not None:
            raise first
        return rows

    async def _list_of_intervals(self) -> Mapping[str, float]:
        if not self._client.has.get("fetchFundingIntervals"):
            return {}
        if time.monotonic() - self._intervals_at > INTERVALS_SECONDS:
            try:
                rows = await self._client.fetch_funding_intervals()
            except Exception as error:
                failure = errors.from_exception(error)
                if isinstance(failure, Superseded):
                    raise
                note_failed_part(failure)
                return self._intervals  # as they were; none where they were never had
            read = {symbol: self._seconds(row.get("interval")) for symbol, row in rows.items()}
            self._intervals = {symbol: seconds for symbol, seconds in read.items() if seconds is not None}
            self._intervals_at = time.monotonic()
        return self._intervals

    def _usual_interval(self) -> float | None:
        """Only where the list of those that differ was had: else it is not known which do."""
        return USUAL_INTERVALS.get(self._client.id) if math.isfinite(self._intervals_at) else None

    def _read(self, row: Any, intervals: Mapping[str, float], received_at: float) -> FundingRate | None:
        rate = _finite(row.get("fundingRate"))
        if rate is None:
            return None
        symbol, id_ = row["symbol"], self._client.id
        return FundingRate(
            symbol=symbol,
            rate=rate,
            interval_seconds=self._seconds(row.get("interval")) or intervals.get(symbol, self._usual_interval()),
            next_at=None if id_ in INVENTED_NEXT_TIMES else _next_at(row, received_at),
            mark_price=_finite(row.get("markPrice")),
            index_price=_finite(row.get("indexPrice")),
            exchange_at=_seconds_of(row.get("timestamp")),
            received_at=received_at,
        )

    def _seconds(self, interval: Any) -> float | None:
        """Of "8h", and of milliseconds, which ccxt hands on where it has no word for them; None for anything else."""
        if not isinstance(interval, str) or not interval:
            return None
        try:
            seconds = int(interval) / 1000 if interval.isdigit() else self._client.parse_timeframe(interval)
        except Exception:  # noqa: BLE001 - ccxt's NotSupported, ValueError
            return None
        return float(seconds) if 0 < seconds <= LONGEST_INTERVAL_SECONDS else None


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
