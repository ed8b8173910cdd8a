"""The simulated venues. A new one is a file here and its name below."""

from collections.abc import Mapping
from importlib import import_module

from sandbox.venues.base import Venue

NAMES = (
    "binance",
    "binanceusdm",
    "bitstamp",
    "bitvavo",
    "chainlink",
    "coinbase",
    "hyperliquid",
    "kalshi",
    "kraken",
    "luno",
    "mexc",
    "polymarket",
    "quidax",
    "valr",
)
VENUES: Mapping[str, Venue] = {name: import_module(f"sandbox.venues.{name}").VENUE for name in NAMES}
