"""Market data from exchanges: `open_feed` returns this process's connected client for a spec."""

from __future__ import annotations

import atexit
import os
import threading

from feeds.base import Feed, FeedSpec, MarketCache
from feeds.ccxt import CcxtFeed, class_names, quirk_of
from feeds.table import FEEDS, AnyFeed

__all__ = ["close_feeds", "credentials_needed", "known_exchange_ids", "new_feed", "open_feed"]


def open_feed(spec: FeedSpec, *, market_cache: MarketCache | None = None) -> Feed:
    """Returns this process's client of the exchange, made on first use; a changed spec closes the one before.

    Raises KeyError for an id that `known_exchange_ids` does not list: free text never reaches an attribute lookup.
    """
    with _opening:
        feeds = _feeds_of_this_process()
        feed = feeds.get(spec.exchange_id)
        if feed is None or feed.spec != spec:
            opened = new_feed(spec, market_cache=market_cache)
            feeds[spec.exchange_id], replaced = opened, feed
            if replaced is not None:
                replaced.close()
            return opened
        feed.spec = spec  # the same but for the market list to go by
        feed.market_cache = market_cache or feed.market_cache
        return feed


def new_feed(spec: FeedSpec, *, market_cache: MarketCache | None = None) -> AnyFeed:
    """Returns a client that nobody shares; whoever asked for it closes it. Raises KeyError for an unknown id."""
    return FEEDS.get(spec.exchange_id, CcxtFeed)(spec, market_cache)


def close_feeds() -> None:
    """Ends every connection of this process."""
    feeds = _feeds_of_this_process()
    while feeds:
        feeds.popitem()[1].close()


def known_exchange_ids() -> frozenset[str]:
    """Returns every id that `open_feed` accepts."""
    return class_names() | FEEDS.keys()


def credentials_needed(exchange_id: str) -> tuple[str, ...]:
    """Returns the credentials without which the exchange gives not even public data; no client is made to know."""
    return quirk_of(exchange_id).needs_credentials


def _feeds_of_this_process() -> dict[str, AnyFeed]:
    # A forked child must not use, close or even collect its parent's sockets: the old dict stays, untouched.
    return _feeds_by_process.setdefault(os.getpid(), {})


_feeds_by_process: dict[int, dict[str, AnyFeed]] = {}
_opening = threading.Lock()


def _unlock_after_fork() -> None:
    global _opening
    _opening = threading.Lock()


os.register_at_fork(after_in_child=_unlock_after_fork)
atexit.register(close_feeds)
