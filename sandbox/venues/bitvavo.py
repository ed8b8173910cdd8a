"""Bitvavo: everything against the euro, stamps in milliseconds, lists newest first.

[{"market":"BTC-EUR","open":"59900.0","high":"60500.0","low":"59100.0","last":"60000.0","volume":"12.3","volumeQuote":"738000.00","bid":"59988.0","bidSize":"1.2","ask":"60012.0","askSize":"0.8","timestamp":1795000000000}]
"""

from __future__ import annotations

from typing import Any

from sandbox.market import Market, Quote, spot
from sandbox.venues import binance
from sandbox.venues.base import Ask, Refused, Venue
from sandbox.view import View, between, newest

MOST_BARS = 1440


def error(status: int) -> dict[str, Any]:
    if status == 429:
        return {"errorCode": 105, "error": "Your IP or API key has been banned for exceeding the rate limit."}
    return {"errorCode": 101, "error": "Unknown error."}


def markets(view: View, _: Ask) -> Any:
    return [_market(view, id_, market) for id_, market in view.markets.items()]


def assets(view: View, _: Ask) -> Any:
    names = sorted({name for market in view.markets.values() for name in (market.base, market.quote)})
    return [
        {"symbol": name, "name": name, "decimals": 8, "depositFee": "0", "depositStatus": "OK"}
        | {"withdrawalFee": "0.1", "withdrawalMinAmount": "0.1", "withdrawalStatus": "OK", "networks": ["Mainnet"]}
        for name in names
    ]


def tickers(view: View, ask: Ask) -> Any:
    wanted = ask.text("market")
    if wanted:
        _find(view, ask)
    rows = [_ticker(view, id_, quote) for id_, _, quote in view.tickers([wanted] if wanted else None)]
    return rows[0] if wanted and rows else rows


def order_book(view: View, ask: Ask) -> Any:
    book = view.book(_find(view, ask), min(max(ask.whole("depth", 100), 1), 1000))
    return {"market": ask.text("market"), "nonce": view.second, "bids": book.bids, "asks": book.asks}


def candles(view: View, ask: Ask) -> Any:
    market, period = _find(view, ask), binance.PERIODS.get(ask.text("interval"))
    if period is None:
        raise Refused(400, {"errorCode": 205, "error": "interval parameter is invalid."})
    count = min(max(ask.whole("limit", MOST_BARS), 1), MOST_BARS)
    last = min((ask.whole("end", view.second * 1000 + 1) - 1) // 1000, view.second)  # the end is not in it
    first = ask.whole("start", -1)
    starts = newest(period, last=last, count=count) if first < 0 else between(period, -(-first // 1000), last)[-count:]
    rows = [
        [bar.start * 1000, bar.open, bar.high, bar.low, bar.close, bar.base_volume]
        for bar in view.bars(market, period, starts=starts)
    ]
    return rows[::-1]


def trades(view: View, ask: Ask) -> Any:
    return [
        {"id": str(trade.number), "timestamp": int(trade.at * 1000), "amount": trade.amount, "price": trade.price}
        | {"side": "buy" if trade.is_buy else "sell"}
        for trade in view.trades(_find(view, ask), min(max(ask.whole("limit", 500), 1), 1000))
    ]


def server_time(view: View, _: Ask) -> Any:
    return {"time": view.clock_ms}


def _market(view: View, id_: str, market: Market) -> dict[str, Any]:
    digits = view.digits(market)
    return {
        "market": id_,
        "status": "halted" if market.is_halted else "trading",
        "base": market.base,
        "quote": market.quote,
        "pricePrecision": 5,
        "tickSize": f"{10.0**-digits:.{digits}f}",
        "quantityDecimals": 8,
        "notionalDecimals": 2,
        "minOrderInBaseAsset": "0.00010000",
        "minOrderInQuoteAsset": "5.00",
        "maxOrderInBaseAsset": "1000000000.00000000",
        "maxOrderInQuoteAsset": "1000000000.00",
        "orderTypes": ["market", "limit"],
    }


def _ticker(view: View, id_: str, quote: Quote) -> dict[str, Any]:
    return {
        "market": id_,
        "open": quote.open,
        "high": quote.high,
        "low": quote.low,
        "last": quote.last,
        "volume": quote.base_volume,
        "volumeQuote": quote.quote_volume,
        "bid": quote.bid,
        "bidSize": "1.20",
        "ask": quote.ask,
        "askSize": "0.80",
        "timestamp": view.stamp_ms,
    }


def _find(view: View, ask: Ask) -> Market:
    market = view.markets.get(ask.text("market"))
    if market is None:
        raise Refused(400, {"errorCode": 205, "error": "market parameter is invalid."})
    return market


VENUE = Venue(
    id="bitvavo",
    hosts=("api.bitvavo.com",),
    size=150,
    symbols=lambda: spot(["EUR", "USDC"]),
    id_of=lambda market: f"{market.base}-{market.quote}",
    routes={
        "/v2/markets": markets,
        "/v2/assets": assets,
        "/v2/ticker/24h": tickers,
        "/v2/{market}/book": order_book,
        "/v2/{market}/candles": candles,
        "/v2/{market}/trades": trades,
        "/v2/time": server_time,
    },
    error=error,
)
