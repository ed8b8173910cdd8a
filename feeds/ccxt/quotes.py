"""From a venue's tickers to quotes: one bulk answer where there is one, else market by market in turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from feeds import errors
from feeds.base import BadReply, Poll, Unreachable, Unsupported
from feeds.loop import Call
from feeds.request_gate import HeldBack
from feeds.shared.field_maps import FieldMap
from feeds.shared.quotes import QuoteBatch, read_rows
from feeds.shared.rejections import reject

CHUNK_SYMBOLS = 100  # more make a request line of over 8 kB at venues that put symbols into the address
LAST_WORD_SECONDS = 0.05  # before the deadline: enough to hand over what has come so far


@dataclass(slots=True)
class QuoteRoute:
    """How to ask this venue, and what has been learned about that; lives as long as the client."""

    field_map: FieldMap | None = None
    needs_symbols: bool = False
    heard_kinds: set[str] = field(default_factory=set)
    silent_kinds: set[str] = field(default_factory=set)  # asked for, never heard; forgotten with the market list
    turn: int = 0


async def fetch(client: Any, call: Call, symbols: Collection[str], route: QuoteRoute) -> Poll:
    if not symbols:
        return Poll((), 0)
    known = client.markets
    batch = QuoteBatch(call, {symbol: known[symbol] for symbol in symbols if symbol in known})
    if not batch.wanted:
        raise Unsupported(f"{client.id} lists none of the {len(symbols)} wanted markets")
    if route.field_map is not None:
        await _by_field_map(client, batch, route.field_map)
    elif client.has.get("fetchTickers"):
        await _in_bulk(client, batch, route)
    else:
        await _one_by_one(client, batch, route)
    return batch.poll()


async def _by_field_map(client: Any, batch: QuoteBatch, field_map: FieldMap) -> None:
    symbols = {market["id"]: symbol for symbol, market in batch.wanted.items()}
    for request in field_map.requests:
        reply = await getattr(client, request.endpoint)(dict(request.parameters))
        read_rows(batch, request.rows(reply), field_map, symbols)


async def _in_bulk(client: Any, batch: QuoteBatch, route: QuoteRoute) -> None:
    """Everything in one request; then, by symbols, kinds of market that the bare request does not cover."""
    if not route.needs_symbols:
        try:
            await client.fetch_tickers()
        except Exception as error:  # known by name: ccxt's classes stay inside their package
            if type(error).__name__ != "ArgumentsRequired":
                raise
            route.needs_symbols = True
        batch.take_rows()
    for kind, markets in _missing_by_kind(batch, route).items():
        await _in_chunks(client, batch, markets)
        if any(symbol in batch.quotes for symbol in markets):
            route.heard_kinds.add(kind)
        elif kind not in route.heard_kinds:
            route.silent_kinds.add(kind)


def _missing_by_kind(batch: QuoteBatch, route: QuoteRoute) -> dict[str, list[str]]:
    """Kinds without a single quote. A missing market of an answered kind is the venue's way of delisting it."""
    by_kind: dict[str, list[str]] = {}
    for symbol, market in batch.wanted.items():
        if market.get("active") is not False:
            by_kind.setdefault(f"{market.get('type')} {market.get('subType')}", []).append(symbol)
    heard = batch.quotes.keys() | {row.symbol for row in batch.call.rejected}
    return {
        kind: symbols
        for kind, symbols in by_kind.items()
        if kind not in route.silent_kinds and heard.isdisjoint(symbols)
    }


async def _in_chunks(client: Any, batch: QuoteBatch, symbols: list[str]) -> None:
    left = symbols
    while left:
        await client.fetch_tickers(left[:CHUNK_SYMBOLS])
        batch.take_rows()
        left = [symbol for symbol in left[CHUNK_SYMBOLS:] if symbol not in batch.quotes]


async def _one_by_one(client: Any, batch: QuoteBatch, route: QuoteRoute) -> None:
    """As many as the deadline allows, starting where the last poll stopped, so that every market gets its turn."""
    symbols = sorted(batch.wanted)
    start = route.turn % len(symbols)
    for symbol in symbols[start:] + symbols[:start]:
        route.turn += 1
        if symbol in batch.quotes:
            continue
        try:
            async with asyncio.timeout(_seconds_left(batch.call)):
                await client.fetch_ticker(symbol)
        except Exception as error:  # ccxt raises anything for one market's odd answer; the other markets are asked for
            if _ends_the_poll(error, batch):
                raise
            if isinstance(error, TimeoutError | HeldBack):
                route.turn -= 1
                return
            reject(batch.call, symbol, error, None)
        batch.take_rows()


def _seconds_left(call: Call) -> float:
    return call.deadline_at - time.monotonic() - LAST_WORD_SECONDS


def _ends_the_poll(error: Exception, batch: QuoteBatch) -> bool:
    """One market's bad answer does not; a venue that is gone, throttles or refuses does."""
    if isinstance(error, TimeoutError | HeldBack):
        return not batch.quotes
    kind = errors.from_exception(error)
    if isinstance(kind, Unreachable):
        return True
    return not isinstance(kind, BadReply | Unsupported)
