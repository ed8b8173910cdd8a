"""Venues through ccxt's unified API. Nothing outside this package imports ccxt."""

from .feed import CcxtFeed, class_names
from .prediction import PredictionFeed

__all__ = ["CcxtFeed", "PredictionFeed", "class_names"]
