"""More exchanges than the sandbox simulates: `kraken-07` is kraken under a name of its own.

`celery -A benchmarks.fleet worker` is our worker with these ids known to it, as a native feed's would be; the feed
behind each is the real one, and so is everything around it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from feeds.base import FeedSpec, MarketCache
from feeds.ccxt import CcxtFeed
from feeds.table import FEEDS
from marketmon.celery import app

__all__ = ["app", "members"]

SIMULATED = ("binance", "binanceusdm", "coinbase", "hyperliquid", "kraken", "luno")
LARGEST = 200


class CloneFeed(CcxtFeed):
    """An exchange's feed under a clone's spec: every clone has a client and a market list of its own."""

    def __init__(self, spec: FeedSpec, market_cache: MarketCache | None = None) -> None:
        super().__init__(replace(spec, exchange_id=spec.exchange_id.rpartition("-")[0]), market_cache)
        self.spec = spec


def members(count: int) -> Sequence[str]:
    """The first `count` ids: the simulated exchanges in turn."""
    return list(itertools.islice(_names(), count))


def _names() -> Iterator[str]:
    for number in itertools.count():
        for exchange_id in SIMULATED:
            yield f"{exchange_id}-{number:02d}"


FEEDS.update(dict.fromkeys(members(LARGEST), CloneFeed))
