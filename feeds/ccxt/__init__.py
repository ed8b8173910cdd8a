"""Exchanges through ccxt's unified API. Nothing outside this package imports ccxt."""

from feeds.ccxt.feed import CcxtFeed, class_names
from feeds.ccxt.prediction import PredictionFeed

__all__ = ["CcxtFeed", "PredictionFeed", "class_names"]
