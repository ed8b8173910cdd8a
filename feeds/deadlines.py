"""The base of every feed of ours: bounds each call, words its errors, shares its market list between processes."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Coroutine, Mapping
from concurrent.futures import wait
from dataclasses import replace
from hashlib import sha256
from typing import Any, TypeVar

from feeds import errors
from feeds.base import (
    AcceptMarkets,
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
)
from feeds.loop import Call, process_loop, run

T = TypeVar("T")

KEPT_SECONDS = 3 * 3600  # three times what lies between two lists: it is there until the next one
INSTALL_SECONDS = 10.0
CLOSE_SECONDS = 2.0


class DeadlineFeed(ABC):
    """The Feed protocol over coroutines. Safe to call from several threads; not shared across fork (open_feed sees to
    that). A kind of feed says how it reads: the methods with an underscore, all of which run in this process's loop."""

    def __init__(self, spec: FeedSpec, market_cache: MarketCache | None = None) -> None:
        self.spec = spec
        self.market_cache = market_cache
        self._secrets = errors.secrets_in(spec.credentials)
        self._markets_lock = asyncio.Lock()
        self._in_hand = ""  # the digest of the list that was installed last
        self._recalled: bytes | None = None
        self._unshared: bytes | None = None

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities: ...

    def load_markets(
        self, *, deadline_seconds: float, may_call: MayCall | None = None, accept: AcceptMarkets | None = None
    ) -> tuple[Listing, ...]:
        """Asks the exchange, whatever is known, and shares what it said once `accept` has returned."""

        async def work(_: Call) -> tuple[bytes, tuple[Listing, ...]]:
            async with self._markets_lock:
                packed = await self._pack_markets()
            return packed, self._listings_of(packed)

        packed, listings = self._run(work, deadline_seconds, may_call)
        if accept is not None:
            accept(listings, digest_of(packed))
        self._adopt(packed)
        self._unshared = packed
        self._share_markets()
        return listings

    def recall_markets(self) -> bool:
        """Takes over the list that the spec names from the cache; False where it is not there."""
        self._recall_markets()
        if self._recalled is not None:
            recalled, self._recalled = self._recalled, None
            self._adopt(recalled)
        return bool(self._in_hand) and self._in_hand == self.spec.markets_digest

    @abstractmethod
    def identities(self) -> Identities: ...

    def fetch_quotes(
        self, symbols: Collection[str], *, deadline_seconds: float, may_call: MayCall | None = None
    ) -> Poll:
        """Returns one quote per wanted symbol that the exchange answered for; raises BadReply if there are none."""

        async def work(call: Call) -> Poll:
            if not symbols:
                return Poll((), 0)
            await self._ensure_markets()
            identities = self.identities()
            poll = await self._quotes(call, symbols)
            if self.identities() is not identities:
                raise Unreachable("the market list was changed while the exchange answered")
            return replace(poll, identities=identities)

        return self._run(work, deadline_seconds, may_call)

    def fetch_candles(
        self,
        symbol: str,
        *,
        timeframe: str,
        since: float | None,
        limit: int | None,
        deadline_seconds: float,
        may_call: MayCall | None = None,
    ) -> tuple[Candle, ...]:
        return self._run(lambda _: self._candles(symbol, timeframe, since, limit), deadline_seconds, may_call)

    def fetch_trades(
        self,
        symbol: str,
        *,
        since: float | None,
        limit: int | None,
        deadline_seconds: float,
        may_call: MayCall | None = None,
    ) -> tuple[Trade, ...]:
        return self._run(lambda _: self._trades(symbol, since, limit), deadline_seconds, may_call)

    def fetch_trade_page(
        self,
        symbol: str,
        *,
        span: TradeSpan | None,
        limit: int,
        deadline_seconds: float,
        may_call: MayCall | None = None,
    ) -> TradePage:
        return self._run(lambda call: self._trade_page(call, symbol, span, limit), deadline_seconds, may_call)

    def fetch_order_book(
        self, symbol: str, *, depth: int, deadline_seconds: float, may_call: MayCall | None = None
    ) -> OrderBook:
        return self._run(lambda call: self._order_book(call, symbol, depth), deadline_seconds, may_call)

    def fetch_funding(
        self, symbols: Collection[str], *, deadline_seconds: float, may_call: MayCall | None = None
    ) -> tuple[FundingRate, ...]:
        return self._run(lambda call: self._funding(call, symbols), deadline_seconds, may_call)

    def fetch_balance(
        self, *, deadline_seconds: float, may_call: MayCall | None = None
    ) -> Mapping[str, Mapping[str, Any]]:
        return self._run(lambda _: self._balance(), deadline_seconds, may_call)

    def ping(self, *, deadline_seconds: float, may_call: MayCall | None = None) -> None:
        self._run(self._prove_alive, deadline_seconds, may_call)

    def close(self) -> None:
        """Ends all connections. The feed must not be used afterwards."""
        wait([asyncio.run_coroutine_threadsafe(self._close(), process_loop())], timeout=CLOSE_SECONDS)

    # how a kind of feed reads ----------------------------------------------------------------------------------------

    @abstractmethod
    async def _quotes(self, call: Call, symbols: Collection[str]) -> Poll: ...

    @abstractmethod
    async def _candles(
        self, symbol: str, timeframe: str, since: float | None, limit: int | None
    ) -> tuple[Candle, ...]: ...

    @abstractmethod
    async def _trades(self, symbol: str, since: float | None, limit: int | None) -> tuple[Trade, ...]: ...

    @abstractmethod
    async def _trade_page(self, call: Call, symbol: str, span: TradeSpan | None, limit: int) -> TradePage: ...

    @abstractmethod
    async def _order_book(self, call: Call, symbol: str, depth: int) -> OrderBook: ...

    @abstractmethod
    async def _funding(self, call: Call, symbols: Collection[str]) -> tuple[FundingRate, ...]: ...

    @abstractmethod
    async def _balance(self) -> Mapping[str, Mapping[str, Any]]: ...

    @abstractmethod
    async def _prove_alive(self, call: Call) -> None: ...

    @abstractmethod
    async def _close(self) -> None: ...

    # its market list, which one process downloads and the others recall ---------------------------------------------

    @property
    @abstractmethod
    def _cache_key(self) -> str: ...

    @property
    @abstractmethod
    def _knows_markets(self) -> bool: ...

    @abstractmethod
    def _listings_of(self, packed: bytes) -> tuple[Listing, ...]:
        """Returns the usable markets of a list. Raises BadReply where there are none."""

    @abstractmethod
    async def _pack_markets(self) -> bytes:
        """Returns the exchange's own list, as it is now; the one that is installed stays."""

    @abstractmethod
    def _install(self, packed: bytes) -> None:
        """Makes this the list from now on. Raises ValueError, KeyError or TypeError for what is spoiled."""

    async def _ensure_markets(self) -> None:
        async with self._markets_lock:
            recalled, self._recalled = self._recalled, None
            if recalled is not None:
                self._take_over(recalled)
            if not self._knows_markets:
                await self._download_markets()

    async def _download_markets(self) -> None:
        """Downloads a list for this process alone, unless it is the one that all go by: nobody has judged it."""
        packed = await self._pack_markets()
        self._install(packed)
        self._in_hand = digest_of(packed)
        if self.spec.markets_digest in ("", self._in_hand):
            self._unshared = packed

    def _adopt(self, packed: bytes) -> None:
        """Installs a list in the loop, where answers are read by it."""

        async def work(_: Call) -> None:
            async with self._markets_lock:
                self._take_over(packed)

        run(work, deadline_seconds=INSTALL_SECONDS)

    def _take_over(self, packed: bytes) -> None:
        digest = digest_of(packed)
        if digest == self._in_hand:
            return
        with contextlib.suppress(ValueError, KeyError, TypeError):  # spoiled: the venue has another
            self._install(packed)
            self._in_hand = digest

    def _recall_markets(self) -> None:
        """Reads the list to go by from the cache, in the caller's thread: caches may be bound to it."""
        if self.market_cache is None or (self._in_hand and self.spec.markets_digest in ("", self._in_hand)):
            return
        self._recalled = self.market_cache.load(self._cache_key)

    def _share_markets(self) -> None:
        packed, self._unshared = self._unshared, None
        if packed is not None and self.market_cache is not None:
            self.market_cache.store(self._cache_key, packed, ttl_seconds=KEPT_SECONDS)

    def _run(
        self, work: Callable[[Call], Coroutine[Any, Any, T]], deadline_seconds: float, may_call: MayCall | None = None
    ) -> T:
        self._recall_markets()

        async def guarded(call: Call) -> T:
            try:
                return await work(call)
            except Exception as error:  # ccxt's classes, aiohttp's, and what a parser stumbles over in an odd answer
                raise errors.from_exception(
                    error, status=call.status, excerpt=call.body, secrets=self._secrets, headers=call.headers
                ) from error

        try:
            return run(guarded, deadline_seconds=deadline_seconds, may_call=may_call)
        finally:
            self._share_markets()


def digest_of(packed: bytes) -> str:
    """Returns the name of a packed market list: the same content has the same name in every process."""
    return sha256(packed).hexdigest()[:16]
