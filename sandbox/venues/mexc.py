"""MEXC spot: Binance's formats with a market list and interval names of its own; no contracts here.

{"symbols":[{"symbol":"BTCUSDT","status":"1","baseAsset":"BTC","quoteAsset":"USDT","isSpotTradingAllowed":true,"baseAssetPrecision":5,"quoteAssetPrecision":1}]}
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sandbox.assets import COINS
from sandbox.market import spot
from sandbox.venues import binance
from sandbox.venues.base import Ask, Venue
from sandbox.view import View

COINS_HERE = [coin for coin in COINS if coin not in ("GAS", "GMT")]  # other coins go by these names here
INTERVALS = {"60m": "1h", "1W": "1w"}


def error(status: int) -> dict[str, Any]:
    return {"code": 429 if status == 429 else 500, "msg": "Too Many Requests" if status == 429 else "Internal error"}


def exchange_info(view: View, _: Ask) -> Any:
    rows = [
        {"symbol": id_, "status": "2" if market.is_halted else "1", "baseAsset": market.base}
        | {"baseAssetPrecision": market.amount_decimals, "quoteAsset": market.quote}
        | {"quoteAssetPrecision": view.digits(market), "isSpotTradingAllowed": True, "isMarginTradingAllowed": False}
        | {"quoteAmountPrecision": "1", "baseSizePrecision": "0", "permissions": ["SPOT"]}
        | {"maxQuoteAmount": "2000000", "makerCommission": "0", "takerCommission": "0.0005"}
        for id_, market in view.markets.items()
    ]
    return {"timezone": "CST", "serverTime": view.clock_ms, "symbols": rows}


def klines(view: View, ask: Ask) -> Any:
    """Renders eight of Binance's twelve columns."""
    interval = INTERVALS.get(ask.text("interval"), ask.text("interval"))
    return [row[:8] for row in binance.klines(view, replace(ask, values={**ask.values, "interval": interval}))]


def no_contracts(_: View, __: Ask) -> Any:
    return {"success": True, "code": 0, "data": []}


VENUE = Venue(
    id="mexc",
    hosts=("api.mexc.com",),
    size=300,
    symbols=lambda: spot(["USDT", "USDC"], coins=COINS_HERE),
    id_of=binance.id_of,
    routes={
        "/api/v3/exchangeInfo": exchange_info,
        "/api/v3/ticker/24hr": binance.tickers,
        "/api/v3/ticker/bookTicker": binance.best_prices,
        "/api/v3/depth": binance.depth,
        "/api/v3/klines": klines,
        "/api/v3/aggTrades": binance.trades,
        "/api/v3/time": binance.server_time,
        "/api/v3/ping": binance.ping,
        "/api/v1/contract/detail": no_contracts,
    },
    error=error,
)
