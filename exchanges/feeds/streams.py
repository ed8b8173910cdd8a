"""Which venues push their tickers, and how to listen: the streaming counterpart of `open_feed`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Protocol

from . import NATIVE_FEEDS
from .base import FeedSpec, Quote
from .ccxt import stream
from .ccxt.feed import market_cache_key as ccxt_key
from .gate import Gate
from .native.feed import market_cache_key as native_key
from .native.valr_stream import ValrStream

__all__ = ["QuoteStream", "can_stream", "market_cache_key", "open_stream"]


class QuoteStream(Protocol):
    """One venue's pushed tickers. Belongs to the event loop that uses it; `close` may be followed by `subscribe`."""

    @property
    def longest_seconds(self) -> float | None:
        """How old a connection may get before the venue ends it; None where that is not known."""
        ...

    @property
    def groups(self) -> list[frozenset[str]]:
        """The symbols of each subscription, as they are wanted now."""
        ...

    @property
    def complaint(self) -> str:
        """The newest word about what went wrong; empty while nothing has."""
        ...

    @property
    def is_broken(self) -> bool:
        """A connection has ended or refused us."""
        ...

    @property
    def overtaken_count(self) -> int:
        """Tickers that a newer one of the same market replaced before anybody took them."""
        ...

    @property
    def rejected_frames(self) -> int: ...

    @property
    def dial_pause_seconds(self) -> float:
        """How long the venue asked us to stay away when it last refused a handshake."""
        ...

    def install_markets(self, packed: bytes) -> None: ...

    async def subscribe(self, symbols: Collection[str]) -> None:
        """Asks for what is wanted and not asked for yet; what is no longer wanted is not handed on. Never waits."""
        ...

    def drain(self) -> list[Quote]:
        """The newest quote of each market since the last call, in the venue's own values."""
        ...

    async def close(self) -> None:
        """Ends every connection and forgets every subscription; markets are kept."""
        ...


NATIVE_STREAMS: Mapping[str, Callable[..., QuoteStream]] = {"valr": ValrStream}


@cache
def can_stream(exchange_id: str) -> bool:
    if exchange_id in NATIVE_FEEDS:
        return exchange_id in NATIVE_STREAMS
    return stream.can_stream(exchange_id)


def open_stream(spec: FeedSpec, *, ping_seconds: float | None = None, gate: Gate | None = None) -> QuoteStream:
    """Makes no connection yet; `gate` is asked before each. KeyError where `can_stream` says no."""
    return NATIVE_STREAMS.get(spec.exchange_id, stream.CcxtStream)(spec, ping_seconds=ping_seconds, gate=gate)


def market_cache_key(spec: FeedSpec) -> str:
    """Where the venue's feed keeps its market list for all processes."""
    return native_key(spec) if spec.exchange_id in NATIVE_STREAMS else ccxt_key(spec)
