"""Venues that ccxt does not speak, each with the same protocol and the same care as those it does."""

from feeds.native.chainlink import ChainlinkFeed
from feeds.native.feed import NativeFeed
from feeds.native.quidax import QuidaxFeed
from feeds.native.valr import ValrFeed

__all__ = ["ChainlinkFeed", "NativeFeed", "QuidaxFeed", "ValrFeed"]
