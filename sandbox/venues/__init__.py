"""The simulated venues. A new one is a file here and a line below."""

from sandbox.venues import binance, binanceusdm, bitstamp, bitvavo, coinbase, hyperliquid, kraken, luno, mexc
from sandbox.venues.base import Venue

VENUES: dict[str, Venue] = {
    "binance": binance.VENUE,
    "binanceusdm": binanceusdm.VENUE,
    "bitstamp": bitstamp.VENUE,
    "bitvavo": bitvavo.VENUE,
    "coinbase": coinbase.VENUE,
    "hyperliquid": hyperliquid.VENUE,
    "kraken": kraken.VENUE,
    "luno": luno.VENUE,
    "mexc": mexc.VENUE,
}
