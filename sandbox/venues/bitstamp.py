"""Bitstamp: numbers and seconds as texts; no time, no status.

[{"timestamp":"1795000000","open":"64880.0","high":"65500.0","low":"64100.0","last":"65000.0","volume":"123.4","vwap":"65000.0","bid":"64987.0","ask":"65013.0","percent_change_24":"0.185","pair":"BTC/USD"}]
"""

from __future__ import annotations

from typing import Any

from sandbox.assets import COINS
from sandbox.market import Market, Quote, spot
from sandbox.venues.base import Ask, Refused, Venue
from sandbox.view import View, between, newest

PERIODS = frozenset({60, 180, 300, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 259_200})
MOST_BARS = 1000
MOST_TRADES = 500
API = "/api/v2"


def error(status: int) -> dict[str, Any]:
    reason = "Request rate limit exceeded." if status in (400, 429) else "The request was not served."
    return {"status": "error", "reason": reason, "code": "API0000"}


def markets(view: View, _: Ask) -> Any:
    return [
        {"name": f"{market.base}/{market.quote}", "market_symbol": id_, "base_currency": market.base}
        | {"base_decimals": 8, "counter_currency": market.quote, "counter_decimals": view.digits(market)}
        | {"minimum_order_value": "10", "trading": "Disabled" if market.is_halted else "Enabled"}
        | {"instant_and_market_orders": "Enabled", "market_type": "SPOT"}
        | {"description": f"{market.base} / {market.quote}"}
        for id_, market in view.markets.items()
    ]


def tickers(view: View, _: Ask) -> Any:
    return [_ticker(view, market, quote) for _, market, quote in view.tickers()]


def ticker(view: View, ask: Ask) -> Any:
    market = _find(view, ask)
    return _ticker(view, market, view.quote(market))


def order_book(view: View, ask: Ask) -> Any:
    book = view.book(_find(view, ask), 100)
    stamp = {"timestamp": str(int(view.stamp)), "microtimestamp": f"{view.stamp_ms}000"}
    return stamp | {"bids": book.bids, "asks": book.asks}


def candles(view: View, ask: Ask) -> Any:
    market, period = _find(view, ask), ask.whole("step", 0)
    if period not in PERIODS:
        raise Refused(400, error(404))
    count, last = min(ask.whole("limit", 100), MOST_BARS), ask.whole("end", view.second)
    first = ask.whole("start", -1)
    starts = newest(period, last=last, count=count) if first < 0 else between(period, first, last)[:count]
    rows = [
        {"timestamp": str(bar.start), "open": bar.open, "high": bar.high, "low": bar.low, "close": bar.close}
        | {"volume": bar.base_volume}
        for bar in view.bars(market, period, starts=starts)
    ]
    return {"data": {"pair": f"{market.base}/{market.quote}", "ohlc": rows}}


def trades(view: View, ask: Ask) -> Any:
    """Lists trades newest first; type 0 is a purchase."""
    return [
        {"date": str(int(trade.at)), "tid": str(trade.number), "price": trade.price, "amount": trade.amount}
        | {"type": "0" if trade.is_buy else "1"}
        for trade in view.trades(_find(view, ask), MOST_TRADES)
    ]


def _ticker(view: View, market: Market, quote: Quote) -> dict[str, Any]:
    return {
        "timestamp": str(int(view.stamp)),
        "open": quote.open,
        "high": quote.high,
        "low": quote.low,
        "last": quote.last,
        "volume": quote.base_volume,
        "vwap": quote.last,
        "bid": quote.bid,
        "ask": quote.ask,
        "side": "0",
        "open_24": quote.open,
        "percent_change_24": quote.change_percent,
        "market_type": "SPOT",
        "pair": f"{market.base}/{market.quote}",
    }


def _find(view: View, ask: Ask) -> Market:
    market = view.markets.get(ask.text("pair"))
    if market is None:
        raise Refused(404, error(404))
    return market


VENUE = Venue(
    id="bitstamp",
    hosts=("www.bitstamp.net",),
    size=100,
    symbols=lambda: spot(["USD", "EUR"], coins=[*COINS][:60]),
    id_of=lambda market: (market.base + market.quote).lower(),
    routes={
        f"{API}/markets/": markets,
        f"{API}/ticker/": tickers,
        f"{API}/ticker/{{pair}}/": ticker,
        f"{API}/order_book/{{pair}}/": order_book,
        f"{API}/ohlc/{{pair}}/": candles,
        f"{API}/transactions/{{pair}}/": trades,
    },
    error=error,
)
