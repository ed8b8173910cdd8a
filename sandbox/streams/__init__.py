"""What the simulated venues say over websockets. A new one is a file here and a line below."""

from collections.abc import Mapping

from sandbox.streams import binance, coinbase, hyperliquid, kraken, valr
from sandbox.streams.base import StreamDialect

DIALECT_BY_HOST: Mapping[str, StreamDialect] = {
    "stream.binance.com": binance.SPOT,
    "fstream.binance.com": binance.FUTURES,
    "ws.kraken.com": kraken.DIALECT,
    "advanced-trade-ws.coinbase.com": coinbase.DIALECT,
    "api.hyperliquid.xyz": hyperliquid.DIALECT,
    "api.valr.com": valr.DIALECT,
}
