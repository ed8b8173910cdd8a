"""Venues through ccxt's unified API. Nothing outside this package imports ccxt."""

from .feed import CcxtFeed, class_names

__all__ = ["CcxtFeed", "class_names"]
