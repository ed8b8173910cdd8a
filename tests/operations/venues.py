"""Three exchanges that no file of the project names, as their own servers would answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tests.feeds.bodies import COINS
from tests.feeds.test_any_exchange import okx
from tests.feeds.venue import Answer, Request

NAMES = ("btcturk", "indodax", "okx")


def _indodax_pair(coin: str) -> dict[str, Any]:
    small = coin.lower()
    return {
        "id": f"{small}idr",
        "symbol": f"{coin}IDR",
        "base_currency": "idr",
        "traded_currency": small,
        "traded_currency_unit": coin,
        "ticker_id": f"{small}_idr",
        "trade_min_base_currency": 10000,
        "trade_min_traded_currency": 0.0001,
        "price_precision": 1000,
        "pricescale": 1000,
        "price_round": 8,
        "volume_precision": 0,
        "is_maintenance": 0,
        "is_market_suspended": 0,
        "trade_fee_percent": 0.3,
    }


def _indodax_ticker(coin: str) -> dict[str, Any]:
    ticker = {"high": "120", "low": "80", "last": "100", "buy": "99", "sell": "101", "server_time": int(time.time())}
    return ticker | {f"vol_{coin.lower()}": "7", "vol_idr": "700"}


def _btcturk_symbol(coin: str) -> dict[str, Any]:
    return {
        "id": COINS.index(coin) + 1,
        "name": f"{coin}TRY",
        "nameNormalized": f"{coin}_TRY",
        "status": "TRADING",
        "numerator": coin,
        "denominator": "TRY",
        "numeratorScale": 8,
        "denominatorScale": 2,
        "filters": [{"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "10000000", "tickSize": "1"}],
        "orderMethods": ["MARKET", "LIMIT"],
    }


def _btcturk_ticker(coin: str) -> dict[str, Any]:
    return {
        "pair": f"{coin}TRY",
        "pairNormalized": f"{coin}_TRY",
        "timestamp": int(time.time() * 1000),
        "last": 100.0,
        "high": 120.0,
        "low": 80.0,
        "bid": 99.0,
        "ask": 101.0,
        "open": 90.0,
        "volume": 7.0,
        "average": 100.0,
        "daily": 10.0,
        "dailyPercent": 11.1,
        "denominatorSymbol": "TRY",
        "numeratorSymbol": coin,
    }


def _now(request: Request) -> Answer:
    return Answer({"code": "0", "data": [{"ts": str(int(time.time() * 1000))}]})


def answers() -> Mapping[str, Any]:
    return {
        "/api/pairs": Answer([_indodax_pair(coin) for coin in COINS]),
        "/api/ticker_all": lambda _: Answer({"tickers": {f"{c.lower()}_idr": _indodax_ticker(c) for c in COINS}}),
        "/api/server_time": lambda _: Answer({"timezone": "UTC", "server_time": int(time.time() * 1000)}),
        "/server/exchangeinfo": Answer({"success": True, "data": {"symbols": [_btcturk_symbol(c) for c in COINS]}}),
        "/v2/ticker": lambda _: Answer({"success": True, "data": [_btcturk_ticker(coin) for coin in COINS]}),
        "/public/instruments": okx,
        "/market/tickers": okx,
        "/public/time": _now,
        "/asset/currencies": Answer({"code": "0", "data": []}),
    }
