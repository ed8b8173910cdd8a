"""Luno: African and Asian money against few coins; candles need a key (any will do here).

{"tickers":[{"pair":"XBTZAR","timestamp":1795000000000,"bid":"1179764","ask":"1180236","last_trade":"1180000","rolling_24_hour_volume":"12.34","status":"ACTIVE"}]}
"""

from __future__ import annotations

from typing import Any

from sandbox.market import Market, Quote, spot
from sandbox.venues.base import Ask, Refused, Venue
from sandbox.view import View, between, newest

COINS = ("BTC", "ETH", "SOL", "XRP", "LTC", "BCH", "ADA", "LINK", "DOT", "UNI")
PERIODS = frozenset({60, 300, 900, 1800, 3600, 10_800, 14_400, 28_800, 86_400, 259_200, 604_800})
MOST_BARS = 1000


def error(status: int) -> dict[str, Any]:
    code = {429: "ErrTooManyRequests", 404: "ErrNotFound", 503: "ErrUnderMaintenance"}.get(status, "ErrInternal")
    return {"error": "The request was not served.", "error_code": code}


def asset_id(asset: str) -> str:
    return "XBT" if asset == "BTC" else asset


def markets(view: View, _: Ask) -> Any:
    return {"markets": [_market(view, id_, market) for id_, market in view.markets.items()]}


def tickers(view: View, ask: Ask) -> Any:
    ids = ask.texts("pair") or None
    return {"tickers": [_ticker(view, id_, quote) for id_, _, quote in view.tickers(ids)]}


def ticker(view: View, ask: Ask) -> Any:
    _find(view, ask)
    rows = [_ticker(view, id_, quote) for id_, _, quote in view.tickers([ask.text("pair")])]
    if not rows:
        raise Refused(400, {"error": "Market is not available", "error_code": "ErrMarketUnavailable"})
    return rows[0]


def top_of_book(view: View, ask: Ask) -> Any:
    return _book(view, ask, 100)


def whole_book(view: View, ask: Ask) -> Any:
    return _book(view, ask, 500)


def trades(view: View, ask: Ask) -> Any:
    """Lists trades newest first, at most 100."""
    since = ask.whole("since", 0)
    rows = [
        {"sequence": trade.number, "timestamp": int(trade.at * 1000), "price": trade.price, "volume": trade.amount}
        | {"is_buy": trade.is_buy}
        for trade in view.trades(_find(view, ask), 100)
        if trade.at * 1000 >= since
    ]
    return {"trades": rows}


def candles(view: View, ask: Ask) -> Any:
    market, period = _find(view, ask), ask.whole("duration", 60)
    if period not in PERIODS:
        raise Refused(400, {"error": "Invalid duration", "error_code": "ErrInvalidArguments"})
    since = ask.whole("since", -1)
    starts = newest(period, last=view.second, count=MOST_BARS)
    if since >= 0:
        starts = between(period, -(-since // 1000), view.second)[:MOST_BARS]
    rows = [
        {"timestamp": bar.start * 1000, "open": bar.open, "close": bar.close, "high": bar.high, "low": bar.low}
        | {"volume": bar.base_volume}
        for bar in view.bars(market, period, starts=starts)
    ]
    return {"candles": rows, "duration": period, "pair": ask.text("pair")}


def networks(_: View, __: Ask) -> Any:
    """Lists no networks; clients that have a key ask for them."""
    return {"networks": []}


def _market(view: View, id_: str, market: Market) -> dict[str, Any]:
    digits = view.digits(market)
    return {
        "market_id": id_,
        "trading_status": "SUSPENDED" if market.is_halted else "ACTIVE",
        "base_currency": asset_id(market.base),
        "counter_currency": market.quote,
        "min_volume": f"{10.0**-market.amount_decimals:.{market.amount_decimals}f}",
        "max_volume": "100000.00",
        "volume_scale": market.amount_decimals,
        "min_price": f"{10.0**-digits:.{digits}f}",
        "max_price": "99999999.00",
        "price_scale": digits,
        "fee_scale": 8,
    }


def _ticker(view: View, id_: str, quote: Quote) -> dict[str, Any]:
    return {
        "pair": id_,
        "timestamp": view.stamp_ms,
        "bid": quote.bid,
        "ask": quote.ask,
        "last_trade": quote.last,
        "rolling_24_hour_volume": quote.base_volume,
        "status": "ACTIVE",
    }


def _book(view: View, ask: Ask, depth: int) -> Any:
    book = view.book(_find(view, ask), depth)
    asks, bids = ([{"price": price, "volume": size} for price, size in side] for side in (book.asks, book.bids))
    return {"timestamp": view.stamp_ms, "asks": asks, "bids": bids}


def _find(view: View, ask: Ask) -> Market:
    market = view.markets.get(ask.text("pair"))
    if market is None:
        raise Refused(400, {"error": "Invalid market pair", "error_code": "ErrInvalidMarketPair"})
    return market


VENUE = Venue(
    id="luno",
    hosts=("api.luno.com",),
    size=40,
    symbols=lambda: spot(["ZAR", "NGN", "MYR", "EUR", "KES"], coins=COINS),
    id_of=lambda market: asset_id(market.base) + asset_id(market.quote),
    routes={
        "/api/exchange/1/markets": markets,
        "/api/1/tickers": tickers,
        "/api/1/ticker": ticker,
        "/api/1/orderbook": whole_book,
        "/api/1/orderbook_top": top_of_book,
        "/api/1/trades": trades,
        "/api/exchange/1/candles": candles,
        "/api/1/send/networks": networks,
    },
    error=error,
)
