"""The simulated venues. A new one is a file here and a line below."""

from sandbox.venues import binance, binanceusdm, coinbase, hyperliquid, kraken, luno
from sandbox.venues.base import Venue

VENUES: dict[str, Venue] = {
    "binance": binance.VENUE,
    "binanceusdm": binanceusdm.VENUE,
    "coinbase": coinbase.VENUE,
    "hyperliquid": hyperliquid.VENUE,
    "kraken": kraken.VENUE,
    "luno": luno.VENUE,
}
