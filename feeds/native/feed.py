"""NativeFeed: the Feed protocol for an exchange that says what it lists and how its answers are read."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import Any, ClassVar, TypeVar

import orjson

from feeds.base import (
    BadReply,
    Candle,
    Capabilities,
    FeedError,
    FeedSpec,
    FundingRate,
    Identities,
    Listing,
    MarketCache,
    OrderBook,
    Poll,
    Trade,
    TradePage,
    TradeSpan,
    Unsupported,
)
from feeds.deadlines import DeadlineFeed
from feeds.loop import Call
from feeds.native.http import Headers, Http, Pace
from feeds.shared.book_repair import Level, repaired
from feeds.shared.identity import tell_apart
from feeds.shared.numbers import number
from feeds.shared.quotes import QuoteBatch

T = TypeVar("T")

MARKET_FORMAT = 3  # part of the cache key: raise it when Listing changes


class NativeFeed(DeadlineFeed):
    """The base of all native exchanges. An exchange says the rest in the class attributes and the `read_…` methods."""

    name: ClassVar[str]
    has: ClassVar[Mapping[str, bool]]
    timeframes: ClassVar[Mapping[str, int]] = {}
    rate_limit_ms: ClassVar[float]
    burst_calls: ClassVar[int] = 3

    def __init__(self, spec: FeedSpec, market_cache: MarketCache | None = None) -> None:
        super().__init__(spec, market_cache)
        self.http = Http(spec, Pace(self.rate_limit_ms / 1000, burst_calls=self.burst_calls), self.explain)
        self._markets: dict[str, Listing] = {}
        self._identities: tuple[object, Identities] = (None, {})

    # what a venue says -------------------------------------------------------------------------------------------

    def explain(self, status: int, headers: Headers, content: Any) -> FeedError | None:
        """Returns the error that an answer is by the exchange's own words; None where its HTTP status decides."""
        return None

    @abstractmethod
    async def read_markets(self) -> Iterable[Listing]: ...

    @abstractmethod
    async def read_quotes(self, batch: QuoteBatch, wanted: Mapping[str, Listing]) -> None:
        """Hands the answers' rows to `batch`."""

    @abstractmethod
    async def prove_alive(self) -> None:
        """Sends the cheapest request. Raises FeedError where the answer says that the exchange is closed."""

    async def read_candles(
        self, market: Listing, period: int, since: float | None, limit: int | None
    ) -> Iterable[Candle]:
        raise Unsupported(f"{self.name} has no candles")

    async def read_trades(self, market: Listing, since: float | None, limit: int | None) -> Iterable[Trade]:
        raise Unsupported(f"{self.name} has no trades")

    async def read_trades_of(self, market: Listing, span: TradeSpan) -> Iterable[Trade]:
        raise Unsupported(f"{self.name} is not asked for trades of before")

    async def read_order_book(self, market: Listing, depth: int, call: Call) -> OrderBook:
        raise Unsupported(f"{self.name} has no order books")

    # the feed of it ----------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(self.name, dict(self.has), tuple(self.timeframes), self.rate_limit_ms)

    def identities(self) -> Identities:
        if self._identities[0] is not self._markets:
            found = {symbol: (market.kind, market.venue_id) for symbol, market in self._markets.items()}
            self._identities = self._markets, found
        return self._identities[1]

    async def _quotes(self, call: Call, symbols: Collection[str]) -> Poll:
        wanted = {symbol: self._markets[symbol] for symbol in symbols if symbol in self._markets}
        if not wanted:
            raise Unsupported(f"{self.name} lists none of the {len(symbols)} wanted markets")
        known = frozenset(market.venue_id for market in self._markets.values())
        batch = QuoteBatch(call, {symbol: {} for symbol in wanted}, known)
        await self.read_quotes(batch, wanted)
        return batch.poll()

    async def _candles(self, symbol: str, timeframe: str, since: float | None, limit: int | None) -> tuple[Candle, ...]:
        if timeframe not in self.timeframes:
            raise Unsupported(f"{self.name} has no candles of {timeframe[:20]}")
        found = await self.read_candles(await self._find(symbol), self.timeframes[timeframe], since, limit)
        return _first(found, since, limit, at=lambda candle: candle.opened_at)

    async def _trades(self, symbol: str, since: float | None, limit: int | None) -> tuple[Trade, ...]:
        found = await self.read_trades(await self._find(symbol), since, limit)
        return _first(found, since, limit, at=_traded_at)

    async def _trade_page(self, call: Call, symbol: str, span: TradeSpan | None, limit: int) -> TradePage:
        market = await self._find(symbol)
        if span is None:
            found = _first(await self.read_trades(market, None, limit), None, limit, at=_traded_at)
        else:
            found = _first(await self.read_trades_of(market, span), None, None, at=_traded_at)
        return TradePage(found, call.answered_at)

    async def _order_book(self, call: Call, symbol: str, depth: int) -> OrderBook:
        book = await self.read_order_book(await self._find(symbol), depth, call)
        if not book.bids and not book.asks and book.exchange_at is None:
            raise BadReply("an order book without levels and time")
        return book

    async def _funding(self, call: Call, symbols: Collection[str]) -> tuple[FundingRate, ...]:
        raise Unsupported(f"{self.name} gives no funding rates")

    async def _balance(self) -> Mapping[str, Mapping[str, Any]]:
        raise Unsupported(f"{self.name}: balances are not read")

    async def _prove_alive(self, call: Call) -> None:
        await self.prove_alive()

    async def _close(self) -> None:
        await self.http.close()

    async def _find(self, symbol: str) -> Listing:
        await self._ensure_markets()
        found = self._markets.get(symbol)
        if found is None:
            raise Unsupported(f"{self.name} lists no {symbol[:100]}")
        return found

    @property
    def _cache_key(self) -> str:
        return market_cache_key(self.spec)

    @property
    def _knows_markets(self) -> bool:
        return bool(self._markets)

    def _listings_of(self, packed: bytes) -> tuple[Listing, ...]:
        return tuple(unpack_markets(packed).values())

    async def _pack_markets(self) -> bytes:
        listed = [asdict(market) | {"id": market.venue_id} for market in await self.read_markets()]
        if not listed:
            raise BadReply(f"{self.name} listed no usable market")
        tell_apart(listed)
        return orjson.dumps([{key: value for key, value in row.items() if key != "id"} for row in listed])

    def _install(self, packed: bytes) -> None:
        known = unpack_markets(packed)
        if not known:
            raise ValueError("no market in it")
        self._markets = known


def market_cache_key(spec: FeedSpec) -> str:
    where = sha256(spec.base_url.encode()).hexdigest()[:12] if spec.base_url else "venue"
    return f"markets:native{MARKET_FORMAT}:{spec.exchange_id}:{where}"


def rows_of(content: Any, what: str) -> list[Any]:
    """Returns the list that the content has to be; raises BadReply for anything else."""
    if not isinstance(content, list):
        raise BadReply(f"expected a list of {what}, got {type(content).__name__}")
    return content


def candle(opened_at: object, prices: Iterable[object], volume: object) -> Candle | None:
    """Returns the bar; None where a price is missing or not finite: a bar cannot be judged without its prices."""
    values = [number(value) for value in (opened_at, *prices)]
    if any(value is None or not math.isfinite(value) for value in values):
        return None
    begin, first, high, low, last = (value for value in values if value is not None)
    return Candle(begin, first, high, low, last, number(volume))


def trade(trade_id: object, traded_at: object, price: object, amount: object, side: object) -> Trade | None:
    values = [number(value) for value in (traded_at, price, amount)]
    if any(value is None or not math.isfinite(value) for value in values):
        return None
    at, paid, size = (value for value in values if value is not None)
    known_side = str(side).lower() if str(side).lower() in ("buy", "sell") else None
    return Trade(None if trade_id is None else str(trade_id), at, paid, size, known_side)


def levels(rows: Iterable[tuple[object, object]], depth: int, *, is_bid: bool) -> tuple[tuple[Level, ...], int]:
    """Returns the levels best first, whatever order they came in, each price once, and how many were put right."""
    read = [(number(price), number(amount)) for price, amount in rows]
    whole = [(p, a) for p, a in read if p is not None and a is not None and math.isfinite(p) and math.isfinite(a)]
    return repaired(sorted(whole, reverse=is_bid), depth)


def is_name(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= 50 and text.isprintable() and "/" not in text


def _first(found: Iterable[T], since: float | None, limit: int | None, *, at: Callable[[T], float]) -> tuple[T, ...]:
    """Returns the items in ascending order; the first ones from `since`, or else the newest."""
    ordered = sorted((one for one in found if since is None or at(one) >= since), key=at)
    if limit is None:
        return tuple(ordered)
    return tuple(ordered[:limit] if since is not None else ordered[-limit:])


def _traded_at(trade: Trade) -> float:
    return trade.traded_at


def identities_in(packed: bytes) -> Identities:
    """Returns kind and id of each market of a packed list."""
    return {symbol: (market.kind, market.venue_id) for symbol, market in unpack_markets(packed).items()}


def unpack_markets(packed: bytes) -> dict[str, Listing]:
    """Returns the listings by symbol; empty for what is spoiled in the cache: the exchange has another."""
    try:
        return {row["symbol"]: Listing(**row) for row in orjson.loads(packed)}
    except (ValueError, KeyError, TypeError):
        return {}
