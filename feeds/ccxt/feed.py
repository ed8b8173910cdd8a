"""CcxtFeed: the Feed protocol over one client of ccxt."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from hashlib import sha256
from itertools import islice
from typing import Any, TypeVar

from feeds.base import (
    BadReply,
    Candle,
    Capabilities,
    FeedSpec,
    FundingRate,
    Identities,
    Listing,
    MarketCache,
    MayCall,
    OrderBook,
    Poll,
    Trade,
    TradePage,
    TradeSpan,
    Unreachable,
    Unsupported,
)
from feeds.ccxt import books, markets, quotes, trades
from feeds.ccxt.fields import FIELD_MAPS
from feeds.ccxt.funding import FundingReader
from feeds.ccxt.lazy import known_classes
from feeds.ccxt.lean import lean_class
from feeds.ccxt.quirks import quirk_of, window_seconds
from feeds.deadlines import DeadlineFeed
from feeds.loop import Call, current_call
from feeds.shared.addresses import rebase
from feeds.shared.session import open_session
from lib import clock

T = TypeVar("T")

PROOF_MARKETS = 5
FUTURE_SHARE = 0.5  # of its period: so far ahead of our clock no running bar begins
REQUEST_MILLISECONDS = 10_000  # one request's share of a longer deadline
MARKET_FORMAT = 3  # part of the cache key: raise it when markets.pack changes


def class_names() -> frozenset[str]:
    """Returns ids that ccxt speaks and a route can carry; of prediction exchanges those that have an id of ours."""
    return frozenset(name for name in known_classes() if ":" not in name)


class CcxtFeed(DeadlineFeed):
    """One exchange through ccxt."""

    def __init__(self, spec: FeedSpec, market_cache: MarketCache | None = None) -> None:
        super().__init__(spec, market_cache)
        self._quirk = quirk_of(spec.exchange_id)
        self._client = build_client(spec)
        self._funding_reader = FundingReader(self._client)
        self._session_lock = asyncio.Lock()
        self._identities: tuple[object, Identities] = (None, {})
        self._route = quotes.QuoteRoute(FIELD_MAPS.get(spec.exchange_id))

    @property
    def capabilities(self) -> Capabilities:
        client = self._client
        return Capabilities(
            name=str(client.name),
            has={name: bool(value) for name, value in client.has.items()},
            timeframes=tuple(client.timeframes or ()),
            rate_limit_ms=float(client.rateLimit),
            rate_window_seconds=window_seconds(client.id, client.rollingWindowSize),
            needs_credentials=self._quirk.needs_credentials,
        )

    def identities(self) -> Identities:
        known = self._client.markets or {}
        if self._identities[0] is not known:
            self._identities = known, markets.identities(known.values())
        return self._identities[1]

    async def _quotes(self, call: Call, symbols: Collection[str]) -> Poll:
        return await self._fetch(call, symbols)

    async def _candles(self, symbol: str, timeframe: str, since: float | None, limit: int | None) -> tuple[Candle, ...]:
        await self._ask_about(symbol)
        period = float(self._client.parse_timeframe(timeframe))
        if not self._quirk.candles_are_stamped_at_their_end:
            return _candles(await self._fetch_bars(symbol, timeframe, since, limit), period)
        ended_since = None if since is None else since + period
        bars = await self._fetch_bars(symbol, timeframe, ended_since, limit)
        return _candles([[bar[0] - period * 1000, *bar[1:]] for bar in bars], period)

    async def _trades(self, symbol: str, since: float | None, limit: int | None) -> tuple[Trade, ...]:
        await self._ask_about(symbol)
        return await trades.newest(self._client, symbol, _milliseconds(since), limit)

    async def _trade_page(self, call: Call, symbol: str, span: TradeSpan | None, limit: int) -> TradePage:
        await self._ask_about(symbol)
        return await trades.fetch(self._client, symbol, span, limit, answered_at=lambda: call.answered_at)

    async def _order_book(self, call: Call, symbol: str, depth: int) -> OrderBook:
        await self._ask_about(symbol)
        return await books.fetch(self._client, symbol, depth, answered_at=lambda: call.answered_at)

    async def _ask_about(self, symbol: str) -> None:
        """Requires every answer from here on to be about this market."""
        await self._ensure_markets()
        call = current_call.get()
        if call is not None:
            call.asked_market = self._client.markets.get(symbol)

    async def _funding(self, call: Call, symbols: Collection[str]) -> tuple[FundingRate, ...]:
        await self._ensure_markets()
        return await self._funding_reader.fetch(symbols, answered_at=lambda: call.answered_at)

    async def _balance(self) -> Mapping[str, Mapping[str, Any]]:
        await self._ensure_markets()
        balance: dict[str, Any] = await self._client.fetch_balance()
        return {part: balance.get(part) or {} for part in ("free", "used", "total")}

    async def _prove_alive(self, call: Call) -> None:
        has = self._client.has
        if has.get("fetchTime"):
            _prove(await self._client.fetch_time())
        elif has.get("fetchStatus"):
            _prove_open(await self._client.fetch_status())
        else:
            await self._ensure_markets()
            route = quotes.QuoteRoute(FIELD_MAPS.get(self.spec.exchange_id))
            await quotes.fetch(self._client, call, self._some_symbols(), route)

    async def _close(self) -> None:
        session, self._client.session = self._client.session, None
        if session is not None:
            await session.close()

    def _run(
        self, work: Callable[[Call], Coroutine[Any, Any, T]], deadline_seconds: float, may_call: MayCall | None = None
    ) -> T:
        async def connected(call: Call) -> T:
            await self._connect()
            return await work(call)

        return super()._run(connected, deadline_seconds, may_call)

    async def _connect(self) -> None:
        async with self._session_lock:
            if self._client.session is None:
                self._client.session = open_session(self.spec.ca_file, public_only=self.spec.public_only)

    async def _fetch_bars(self, symbol: str, timeframe: str, since: float | None, limit: int | None) -> Any:
        return await self._client.fetch_ohlcv(symbol, timeframe, _milliseconds(since), limit)

    async def _fetch(self, call: Call, symbols: Collection[str]) -> Poll:
        return await quotes.fetch(self._client, call, symbols, self._route)

    @property
    def _cache_key(self) -> str:
        return market_cache_key(self.spec)

    @property
    def _knows_markets(self) -> bool:
        return bool(self._client.markets)

    def _listings_of(self, packed: bytes) -> tuple[Listing, ...]:
        found = markets.listings_of(packed)
        if not found:
            raise BadReply(f"{self.spec.exchange_id} listed no usable market")
        return found

    async def _pack_markets(self) -> bytes:
        client = self._client
        before = markets.remember(client)
        try:
            return await self._load_packed()
        finally:  # also when the deadline cancels it: neither half a list nor one that nobody has judged may stay
            markets.restore(client, before)

    async def _load_packed(self) -> bytes:
        await self._client.load_markets(True)
        if not self._client.markets:
            raise BadReply(f"{self.spec.exchange_id} listed no markets")
        return markets.pack(self._client, keep_info=self._quirk.keeps_market_info)

    def _install(self, packed: bytes) -> None:
        markets.install(self._client, packed)
        self._route.forget()

    def _some_symbols(self) -> list[str]:
        """Returns what to ask for as a sign of life: of all tickers one may be missing, and is no proof of anything."""
        known = self._client.markets.values()
        active = (str(market["symbol"]) for market in known if market.get("active") is not False)
        found = list(islice(active, PROOF_MARKETS if self._client.has.get("fetchTickers") else 1))
        if not found:
            raise Unsupported(f"{self.spec.exchange_id} has no active market to ask for")
        return found


def market_cache_key(spec: FeedSpec) -> str:
    where = sha256(spec.base_url.encode()).hexdigest()[:12] if spec.base_url else "venue"
    return f"markets:{MARKET_FORMAT}:{spec.exchange_id}:{where}"


def build_client(spec: FeedSpec) -> Any:
    """Returns a configured client without a connection. Raises KeyError for an id that ccxt does not speak."""
    quirk = quirk_of(spec.exchange_id)
    config: dict[str, Any] = {"timeout": REQUEST_MILLISECONDS, "options": dict(quirk.options), **spec.credentials}
    config |= {"enableLastHttpResponse": False, "enableLastResponseHeaders": False, "timeout_on_exit": 0}
    if spec.proxy:
        config |= {"httpsProxy": spec.proxy, "wsProxy": spec.proxy}
    if spec.ca_file:
        config["cafile"] = spec.ca_file
    client = lean_class(spec.exchange_id)(config)
    client.own_session = False
    client.ssl_context = False  # the session brings its own; False keeps ccxt from reading the bundle again
    if quirk.rate_limit_ms is not None:
        client.rateLimit = quirk.rate_limit_ms
    if quirk.skips_currencies:
        client.has["fetchCurrencies"] = False
    if spec.base_url:
        client.urls["api"] = rebase(client.urls["api"], spec.base_url.rstrip("/"))
    return client


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)


def _are_finite(values: Iterable[Any]) -> bool:
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)


def _candles(rows: Any, period: float) -> tuple[Candle, ...]:
    """Returns the bars; those with a missing or non-finite price are left out, for they cannot be judged. Raises
    BadReply if the newest begins later than a clock can be ahead: such bars are stamped with their end."""
    newest = max((row[0] for row in rows if _are_finite(row[:1])), default=0.0) / 1000
    if newest > clock.unix() + period * FUTURE_SHARE:
        raise BadReply(f"the newest candle begins {newest - clock.unix():.0f} s from now: stamped at its end")
    return tuple(
        Candle(row[0] / 1000, float(row[1]), float(row[2]), float(row[3]), float(row[4]), _optional(row[5]))
        for row in rows
        if _are_finite(row[:5])
    )


def _optional(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _prove(server_time: Any) -> None:
    if not isinstance(server_time, int | float):
        raise BadReply("asked for the time, got none")


def _prove_open(status: Any) -> None:
    word = status.get("status")
    if word in ("maintenance", "shutdown", "error"):
        raise Unreachable(f"the venue says: {word}")
    if word is None:
        raise BadReply("asked for the status, got none")
