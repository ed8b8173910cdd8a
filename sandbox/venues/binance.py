"""Binance spot, and what its futures have in common with it.

[{"symbol":"BTCUSDT","priceChangePercent":"0.185","lastPrice":"65000.0","bidPrice":"64987.0","askPrice":"65013.0","closeTime":1795000000000}]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from sandbox.market import Market, PriceBar, Quote, spot
from sandbox.streams.binance import MOST_LEVELS, SPOT
from sandbox.venues.base import Ask, Refused, Venue
from sandbox.venues.binance_account import account
from sandbox.view import View, between, newest

PERIODS = {
    "1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200, "4h": 14_400,
    "6h": 21_600, "8h": 28_800, "12h": 43_200, "1d": 86_400, "3d": 259_200, "1w": 604_800,
}  # fmt: skip
DAY_MS = 86_400_000
MOST_BARS = 1000
BAD_SYMBOL = {"code": -1121, "msg": "Invalid symbol."}


def error(status: int) -> dict[str, Any]:
    if status in (418, 429):
        return {"code": -1003, "msg": "Too many requests; current limit of IP is 6000 requests per minute."}
    return {"code": -1000, "msg": "An unknown error occurred while processing the request."}


def id_of(market: Market) -> str:
    return market.base + market.quote


def exchange_info(view: View, _: Ask) -> Any:
    symbols = [_market(view, id_, market) | {"permissionSets": [["SPOT"]]} for id_, market in view.markets.items()]
    return {"timezone": "UTC", "serverTime": view.clock_ms, "symbols": symbols}


def futures_info(view: View, _: Ask) -> Any:
    rows = [
        _market(view, id_, market) | {"pair": id_, "contractType": "PERPETUAL", "marginAsset": market.settle}
        for id_, market in view.markets.items()
    ]
    return {"timezone": "UTC", "serverTime": view.clock_ms, "symbols": rows}


def no_markets(view: View, _: Ask) -> Any:
    return {"timezone": "UTC", "serverTime": view.clock_ms, "symbols": []}


def tickers(view: View, ask: Ask) -> Any:
    return _all_or_one(ask, [_ticker(view, id_, quote, quote.bid, quote.ask) for id_, quote in _rows(view, ask)])


def futures_tickers(view: View, ask: Ask) -> Any:
    """Renders tickers without bid and ask, as the venue has it."""
    return _all_or_one(ask, [_daily(view, id_, quote) for id_, quote in _rows(view, ask)])


def best_prices(view: View, ask: Ask) -> Any:
    rows = [
        {"symbol": id_, "bidPrice": quote.bid, "bidQty": "1.20", "askPrice": quote.ask, "askQty": "0.80"}
        | {"time": view.stamp_ms}
        for id_, quote in _rows(view, ask)
    ]
    return _all_or_one(ask, rows)


def depth(view: View, ask: Ask) -> Any:
    book = view.book(_find(view, ask), min(max(ask.whole("limit", 100), 1), MOST_LEVELS))
    return {"lastUpdateId": view.second, "bids": book.bids, "asks": book.asks}


def futures_depth(view: View, ask: Ask) -> Any:
    return {"E": view.stamp_ms, "T": view.stamp_ms, **depth(view, ask)}


def klines(view: View, ask: Ask) -> Any:
    market, period = _find(view, ask), PERIODS.get(ask.text("interval"))
    if period is None:
        raise Refused(400, {"code": -1120, "msg": "Invalid interval."})
    count = min(max(ask.whole("limit", 500), 1), MOST_BARS)
    last = ask.whole("endTime", view.second * 1000) // 1000
    since = ask.whole("startTime", -1)
    starts = newest(period, last=last, count=count) if since < 0 else between(period, -(-since // 1000), last)[:count]
    return [_kline(bar, period) for bar in view.bars(market, period, starts=starts)]


def trades(view: View, ask: Ask) -> Any:
    """Renders trades; the price's side is the taker's, and `m` says that the buyer was the maker.

    From an id or a start on, the oldest come first; without, the newest.
    """
    market, count = _find(view, ask), min(max(ask.whole("limit", 500), 1), 1000)
    first, ends_ms = ask.whole("fromId", -1), ask.whole("endTime", view.second * 1000)
    if first < 0 and (start_ms := ask.whole("startTime", -1)) >= 0:
        first = -(-start_ms // 1000)
    found = view.trades(market, count, first=max(first, 0), last=ends_ms // 1000, oldest_first=first >= 0)
    rows = [
        {"a": trade.number, "p": trade.price, "q": trade.amount, "f": trade.number, "l": trade.number}
        | {"T": int(trade.at * 1000), "m": not trade.is_buy, "M": True}
        for trade in found
    ]
    return sorted(rows, key=lambda row: row["a"])


def server_time(view: View, _: Ask) -> Any:
    return {"serverTime": view.clock_ms}


def ping(_: View, __: Ask) -> Any:
    return {}


def system_status(_: View, __: Ask) -> Any:
    return {"status": 0, "msg": "normal"}


def _kline(bar: PriceBar, period: int) -> list[Any]:
    prices = [bar.open, bar.high, bar.low, bar.close]
    closes_ms = (bar.start + period) * 1000 - 1
    return [bar.start * 1000, *prices, bar.base_volume, closes_ms, bar.quote_volume, 100, "0", "0", "0"]


def _market(view: View, id_: str, market: Market) -> dict[str, Any]:
    tick, step = (f"{10.0**-digits:.{digits}f}" for digits in (view.digits(market), market.amount_decimals))
    return {
        "symbol": id_,
        "status": "BREAK" if market.is_halted else "TRADING",
        "baseAsset": market.base,
        "quoteAsset": market.quote,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "10000000.00", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "90000000.00", "stepSize": step},
        ],
    }


def _rows(view: View, ask: Ask) -> Iterator[tuple[str, Quote]]:
    ids = _wanted(ask)
    for id_ in ids or ():
        if id_ not in view.markets:
            raise Refused(400, BAD_SYMBOL)
    return ((id_, quote) for id_, _, quote in view.tickers(ids))


def _wanted(ask: Ask) -> list[str] | None:
    """Returns the ids asked for: `symbol` is one, `symbols` a JSON list of them; None without either: all."""
    if one := ask.text("symbol"):
        return [one]
    if not (several := ask.text("symbols")):
        return None
    try:
        return [str(id_) for id_ in orjson.loads(several)]
    except (orjson.JSONDecodeError, TypeError):
        raise Refused(400, {"code": -1100, "msg": "Illegal characters found in parameter 'symbols'"}) from None


def _all_or_one(ask: Ask, rows: list[dict[str, Any]]) -> Any:
    if not ask.text("symbol"):
        return rows
    if not rows:
        raise Refused(400, BAD_SYMBOL)
    return rows[0]


def _ticker(view: View, id_: str, quote: Quote, bid: Any, ask: Any) -> dict[str, Any]:
    sides = {"prevClosePrice": quote.open, "bidPrice": bid, "bidQty": "1.20", "askPrice": ask, "askQty": "0.80"}
    return _daily(view, id_, quote) | sides


def _daily(view: View, id_: str, quote: Quote) -> dict[str, Any]:
    return {
        "symbol": id_,
        "priceChangePercent": quote.change_percent,
        "lastPrice": quote.last,
        "openPrice": quote.open,
        "highPrice": quote.high,
        "lowPrice": quote.low,
        "volume": quote.base_volume,
        "quoteVolume": quote.quote_volume,
        "openTime": view.stamp_ms - DAY_MS,
        "closeTime": view.stamp_ms,
        "firstId": 1,
        "lastId": view.second,
        "count": view.second - 1,
    }


def _find(view: View, ask: Ask) -> Market:
    market = view.markets.get(ask.text("symbol"))
    if market is None:
        raise Refused(400, BAD_SYMBOL)
    return market


VENUE = Venue(
    id="binance",
    hosts=("api.binance.com", "dapi.binance.com"),
    streams={"stream.binance.com": SPOT},
    size=400,
    symbols=lambda: spot(["USDT", "USDC", "BTC", "FDUSD", "EUR", "TRY"]),
    id_of=id_of,
    routes={
        "/api/v3/exchangeInfo": exchange_info,
        "/api/v3/ticker/24hr": tickers,
        "/api/v3/ticker/bookTicker": best_prices,
        "/api/v3/depth": depth,
        "/api/v3/klines": klines,
        "/api/v3/aggTrades": trades,
        "/api/v3/time": server_time,
        "/api/v3/ping": ping,
        "/api/v3/account": account,
        "/sapi/v1/system/status": system_status,
        "/dapi/v1/exchangeInfo": no_markets,
    },
    error=error,
)
