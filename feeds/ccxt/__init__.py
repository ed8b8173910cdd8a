"""Exchanges through ccxt's unified API. Nothing outside this package imports ccxt."""

from feeds.ccxt.feed import CcxtFeed, class_names
from feeds.ccxt.prediction import PredictionFeed
from feeds.ccxt.quirks import quirk_of

__all__ = ["CcxtFeed", "PredictionFeed", "class_names", "quirk_of"]
