"""The simulated venues. A new one is a file here and a line below."""

from sandbox.venues import (
    binance,
    binanceusdm,
    bitstamp,
    bitvavo,
    chainlink,
    coinbase,
    hyperliquid,
    kalshi,
    kraken,
    luno,
    mexc,
    polymarket,
    quidax,
    valr,
)
from sandbox.venues.base import Venue

VENUES: dict[str, Venue] = {
    "binance": binance.VENUE,
    "binanceusdm": binanceusdm.VENUE,
    "bitstamp": bitstamp.VENUE,
    "bitvavo": bitvavo.VENUE,
    "chainlink": chainlink.VENUE,
    "coinbase": coinbase.VENUE,
    "hyperliquid": hyperliquid.VENUE,
    "kalshi": kalshi.VENUE,
    "kraken": kraken.VENUE,
    "luno": luno.VENUE,
    "mexc": mexc.VENUE,
    "polymarket": polymarket.VENUE,
    "quidax": quidax.VENUE,
    "valr": valr.VENUE,
}
