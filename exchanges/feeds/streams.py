"""Which venues push their tickers, and how to listen: the streaming counterpart of `open_feed`."""

from __future__ import annotations

from functools import cache

from . import NATIVE_FEEDS
from .base import FeedSpec
from .ccxt import stream
from .ccxt.feed import market_cache_key

__all__ = ["QuoteStream", "can_stream", "market_cache_key", "open_stream"]

QuoteStream = stream.CcxtStream


@cache
def can_stream(exchange_id: str) -> bool:
    return exchange_id not in NATIVE_FEEDS and stream.can_stream(exchange_id)


def open_stream(spec: FeedSpec, *, ping_seconds: float | None = None) -> QuoteStream:
    """Makes no connection yet. Belongs to the event loop that uses it. KeyError where `can_stream` says no."""
    return stream.CcxtStream(spec, ping_seconds=ping_seconds)
