"""Tickers read straight from a websocket's frame; ccxt's way to the same values costs several times as much.

ccxt reads the first frame of each market on each connection, so that whoever waits for it is woken, and everything that
does not look as expected (tests/feeds compares both ways).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

Ticker = dict[str, Any]  # with ccxt's names
Read = Callable[[Any], None]


def with_short_way(client: Any, read: Read) -> Read:
    """Returns what reads a connection's frames: `read` itself for an exchange that is not listed below."""
    form = FORMS.get(client.id)
    if form is None:
        return read
    mark, row_of, ticker_of = form
    symbols: dict[Any, str | None] = {}

    def read_frame(data: Any) -> None:
        row = row_of(data) if mark in data else None
        ticker = None
        if row is not None:
            market_id = row.get("s")
            symbol = symbols.get(market_id)
            if symbol is not None:
                ticker = ticker_of(symbol, row)
            elif isinstance(market_id, str) and market_id not in symbols:
                symbols[market_id] = _symbol_of(client, market_id)
        if ticker is None:
            read(data)
        else:
            client.safe_ticker(ticker)

    return read_frame


def _symbol_of(client: Any, market_id: str) -> str | None:
    """Returns a market's symbol; None where only ccxt knows which market is meant, or what its volumes count."""
    found: list[dict[str, Any]] = (client.markets_by_id or {}).get(market_id) or []
    if len(found) != 1 or found[0].get("inverse"):
        return None
    symbol: str = found[0]["symbol"]
    return symbol


# {"e":"24hrTicker","E":1795000000000,"s":"BTCUSDT","c":"65000.0","h":"65500.0","l":"64100.0","b":"64987.0",
#  "a":"65013.0","v":"12.5","q":"812500.0","C":1795000000000}, or that as "data" beside the name of its "stream"
def _binance_row(data: Any) -> Mapping[str, Any] | None:
    frame = orjson.loads(data)
    if not isinstance(frame, dict):
        return None
    row = frame["data"] if "stream" in frame else frame
    return row if isinstance(row, dict) and row.get("e") == "24hrTicker" else None


def _binance_ticker(symbol: str, row: Mapping[str, Any]) -> Ticker | None:
    get = row.get
    stamp = get("C")
    if type(stamp) is not int:
        return None
    return {
        "symbol": symbol,
        "timestamp": stamp,
        "last": get("c"),
        "bid": get("b"),
        "ask": get("a"),
        "high": get("h"),
        "low": get("l"),
        "baseVolume": get("v"),
        "quoteVolume": get("q"),
    }


# A text that every frame of interest holds, the row in a frame, and the ticker in a row.
FORMS: Mapping[
    str, tuple[str, Callable[[Any], Mapping[str, Any] | None], Callable[[str, Mapping[str, Any]], Ticker | None]]
] = {
    "binance": ('"24hrTicker"', _binance_row, _binance_ticker),
    "binanceusdm": ('"24hrTicker"', _binance_row, _binance_ticker),
}
