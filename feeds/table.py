"""The exchanges that ccxt's plain classes do not give. A new one is a file in `feeds/native/` and its lines here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from feeds.base import FeedSpec, MarketCache
from feeds.ccxt import CcxtFeed, PredictionFeed
from feeds.native.chainlink import ChainlinkFeed
from feeds.native.feed import NativeFeed
from feeds.native.quidax import QuidaxFeed
from feeds.native.valr import ValrFeed
from feeds.native.valr_stream import ValrStream

if TYPE_CHECKING:
    from feeds.streams import QuoteStream

AnyFeed = CcxtFeed | NativeFeed

# By exchange id. ccxt speaks kalshi and polymarket, but as prediction markets, which its plain classes do not cover.
FEEDS: dict[str, Callable[[FeedSpec, MarketCache | None], AnyFeed]] = {
    "chainlink": ChainlinkFeed,
    "kalshi": PredictionFeed,
    "polymarket": PredictionFeed,
    "quidax": QuidaxFeed,
    "valr": ValrFeed,
}

# Those of them that push their tickers; what is not here is polled.
STREAMS: dict[str, Callable[..., QuoteStream]] = {
    "valr": ValrStream,
}
