"""Venues that ccxt does not speak, each with the same protocol and the same care as those it does."""

from .chainlink import ChainlinkFeed
from .feed import NativeFeed
from .quidax import QuidaxFeed
from .valr import ValrFeed

__all__ = ["ChainlinkFeed", "NativeFeed", "QuidaxFeed", "ValrFeed"]
