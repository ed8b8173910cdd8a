"""The exchanges that push their tickers, and how to listen: the streaming counterpart of `open_feed`."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Protocol

from feeds.base import FeedSpec, Identities, OrderBook, Quote
from feeds.ccxt import markets, stream
from feeds.ccxt.feed import market_cache_key as ccxt_key
from feeds.ccxt.subscriptions import NotStreamed, forget_learned, learned_of
from feeds.native import feed as native
from feeds.request_gate import ConnectGate
from feeds.shared.pushed_trades import TakenTrades
from feeds.table import FEEDS, STREAMS

__all__ = [
    "DepthStream",
    "NotStreamed",
    "QuoteStream",
    "TakenTrades",
    "can_stream",
    "depth_of",
    "forget_learned",
    "has_stream",
    "identities_in",
    "market_cache_key",
    "open_stream",
    "unstreamed_of",
]


class QuoteStream(Protocol):
    """One exchange's pushed tickers. Belongs to the event loop that uses it; `close` may be followed by `subscribe`."""

    @property
    def longest_seconds(self) -> float | None:
        """Returns after how many seconds the exchange ends a connection; None where that is not known."""
        ...

    @property
    def groups(self) -> list[frozenset[str]]:
        """Returns the symbols of each subscription, as they are wanted now."""
        ...

    @property
    def complaint(self) -> str:
        """Returns the newest word about what went wrong; empty while nothing has."""
        ...

    @property
    def is_broken(self) -> bool:
        """Says whether a connection has ended or refused us."""
        ...

    @property
    def overtaken_count(self) -> int:
        """Returns how many tickers a newer one of the same market replaced before anybody took them."""
        ...

    @property
    def rejected_frames(self) -> int: ...

    @property
    def dial_pause_seconds(self) -> float:
        """Returns for how many seconds the exchange asked us to stay away when it last refused a handshake."""
        ...

    def install_markets(self, packed: bytes) -> None:
        """Reads what comes by this list from now on. What has come of a symbol that is another market's now is
        forgotten."""
        ...

    async def subscribe(self, symbols: Collection[str]) -> None:
        """Asks for what is wanted and not asked for yet; what is no longer wanted is not handed on. Never waits."""
        ...

    def drain(self) -> list[Quote]:
        """Returns the newest quote of each market since the last call, in the exchange's own values."""
        ...

    async def close(self) -> None:
        """Ends every connection and forgets every subscription; markets are kept."""
        ...


class DepthStream(Protocol):
    """Order books and trades over a stream's connections; `close` of the stream ends them, too."""

    @property
    def complaint(self) -> str: ...

    def want(self, book_symbols: Collection[str], trade_symbols: Collection[str]) -> None:
        """Limits what is handed on to these from now on."""
        ...

    def ask(self, *, silence_seconds: float, pause_seconds: float, longest_pause_seconds: float) -> None:
        """Asks for what is wanted and not asked for, and again for what has ended or fallen silent. Never waits."""
        ...

    def books(self, symbols: Collection[str], depth: int) -> dict[str, OrderBook]:
        """Returns the newest book of each of them that has one, received when it last changed."""
        ...

    def take_trades(self) -> dict[str, TakenTrades]:
        """Returns what came since the last call, by market."""
        ...

    def renew(self, symbol: str) -> None:
        """Discards this market's book, which is not believed: it begins anew."""
        ...


_ccxt_can_stream = cache(stream.can_stream)  # it makes a client to look at


def has_stream(exchange_id: str) -> bool:
    """Says whether there is a way to listen to the exchange."""
    return exchange_id in STREAMS if exchange_id in FEEDS else _ccxt_can_stream(exchange_id)


def can_stream(exchange_id: str) -> bool:
    """Says whether the exchange pushes its tickers: where this process has tried, those that are wanted of it."""
    return has_stream(exchange_id) and not learned_of(exchange_id).streams_nothing


def open_stream(spec: FeedSpec, *, ping_seconds: float | None = None, gate: ConnectGate | None = None) -> QuoteStream:
    """Returns a stream without a connection; `gate` is asked before each. Raises KeyError if `can_stream` says no."""
    return STREAMS.get(spec.exchange_id, stream.CcxtStream)(spec, ping_seconds=ping_seconds, gate=gate)


def depth_of(stream: QuoteStream) -> DepthStream | None:
    """Returns the stream's books and trades; None where only tickers are listened to."""
    depth: DepthStream | None = getattr(stream, "depth", None)
    return depth


def unstreamed_of(stream: QuoteStream) -> str:
    """Returns what of the wanted markets the exchange does not push, and why; empty where it pushes all."""
    return str(getattr(stream, "unstreamed", ""))


def market_cache_key(spec: FeedSpec) -> str:
    """Returns the key under which the exchange's feed keeps its market list for all processes."""
    return native.market_cache_key(spec) if spec.exchange_id in STREAMS else ccxt_key(spec)


def identities_in(exchange_id: str, packed: bytes) -> Identities:
    """Returns those of a market list as the exchange's feed has packed it."""
    return native.identities_in(packed) if exchange_id in STREAMS else markets.identities_in(packed)
