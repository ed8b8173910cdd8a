"""Coinbase Advanced Trade: the product list is the ticker list, without bid, ask and stamp.

{"products":[{"product_id":"BTC-USD","price":"65000.0","price_percentage_change_24h":"0.5","volume_24h":"1000","status":"online","trading_disabled":false}],"num_products":1}
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sandbox.assets import COINS, unit
from sandbox.market import Market, Quote, spot
from sandbox.streams.coinbase import DIALECT
from sandbox.venues.base import Ask, Refused, Venue
from sandbox.view import View, between, newest

PERIODS = {
    "ONE_MINUTE": 60, "FIVE_MINUTE": 300, "FIFTEEN_MINUTE": 900, "THIRTY_MINUTE": 1800, "ONE_HOUR": 3600,
    "TWO_HOUR": 7200, "SIX_HOUR": 21_600, "ONE_DAY": 86_400,
}  # fmt: skip
MOST_BARS = 300
FIAT = {"USD": "US Dollar", "EUR": "Euro", "GBP": "British Pound"}
API = "/api/v3/brokerage/market"


def error(status: int) -> dict[str, Any]:
    word = {429: "rate_limit_exceeded", 404: "NOT_FOUND", 503: "UNAVAILABLE"}.get(status, "INTERNAL")
    return {"error": word, "error_details": "The request was not served.", "message": "The request was not served."}


def fiat_currencies(_: View, __: Ask) -> Any:
    return {"data": [{"id": code, "name": name, "min_size": "0.01"} for code, name in FIAT.items()]}


def crypto_currencies(view: View, _: Ask) -> Any:
    codes = sorted({market.base for market in view.markets.values()} | {"USDC"})
    return {"data": [{"asset_id": _uuid(code), "code": code, "name": code, "type": "crypto"} for code in codes]}


def exchange_rates(_: View, __: Ask) -> Any:
    return {"data": {"currency": "USD", "rates": {"BTC": f"{1 / COINS['BTC']:.9f}", "USD": "1.0"}}}


def products(view: View, ask: Ask) -> Any:
    if ask.text("product_type") not in ("", "SPOT"):
        return {"products": [], "num_products": 0}
    ids = ask.texts("product_ids") or list(view.markets)
    quotes = {id_: quote for id_, _, quote in view.tickers(ids)}
    rows = [
        _product(view, id_, market, quotes.get(id_))
        for id_, market in ((id_, view.markets[id_]) for id_ in ids if id_ in view.markets)
        if id_ in quotes or market.is_halted
    ]
    return {"products": rows, "num_products": len(rows)}


def ticker(view: View, ask: Ask) -> Any:
    """Renders the newest trades; with a start and an end (seconds), the newest between them."""
    market = _find(view, ask, "id")
    quote = view.quote(market)
    count, first = min(max(ask.whole("limit", 100), 1), 1000), ask.whole("start", 0)
    rows = [
        {"trade_id": str(trade.number), "product_id": ask.text("id"), "price": trade.price, "size": trade.amount}
        | {"time": _iso(trade.at), "side": "BUY" if trade.is_buy else "SELL"}
        for trade in view.trades(market, count, first=first, last=ask.whole("end", view.second))
    ]
    if not first:
        rows[0]["price"] = quote.last
    return {"trades": rows, "best_bid": quote.bid, "best_ask": quote.ask}


def product_book(view: View, ask: Ask) -> Any:
    book = view.book(_find(view, ask, "product_id"), min(max(ask.whole("limit", 100), 1), 1000))
    bids, asks = ([{"price": price, "size": size} for price, size in side] for side in (book.bids, book.asks))
    return {"pricebook": {"product_id": ask.text("product_id"), "bids": bids, "asks": asks, "time": _iso(view.stamp)}}


def candles(view: View, ask: Ask) -> Any:
    """Renders candles newest first; the venue wants both ends, we also do without."""
    market, period = _find(view, ask, "id"), PERIODS.get(ask.text("granularity"))
    if period is None:
        raise Refused(400, error(400))
    last = min(ask.whole("end", view.second), view.second)
    first = ask.whole("start", -1)
    starts = newest(period, last=last, count=MOST_BARS) if first < 0 else between(period, first, last)[-MOST_BARS:]
    rows = [
        {"start": str(bar.start), "low": bar.low, "high": bar.high, "open": bar.open, "close": bar.close}
        | {"volume": bar.base_volume}
        for bar in view.bars(market, period, starts=starts)
    ]
    return {"candles": rows[::-1]}


def server_time(view: View, _: Ask) -> Any:
    return {"data": {"iso": _iso(view.clock)[:19] + "Z", "epoch": int(view.clock)}}


def _product(view: View, id_: str, market: Market, quote: Quote | None) -> dict[str, Any]:
    tick = f"{10.0 ** -view.digits(market):.{view.digits(market)}f}"
    step = f"{10.0**-market.amount_decimals:.{market.amount_decimals}f}"
    return {
        "product_id": id_,
        "price": quote.last if quote else "",
        "price_percentage_change_24h": quote.change_percent if quote else "",
        "volume_24h": quote.base_volume if quote else "",
        "approximate_quote_24h_volume": quote.quote_volume if quote else "",
        "base_increment": step,
        "quote_increment": tick,
        "price_increment": tick,
        "quote_min_size": "1",
        "quote_max_size": "150000000",
        "base_min_size": step,
        "base_max_size": "34000000",
        "status": "online",
        "trading_disabled": quote is None,
        "product_type": "SPOT",
        "base_currency_id": market.base,
        "quote_currency_id": market.quote,
        "alias": "",
        "alias_to": [],
    }


def _find(view: View, ask: Ask, name: str) -> Market:
    market = view.markets.get(ask.text(name))
    if market is None:
        raise Refused(404, error(404))
    return market


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _uuid(code: str) -> str:
    return f"{int(unit('asset', code) * 2**32):08x}-0000-4000-8000-000000000000"


VENUE = Venue(
    id="coinbase",
    hosts=("api.coinbase.com",),
    streams={"advanced-trade-ws.coinbase.com": DIALECT},
    size=250,
    symbols=lambda: spot(["USD", "USDC", "EUR"]),
    id_of=lambda market: f"{market.base}-{market.quote}",
    routes={
        "/v2/currencies": fiat_currencies,
        "/v2/currencies/crypto": crypto_currencies,
        "/v2/exchange-rates": exchange_rates,
        "/v2/time": server_time,
        f"{API}/products": products,
        f"{API}/products/{{id}}/ticker": ticker,
        f"{API}/products/{{id}}/candles": candles,
        f"{API}/product_book": product_book,
    },
    error=error,
)
