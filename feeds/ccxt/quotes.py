"""From an exchange's tickers to quotes: bulk answers where there are any, else one market after the other.

An error about one part never loses what has come for another: a kind of market or a request that fails is named in
`Poll.missing`, and the rest is handed on.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from feeds import errors
from feeds.base import BadReply, FeedError, Poll, Superseded, Unreachable, Unsupported
from feeds.loop import Call
from feeds.request_gate import HeldBack
from feeds.shared.field_maps import FieldMap, Request
from feeds.shared.quotes import NOTHING_KNOWN, QuoteBatch, read_rows
from feeds.shared.rejections import reject

CHUNK_SYMBOLS = 100  # more make a request line of over 8 kB at venues that put symbols into the address
LAST_WORD_SECONDS = 0.05  # before the deadline: enough to hand over what has come so far

# How a kind of market is asked for by symbols: together, all of one base currency, or each alone.
Way = Literal["together", "by coin", "one by one"]


class Silent(Unsupported):
    """The error of an exchange that answers, but for no market of this kind."""


@dataclass(slots=True)
class QuoteRoute:
    """The way to ask this exchange, and what has been learned about that; `forget` it with the market list."""

    field_map: FieldMap | None = None
    needs_symbols: bool = False
    heard_kinds: set[str] = field(default_factory=set)
    silent_kinds: set[str] = field(default_factory=set)  # asked for, never heard
    ways: dict[str, Way] = field(default_factory=dict)
    refusals: dict[str, Exception] = field(default_factory=dict)  # kinds that no way gives
    rests: dict[str, tuple[float, Exception]] = field(default_factory=dict)  # parts, until a monotonic moment
    turn: int = 0
    known_ids: Container[Any] = NOTHING_KNOWN
    _ids_of: Mapping[str, Any] | None = None
    _ids: Mapping[str, Any] = field(default_factory=dict)

    def forget(self) -> None:
        self.silent_kinds.clear()
        self.ways.clear()
        self.refusals.clear()

    def note_told(self, part: str, error: Exception) -> None:
        """Remembers until when a part is not to be asked for, where its answer said so."""
        seconds = getattr(error, "retry_after_seconds", None)
        if seconds:
            self.rests[part] = time.monotonic() + seconds, error

    def told(self, part: str) -> Exception | None:
        """Returns the answer that asked us to leave this part alone until later than now, for what is left of it."""
        until, error = self.rests.get(part, (0.0, None))
        left = until - time.monotonic()
        if error is None or left <= 0:
            return None
        again = copy.copy(error)
        again.retry_after_seconds = left  # type: ignore[attr-defined]
        return again

    def ids(self, markets: Mapping[str, Any], id_of: Callable[[Any], Any]) -> Mapping[str, Any]:
        """Returns the ids of the whole list in hand, by symbol; made once for each list."""
        if self._ids_of is not markets:
            self._ids_of, self._ids = markets, {symbol: id_of(market) for symbol, market in markets.items()}
            self.known_ids = frozenset(self._ids.values())
        return self._ids


async def fetch(client: Any, call: Call, symbols: Collection[str], route: QuoteRoute) -> Poll:
    if not symbols:
        return Poll((), 0)
    known = client.markets
    batch = QuoteBatch(call, {symbol: known[symbol] for symbol in symbols if symbol in known}, known)
    if not batch.wanted:
        raise Unsupported(f"{client.id} lists none of the {len(symbols)} wanted markets")
    if route.field_map is not None:
        ids = route.ids(known, route.field_map.id_of)
        batch.known = route.known_ids
        await _by_field_map(client, batch, route, {ids[symbol]: symbol for symbol in batch.wanted})
    elif client.has.get("fetchTickers"):
        await _in_bulk(client, batch, route)
    else:
        await _one_by_one(client, batch, route, batch.wanted, part="")
    return batch.poll()


# --- by field map ---------------------------------------------------------------------------------------------------


async def _by_field_map(client: Any, batch: QuoteBatch, route: QuoteRoute, symbols: Mapping[str, str]) -> None:
    """Asks each request for itself: one that fails costs its own markets."""
    field_map = route.field_map
    assert field_map is not None
    requests = [each for each in field_map.requests if any(map(each.covers, batch.wanted.values()))]
    for number, request in enumerate(requests):
        if told := route.told(request.part):
            batch.note_missing(request.part, told, _covered(batch, request))
            continue
        share = _seconds_left(batch.call) / (len(requests) - number)
        try:
            async with asyncio.timeout(share if len(requests) > 1 else None):
                reply = await getattr(client, request.endpoint)(dict(request.parameters))
            read_rows(batch, request.rows(reply), field_map, symbols)
        except Exception as error:
            if len(requests) == 1 or isinstance(error, Superseded):
                raise
            route.note_told(request.part, error)
            batch.note_missing(request.part, _in_words(error), _covered(batch, request))
    if batch.failures and not batch.quotes:
        raise min(batch.failures, key=_told_seconds)


def _covered(batch: QuoteBatch, request: Request) -> list[str]:
    return [symbol for symbol, market in batch.wanted.items() if request.covers(market)]


# --- in bulk --------------------------------------------------------------------------------------------------------


async def _in_bulk(client: Any, batch: QuoteBatch, route: QuoteRoute) -> None:
    """Asks for everything in one request; then, by symbols, for kinds of market that it does not cover."""
    if not route.needs_symbols:
        await _ask_for_all(client, batch, route)
    missing = _missing_by_kind(batch, route)
    for kind, symbols in missing.items():
        told = route.told(kind)
        if error := told or await _ask_for_kind(client, batch, route, kind, symbols):
            if told is None:
                route.note_told(kind, error)
            batch.note_missing(kind, error, [symbol for symbol in symbols if symbol not in batch.quotes])
            if _ends_the_poll(error):
                break
    if not batch.quotes:
        _raise_worst(batch)


async def _ask_for_all(client: Any, batch: QuoteBatch, route: QuoteRoute) -> None:
    batch.call.reads_all = True  # what ccxt looks up meanwhile are ids of the answer
    try:
        await client.fetch_tickers()
    except Exception as error:  # known by name: ccxt's classes stay inside their package
        if type(error).__name__ != "ArgumentsRequired":
            batch.take_rows()
            if not batch.quotes or isinstance(error, Superseded):
                raise
            batch.note_missing("the request for all", error, ())
        route.needs_symbols = route.needs_symbols or type(error).__name__ == "ArgumentsRequired"
    finally:
        batch.call.reads_all = False
    batch.take_rows()


def _missing_by_kind(batch: QuoteBatch, route: QuoteRoute) -> dict[str, list[str]]:
    """Returns kinds without a single quote. A missing market of an answered kind is a delisting by the exchange."""
    by_kind: dict[str, list[str]] = {}
    for symbol, market in batch.wanted.items():
        if market.get("active") is not False:
            by_kind.setdefault(_kind(market), []).append(symbol)
    heard = batch.quotes.keys() | {row.symbol for row in batch.call.rejected}
    return {kind: symbols for kind, symbols in by_kind.items() if heard.isdisjoint(symbols)}


def _kind(market: Mapping[str, Any]) -> str:
    return f"{market.get('type')} {market.get('subType') or ''}".strip()


async def _ask_for_kind(
    client: Any, batch: QuoteBatch, route: QuoteRoute, kind: str, symbols: list[str]
) -> Exception | None:
    """Asks by the first way that the exchange (or ccxt) does not refuse; returns the error if that is not enough."""
    if kind in route.silent_kinds:
        return Silent(f"{client.id} has answered for none of its {kind} markets; asked again with its next market list")
    if kind in route.refusals:
        return route.refusals[kind]
    refusal: Exception | None = None
    asked_before, refused_by_venue = batch.call.request_count, False
    for way in _ways_from(route.ways.get(kind, "together"), batch, symbols):
        seconds = None if way == "one by one" else _seconds_left(batch.call)
        try:
            async with asyncio.timeout(seconds):
                failure = await _WAYS[way](client, batch, route, kind, symbols)
        except Exception as error:  # ccxt's classes, by name; what has come is kept
            if isinstance(error, Superseded):
                raise
            if not _is_refusal(error):
                return _in_words(error)
            refusal = refusal or error
        else:
            if refusal is None or not refused_by_venue:
                route.ways[kind] = way
            return failure
        refused_by_venue = batch.call.request_count > asked_before
    assert refusal is not None
    if not refused_by_venue:  # ccxt cannot ask: nothing changes that before the next list
        route.refusals[kind] = refusal
    return refusal


def _ways_from(first: Way, batch: QuoteBatch, symbols: list[str]) -> Iterable[Way]:
    coins = {batch.wanted[symbol].get("base") for symbol in symbols}
    ways: list[Way] = ["together", "by coin", "one by one"]
    return [way for way in ways[ways.index(first) :] if way != "by coin" or len(coins) > 1 or first == "by coin"]


async def _together(
    client: Any, batch: QuoteBatch, route: QuoteRoute, kind: str, symbols: list[str]
) -> Exception | None:
    await _in_chunks(client, batch, symbols)
    if any(symbol in batch.quotes for symbol in symbols):
        route.heard_kinds.add(kind)
    elif kind not in route.heard_kinds:
        route.silent_kinds.add(kind)
        return Silent(f"{client.id} was asked for {kind} markets and has answered for none")
    return None


async def _by_coin(
    client: Any, batch: QuoteBatch, route: QuoteRoute, kind: str, symbols: list[str]
) -> Exception | None:
    """Asks coin by coin and returns the first error: a refusal or broken answer costs only its coin."""
    by_coin: dict[Any, list[str]] = defaultdict(list)
    for symbol in symbols:
        by_coin[batch.wanted[symbol].get("base")].append(symbol)
    first: Exception | None = None
    refused = 0
    for group in by_coin.values():
        left = [symbol for symbol in group if symbol not in batch.quotes]
        try:
            await _in_chunks(client, batch, left)
        except Exception as error:
            if not _costs_only_itself(error):
                raise
            first, refused = first or error, refused + 1
    if first is not None and refused == len(by_coin):
        raise first
    return first


async def _each(client: Any, batch: QuoteBatch, route: QuoteRoute, kind: str, symbols: list[str]) -> Exception | None:
    if not client.has.get("fetchTicker"):
        raise Unsupported(f"{client.id} gives {kind} markets neither in bulk nor one by one")
    await _one_by_one(client, batch, route, symbols, part=kind)
    return None


_WAYS: Mapping[Way, Callable[..., Awaitable[Exception | None]]] = {
    "together": _together,
    "by coin": _by_coin,
    "one by one": _each,
}


async def _in_chunks(client: Any, batch: QuoteBatch, symbols: list[str]) -> None:
    left = symbols
    while left:
        await client.fetch_tickers(left[:CHUNK_SYMBOLS])
        batch.take_rows()
        left = [symbol for symbol in left[CHUNK_SYMBOLS:] if symbol not in batch.quotes]


# --- one by one -----------------------------------------------------------------------------------------------------


async def _one_by_one(client: Any, batch: QuoteBatch, route: QuoteRoute, wanted: Collection[str], *, part: str) -> None:
    """Asks for as many as the deadline allows, from where the last poll stopped, so that none is left out for long."""
    symbols = sorted(wanted)
    start = route.turn % len(symbols)
    ordered = symbols[start:] + symbols[:start]
    for number, symbol in enumerate(ordered):
        route.turn += 1
        if symbol in batch.quotes:
            continue
        asked_before = batch.call.request_count
        try:
            async with asyncio.timeout(_seconds_left(batch.call)):
                await client.fetch_ticker(symbol)
        except Exception as error:  # ccxt raises anything for one market's odd answer; the other markets are asked for
            if isinstance(error, Superseded) or (not _costs_only_itself(error) and not batch.quotes):
                raise
            if not _costs_only_itself(error):
                route.turn -= 1
                batch.note_missing(part, _turn_over(error, number, len(ordered)), _left(batch, ordered[number:]))
                return
            if part and _is_refusal(error) and batch.call.request_count == asked_before:
                raise  # ccxt cannot ask for this kind at all
            reject(batch.call, symbol, error, None)
        batch.take_rows()


def _left(batch: QuoteBatch, symbols: Iterable[str]) -> list[str]:
    return [symbol for symbol in symbols if symbol not in batch.quotes]


def _turn_over(error: Exception, asked: int, count: int) -> Exception:
    if isinstance(error, TimeoutError | HeldBack):
        return HeldBack(f"asked market by market: {asked} of {count} fitted into this poll")
    return error


def _seconds_left(call: Call) -> float:
    return call.deadline_at - time.monotonic() - LAST_WORD_SECONDS


# --- what an error costs --------------------------------------------------------------------------------------------


def _in_words(error: Exception) -> Exception:
    return Unreachable("no complete answer before the deadline") if isinstance(error, TimeoutError) else error


def _costs_only_itself(error: Exception) -> bool:
    """Says whether an error is an odd answer or a refusal; an exchange that is gone or throttles us ends the asking."""
    if isinstance(error, TimeoutError | HeldBack):
        return False
    return isinstance(errors.from_exception(error), BadReply | Unsupported)


def _ends_the_poll(error: Exception) -> bool:
    return not _costs_only_itself(error)


def _is_refusal(error: Exception) -> bool:
    """Says whether this way of asking is not possible here; an answer that is no data is no refusal."""
    return type(error).__name__ in ("BadRequest", "ArgumentsRequired", "BadSymbol", "NotSupported", "Unsupported")


def _raise_worst(batch: QuoteBatch) -> None:
    """Raises the error of a poll that brought nothing: the exchange's, if one is. Silence alone is a bad reply."""
    failures = [error for error in batch.failures if not isinstance(error, Silent)]
    of_the_exchange = [error for error in failures if not isinstance(error, Unsupported)] or failures[:1]
    if of_the_exchange:
        raise min(of_the_exchange, key=_told_seconds)


def _told_seconds(error: FeedError) -> float:
    """Returns for how long a part is to be left alone: what may be asked sooner says when the poll may come again."""
    return error.retry_after_seconds or 0.0
