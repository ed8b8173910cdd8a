"""Binance USDⓈ-margined perpetuals: spot's formats on another host, tickers without bid and ask.

[{"symbol":"BTCUSDT","markPrice":"65001.0","indexPrice":"65000.5","lastFundingRate":"0.00010000","nextFundingTime":1795017600000,"time":1795000000000}]
"""

from __future__ import annotations

from typing import Any

from sandbox.assets import unit
from sandbox.market import perpetual
from sandbox.streams.binance import FUTURES
from sandbox.venues import binance
from sandbox.venues.base import Ask, Venue
from sandbox.view import View

FUNDING_SECONDS = 28_800
SHORT_SECONDS = 14_400
SHARE_OF_SHORT = 0.2


def premium_index(view: View, ask: Ask) -> Any:
    wanted = ask.text("symbol")
    rows = [
        {"symbol": id_, "markPrice": quote.last, "indexPrice": quote.last, "estimatedSettlePrice": quote.last}
        | {"lastFundingRate": funding_rate(id_, next_funding(id_, view.second)), "interestRate": "0.00010000"}
        | {"nextFundingTime": next_funding(id_, view.second) * 1000, "time": view.stamp_ms}
        for id_, _, quote in view.tickers([wanted] if wanted else None)
    ]
    return rows[0] if wanted and rows else rows


def funding_info(view: View, _: Ask) -> Any:
    """Lists only markets that are not funded every eight hours."""
    return [
        {"symbol": id_, "adjustedFundingRateCap": "0.02000000", "adjustedFundingRateFloor": "-0.02000000"}
        | {"fundingIntervalHours": SHORT_SECONDS // 3600, "disclaimer": False}
        for id_, market in view.markets.items()
        if not market.is_halted and funding_seconds(id_) == SHORT_SECONDS
    ]


def funding_seconds(id_: str) -> int:
    return SHORT_SECONDS if unit("funding-interval", id_) < SHARE_OF_SHORT else FUNDING_SECONDS


def funding_rate(id_: str, funded_at: int) -> str:
    """Returns the rate that is paid at a moment."""
    return f"{0.0002 * unit('funding', id_, funded_at) - 0.0001:.8f}"


def next_funding(id_: str, second: int) -> int:
    interval = funding_seconds(id_)
    return (second // interval + 1) * interval


VENUE = Venue(
    id="binanceusdm",
    hosts=("fapi.binance.com",),
    streams={"fstream.binance.com": FUTURES},
    size=200,
    symbols=lambda: perpetual(["USDT", "USDC"]),
    id_of=binance.id_of,
    routes={
        "/fapi/v1/exchangeInfo": binance.futures_info,
        "/fapi/v1/ticker/24hr": binance.futures_tickers,
        "/fapi/v1/ticker/bookTicker": binance.best_prices,
        "/fapi/v1/premiumIndex": premium_index,
        "/fapi/v1/fundingInfo": funding_info,
        "/fapi/v1/depth": binance.futures_depth,
        "/fapi/v1/klines": binance.klines,
        "/fapi/v1/aggTrades": binance.trades,
        "/fapi/v1/time": binance.server_time,
        "/fapi/v1/ping": binance.ping,
    },
    error=binance.error,
)
