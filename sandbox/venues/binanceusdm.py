"""Binance USDⓈ-margined perpetuals: spot's formats on another host, tickers without bid and ask.

[{"symbol":"BTCUSDT","markPrice":"65001.0","indexPrice":"65000.5","lastFundingRate":"0.00010000","nextFundingTime":1795017600000,"time":1795000000000}]
"""

from __future__ import annotations

from typing import Any

from sandbox.assets import unit
from sandbox.market import perpetual
from sandbox.venues import binance
from sandbox.venues.base import Ask, Venue
from sandbox.view import View

FUNDING_SECONDS = 28_800


def premium_index(view: View, ask: Ask) -> Any:
    wanted = ask.text("symbol")
    funded_at = (view.second // FUNDING_SECONDS + 1) * FUNDING_SECONDS
    rows = [
        {"symbol": id_, "markPrice": quote.last, "indexPrice": quote.last, "estimatedSettlePrice": quote.last}
        | {"lastFundingRate": f"{0.0002 * unit('funding', id_, funded_at) - 0.0001:.8f}", "interestRate": "0.00010000"}
        | {"nextFundingTime": funded_at * 1000, "time": view.stamp_ms}
        for id_, _, quote in view.tickers([wanted] if wanted else None)
    ]
    return rows[0] if wanted and rows else rows


VENUE = Venue(
    id="binanceusdm",
    hosts=("fapi.binance.com",),
    size=200,
    symbols=lambda: perpetual(["USDT", "USDC"]),
    id_of=binance.id_of,
    routes={
        "/fapi/v1/exchangeInfo": binance.futures_info,
        "/fapi/v1/ticker/24hr": binance.futures_tickers,
        "/fapi/v1/ticker/bookTicker": binance.best_prices,
        "/fapi/v1/premiumIndex": premium_index,
        "/fapi/v1/depth": binance.futures_depth,
        "/fapi/v1/klines": binance.klines,
        "/fapi/v1/aggTrades": binance.trades,
        "/fapi/v1/time": binance.server_time,
        "/fapi/v1/ping": binance.ping,
    },
    error=binance.error,
)
