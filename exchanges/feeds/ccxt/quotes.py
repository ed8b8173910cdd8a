"""From a venue's tickers to quotes: one bulk answer where there is one, else market by market in turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import errors
from ..base import BadReply, Poll, Quote, Unreachable, Unsupported
from ..gate import HeldBack
from ..loop import Call
from .fields import FieldMap
from .lean import name_of, reject
from .numbers import number, seconds, side

CHUNK_SYMBOLS = 100  # more make a request line of over 8 kB at venues that put symbols into the address
LAST_WORD_SECONDS = 0.05  # before the deadline: enough to hand over what has come so far

Market = Mapping[str, Any]


@dataclass(slots=True)
class Route:
    """How to ask this venue, and what has been learned about that; lives as long as the client."""

    field_map: FieldMap | None = None
    needs_symbols: bool = False
    heard_kinds: set[str] = field(default_factory=set)
    silent_kinds: set[str] = field(default_factory=set)  # asked for, never heard; forgotten with the market list
    turn: int = 0


@dataclass(slots=True)
class Harvest:
    """Quotes as they come in. Two rows for one market cannot both be right: the last is kept, the other reported."""

    call: Call
    wanted: Mapping[str, Market]
    quotes: dict[str, Quote] = field(default_factory=dict)

    def add(self, quote: Quote) -> None:
        if quote.symbol in self.quotes:
            reject(self.call, quote.symbol, "sent twice in one answer; the later row is used", None)
        self.quotes[quote.symbol] = quote

    def take_rows(self) -> None:
        """What ccxt's parser made since the last call, whatever ccxt returned of it."""
        rows, self.call.rows = self.call.rows, []
        for row in rows:
            symbol = row.get("symbol")
            if isinstance(symbol, str) and symbol in self.wanted:
                self._take(symbol, row)

    def _take(self, symbol: str, row: Mapping[str, Any]) -> None:
        try:
            stamp = seconds(row.get("timestamp"))
        except (ValueError, OverflowError) as error:
            reject(self.call, symbol, error, row.get("info"))
            return
        self.add(
            Quote(
                symbol,
                row.get("last"),
                row.get("bid"),
                row.get("ask"),
                row.get("high"),
                row.get("low"),
                row.get("baseVolume"),
                row.get("quoteVolume"),
                stamp,
                self.call.answered_at,
            )
        )

    def poll(self) -> Poll:
        call = self.call
        if not self.quotes and not call.rejected:
            raise BadReply(
                f"{call.row_count} tickers came, none of the {len(self.wanted)} wanted",
                status=call.status,
                excerpt=call.body,
            )
        return Poll(tuple(self.quotes.values()), call.row_count, tuple(call.rejected))


async def fetch(client: Any, call: Call, symbols: Collection[str], route: Route) -> Poll:
    if not symbols:
        return Poll((), 0)
    known = client.markets
    harvest = Harvest(call, {symbol: known[symbol] for symbol in symbols if symbol in known})
    if not harvest.wanted:
        raise Unsupported(f"{client.id} lists none of the {len(symbols)} wanted markets")
    if route.field_map is not None:
        await _by_field_map(client, harvest, route.field_map)
    elif client.has.get("fetchTickers"):
        await _in_bulk(client, harvest, route)
    else:
        await _one_by_one(client, harvest, route)
    return harvest.poll()


async def _by_field_map(client: Any, harvest: Harvest, field_map: FieldMap) -> None:
    symbols = {market["id"]: symbol for symbol, market in harvest.wanted.items()}
    for request in field_map.requests:
        reply = await getattr(client, request.endpoint)(dict(request.parameters))
        read_rows(harvest, request.rows(reply), field_map, symbols)


def read_rows(
    harvest: Harvest, rows: Iterable[tuple[Any, Any]], field_map: FieldMap, symbols: Mapping[str, str]
) -> None:
    call, values_of, add = harvest.call, field_map.values, harvest.add
    received_at = call.answered_at
    for market_id, row in rows:
        call.row_count += 1
        try:
            symbol = symbols.get(market_id)
            if symbol is None:
                if market_id is None:
                    reject(call, "", "a row without a market id", row)
                continue
            last, bid, ask, high, low, base_volume, quote_volume, stamp = values_of(row)
            quote = Quote(
                symbol,
                number(last),
                side(bid),
                side(ask),
                side(high),
                side(low),
                number(base_volume),
                number(quote_volume),
                seconds(stamp),
                received_at,
            )
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            reject(call, str(symbols.get(market_id, "")) if isinstance(market_id, str) else name_of(row), error, row)
            continue
        add(quote)


async def _in_bulk(client: Any, harvest: Harvest, route: Route) -> None:
    """Everything in one request; then, by symbols, kinds of market that the bare request does not cover."""
    if not route.needs_symbols:
        try:
            await client.fetch_tickers()
        except Exception as error:  # known by name: ccxt's classes stay inside their package
            if type(error).__name__ != "ArgumentsRequired":
                raise
            route.needs_symbols = True
        harvest.take_rows()
    for kind, markets in _missing_by_kind(harvest, route).items():
        await _in_chunks(client, harvest, markets)
        if any(symbol in harvest.quotes for symbol in markets):
            route.heard_kinds.add(kind)
        elif kind not in route.heard_kinds:
            route.silent_kinds.add(kind)


def _missing_by_kind(harvest: Harvest, route: Route) -> dict[str, list[str]]:
    """Kinds without a single quote. A missing market of an answered kind is the venue's way of delisting it."""
    by_kind: dict[str, list[str]] = {}
    for symbol, market in harvest.wanted.items():
        if market.get("active") is not False:
            by_kind.setdefault(f"{market.get('type')} {market.get('subType')}", []).append(symbol)
    heard = harvest.quotes.keys() | {row.symbol for row in harvest.call.rejected}
    return {
        kind: symbols
        for kind, symbols in by_kind.items()
        if kind not in route.silent_kinds and heard.isdisjoint(symbols)
    }


async def _in_chunks(client: Any, harvest: Harvest, symbols: list[str]) -> None:
    left = symbols
    while left:
        await client.fetch_tickers(left[:CHUNK_SYMBOLS])
        harvest.take_rows()
        left = [symbol for symbol in left[CHUNK_SYMBOLS:] if symbol not in harvest.quotes]


async def _one_by_one(client: Any, harvest: Harvest, route: Route) -> None:
    """As many as the deadline allows, starting where the last poll stopped, so that every market gets its turn."""
    symbols = sorted(harvest.wanted)
    start = route.turn % len(symbols)
    for symbol in symbols[start:] + symbols[:start]:
        route.turn += 1
        if symbol in harvest.quotes:
            continue
        try:
            async with asyncio.timeout(_seconds_left(harvest.call)):
                await client.fetch_ticker(symbol)
        except Exception as error:  # ccxt raises anything for one market's odd answer; the other markets are asked for
            if _ends_the_poll(error, harvest):
                raise
            if isinstance(error, TimeoutError | HeldBack):
                route.turn -= 1
                return
            reject(harvest.call, symbol, error, None)
        harvest.take_rows()


def _seconds_left(call: Call) -> float:
    return call.deadline_at - time.monotonic() - LAST_WORD_SECONDS


def _ends_the_poll(error: Exception, harvest: Harvest) -> bool:
    """One market's bad answer does not; a venue that is gone, throttles or refuses does."""
    if isinstance(error, TimeoutError | HeldBack):
        return not harvest.quotes
    kind = errors.from_exception(error)
    if isinstance(kind, Unreachable):
        return True
    return not isinstance(kind, BadReply | Unsupported)
