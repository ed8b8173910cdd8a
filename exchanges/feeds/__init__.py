"""How marketmon speaks to venues: `open_feed` gives the warm feed of this process for a spec."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from .base import Feed, FeedSpec, MarketCache
from .ccxt import CcxtFeed, class_names

__all__ = ["close_feeds", "known_exchange_ids", "open_feed"]

# Venues that ccxt does not speak: id → class, each in native/<id>.py
NATIVE_FEEDS: Mapping[str, Callable[[FeedSpec, MarketCache | None], CcxtFeed]] = {}


def open_feed(spec: FeedSpec, *, market_cache: MarketCache | None = None) -> Feed:
    """One client per exchange and process, made on first use; a changed spec closes the one before.

    KeyError for an id that `known_exchange_ids` does not list: free text never reaches an attribute lookup.
    """
    feeds = _feeds_of_this_process()
    feed = feeds.get(spec.exchange_id)
    if feed is not None and feed.spec == spec:
        feed.market_cache = market_cache or feed.market_cache
        return feed
    if feed is not None:
        feed.close()
    make = NATIVE_FEEDS.get(spec.exchange_id, CcxtFeed)
    feeds[spec.exchange_id] = opened = make(spec, market_cache)
    return opened


def close_feeds() -> None:
    """Ends every connection of this process."""
    feeds = _feeds_of_this_process()
    while feeds:
        feeds.popitem()[1].close()


def known_exchange_ids() -> frozenset[str]:
    """Every id that `open_feed` accepts."""
    return class_names() | NATIVE_FEEDS.keys()


def _feeds_of_this_process() -> dict[str, CcxtFeed]:
    # A forked child must not use, close or even collect its parent's sockets: the old dict stays, untouched.
    return _feeds_by_process.setdefault(os.getpid(), {})


_feeds_by_process: dict[int, dict[str, CcxtFeed]] = {}
