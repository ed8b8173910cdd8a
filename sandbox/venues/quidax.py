"""Quidax: Nigerian naira; every answer in an envelope, whose `status` says more than HTTP's; stamps in seconds.

{"status":"success","message":"Successful","data":{"btcngn":{"at":1795000000,"market":"btcngn","ticker":{"buy":"86627766.0","sell":"87105893.0","low":"85000000.0","high":"88000000.0","open":"86000000.0","last":"86808440.0","vol":"1.2345"}}}}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.market import Market, Quote, spot
from sandbox.venues.base import Ask, Refused, Venue
from sandbox.view import View, iso, newest

COINS = ("BTC", "ETH", "USDT", "USDC", "SOL", "XRP", "LTC", "DOGE", "ADA", "TRX", "SHIB", "BNB", "LINK", "DOT", "FIL")
PERIODS = frozenset({1, 5, 15, 30, 60, 120, 240, 360, 720, 1440, 4320, 10_080})  # minutes
MOST_BARS = 10_000
MOST_LEVELS = 200


def error(status: int) -> dict[str, Any]:
    words = {429: "Too many requests, please try again later", 503: "Service under maintenance"}
    return {"status": "error", "message": words.get(status, "Something went wrong"), "data": None}


def success(render: Callable[[View, Ask], Any]) -> Callable[[View, Ask], Any]:
    return lambda view, ask: {"status": "success", "message": "Successful", "data": render(view, ask)}


def markets(view: View, _: Ask) -> Any:
    """Lists markets; halted ones are not listed."""
    return [
        {"id": id_, "name": f"{market.base}/{market.quote}"}
        | {"base_unit": market.base.lower(), "quote_unit": market.quote.lower()}
        for id_, market in view.markets.items()
        if not market.is_halted
    ]


def tickers(view: View, _: Ask) -> Any:
    return {id_: {"at": int(view.stamp), "market": id_, "ticker": _ticker(quote)} for id_, _, quote in view.tickers()}


def ticker(view: View, ask: Ask) -> Any:
    _find(view, ask)
    rows = [{"at": int(view.stamp), "ticker": _ticker(quote)} for _, _, quote in view.tickers([ask.text("market")])]
    if not rows:
        raise _unknown()
    return rows[0]


def candles(view: View, ask: Ask) -> Any:
    """Renders candles as numbers, not texts; ascending."""
    market, minutes = _find(view, ask), ask.whole("period", 1)
    if minutes not in PERIODS:
        raise Refused(400, {"status": "error", "message": "period does not have a valid value", "data": None})
    period, limit = minutes * 60, min(max(ask.whole("limit", 30), 1), MOST_BARS)
    since = ask.whole("timestamp", -1)
    starts = newest(period, last=view.second, count=limit)
    if since >= 0:
        first = -(-since // period) * period
        starts = range(first, view.second + 1, period)[:limit]
    return [
        [bar.start, *(float(text) for text in (bar.open, bar.high, bar.low, bar.close, bar.base_volume))]
        for bar in view.bars(market, period, starts=starts)
    ]


def order_book(view: View, ask: Ask) -> Any:
    market = _find(view, ask)
    depth = min(max(ask.whole("ask_limit", 20), ask.whole("bids_limit", 20), 1), MOST_LEVELS)
    book = view.book(market, depth)
    return {
        name: [
            {"id": number, "side": side, "price": price, "volume": size, "remaining_volume": size}
            | {"created_at": iso(view.stamp)}
            for number, (price, size) in enumerate(levels)
        ]
        for name, side, levels in (("asks", "sell", book.asks), ("bids", "buy", book.bids))
    }


def depth(view: View, ask: Ask) -> Any:
    """Renders a book whose asks come worst first."""
    book = view.book(_find(view, ask), min(max(ask.whole("limit", 20), 1), MOST_LEVELS))
    return {"timestamp": int(view.stamp), "asks": [list(level) for level in reversed(book.asks)]} | {
        "bids": [list(level) for level in book.bids]
    }


def trades(view: View, ask: Ask) -> Any:
    return [
        {"trade_id": trade.number, "price": trade.price, "base_volume": trade.amount}
        | {"quote_volume": f"{float(trade.price) * float(trade.amount):.2f}", "timestamp": int(trade.at)}
        | {"type": "buy" if trade.is_buy else "sell"}
        for trade in view.trades(_find(view, ask), 50)
    ]


def _ticker(quote: Quote) -> dict[str, Any]:
    return {
        "buy": quote.bid,
        "sell": quote.ask,
        "low": quote.low,
        "high": quote.high,
        "open": quote.open,
        "last": quote.last,
        "vol": quote.base_volume,
    }


def _unknown() -> Refused:
    return Refused(404, {"status": "error", "message": "Market does not exist", "data": None})


def _find(view: View, ask: Ask) -> Market:
    market = view.markets.get(ask.text("market"))
    if market is None:
        raise _unknown()
    return market


VENUE = Venue(
    id="quidax",
    hosts=("app.quidax.io", "www.quidax.com"),
    size=30,
    symbols=lambda: spot(["NGN", "USDT"], coins=COINS),
    id_of=lambda market: (market.base + market.quote).lower(),
    routes={
        f"/api/v1{path}": success(render)
        for path, render in {
            "/markets": markets,
            "/markets/tickers": tickers,
            "/markets/tickers/{market}": ticker,
            "/markets/{market}/k": candles,
            "/markets/{market}/order_book": order_book,
            "/markets/{market}/depth": depth,
            "/trades/{market}": trades,
        }.items()
    },
    error=error,
)
