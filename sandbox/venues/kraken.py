"""Kraken: every answer is {"error":[],"result":…} with status 200, errors too; no stamps on tickers.

{"error":[],"result":{"XXBTZUSD":{"a":["65013.0","1","1.000"],"b":["64987.0","1","1.000"],"c":["65000.0","0.01"],"v":["10.0","100.0"],"o":"64880.0"}}}
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sandbox.market import Market, Quote, spot
from sandbox.streams.kraken import DIALECT
from sandbox.venues.base import Ask, Refused, Venue
from sandbox.view import View, between, newest

OWN_NAMES = {"BTC": "XBT", "DOGE": "XDG"}
LONG_COINS = frozenset({"XBT", "ETH", "LTC", "XRP", "XLM", "XMR", "ZEC", "ETC"})  # XXBT, XETH, …
LONG_MONEY = frozenset({"USD", "EUR", "GBP", "CAD", "JPY", "AUD"})  # ZUSD, ZEUR, …
MINUTES = frozenset({1, 5, 15, 30, 60, 240, 1440, 10_080, 21_600})
MOST_BARS = 720


def error(status: int) -> Any:
    word = {429: "EAPI:Rate limit exceeded", 404: "EGeneral:Unknown method", 503: "EService:Unavailable"}
    return {"error": [word.get(status, "EGeneral:Internal error")], "result": {}}


def id_of(market: Market) -> str:
    """Returns a market's name: old coins against money have long ones, XXBTZUSD; everything else is just both names."""
    base, quote = asset_id(market.base), asset_id(market.quote)
    if base != altname(market.base) and quote != altname(market.quote):
        return base + quote
    return altname(market.base) + altname(market.quote)


def altname(asset: str) -> str:
    return OWN_NAMES.get(asset, asset)


def asset_id(asset: str) -> str:
    name = altname(asset)
    if name in LONG_COINS or name == "XDG":
        return f"X{name}"
    return f"Z{name}" if name in LONG_MONEY else name


def assets(view: View, _: Ask) -> Any:
    names = sorted({name for market in view.markets.values() for name in (market.base, market.quote)})
    return _answer(
        {
            asset_id(name): {"aclass": "currency", "altname": altname(name), "decimals": 10, "display_decimals": 5}
            | {"status": "enabled"}
            for name in names
        }
    )


def pairs(view: View, _: Ask) -> Any:
    return _answer({id_: _pair(view, market) for id_, market in view.markets.items()})


def tickers(view: View, ask: Ask) -> Any:
    ids = [id_ for id_ in ask.text("pair").split(",") if id_] or None
    if ids and not all(id_ in view.markets for id_ in ids):
        raise Refused(200, _failure("EQuery:Unknown asset pair"))
    return _answer({id_: _ticker(quote) for id_, _, quote in view.tickers(ids)})


def depth(view: View, ask: Ask) -> Any:
    book = view.book(_find(view, ask), min(max(ask.whole("count", 100), 1), 500))
    asks, bids = ([[price, size, int(view.stamp)] for price, size in side] for side in (book.asks, book.bids))
    return _answer({ask.text("pair"): {"asks": asks, "bids": bids}})


def ohlc(view: View, ask: Ask) -> Any:
    market, minutes = _find(view, ask), ask.whole("interval", 1)
    if minutes not in MINUTES:
        raise Refused(200, _failure("EGeneral:Invalid arguments"))
    period = minutes * 60
    since = ask.whole("since", -1)
    starts = newest(period, last=view.second, count=MOST_BARS)
    if since >= 0:
        starts = between(period, max(since, starts[0]), view.second)
    rows = [
        [bar.start, bar.open, bar.high, bar.low, bar.close, bar.close, bar.base_volume, 100]
        for bar in view.bars(market, period, starts=starts)
    ]
    return _answer({ask.text("pair"): rows, "last": (view.second // period - 1) * period})


def trades(view: View, ask: Ask) -> Any:
    """Lists trades, from `since` on the oldest; it and `last` are in nanoseconds, seconds are understood too."""
    since = ask.text("since", "0")
    after = int(since[:10]) if since[:10].isdigit() else 0
    count = min(max(ask.whole("count", 1000), 1), 1000)
    rows = [
        [trade.price, trade.amount, round(trade.at, 4), "b" if trade.is_buy else "s", "l", "", trade.number]
        for trade in view.trades(_find(view, ask), count, first=after, oldest_first=after > 0)
    ]
    return _answer({ask.text("pair"): sorted(rows, key=_number), "last": f"{int(view.stamp * 1000)}000000"})


def _number(row: list[Any]) -> int:
    return int(row[6])


def server_time(view: View, _: Ask) -> Any:
    moment = datetime.fromtimestamp(view.clock, UTC)
    return _answer({"unixtime": int(view.clock), "rfc1123": moment.strftime("%a, %d %b %y %H:%M:%S +0000")})


def system_status(view: View, _: Ask) -> Any:
    moment = datetime.fromtimestamp(view.clock, UTC)
    return _answer({"status": "online", "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ")})


def _answer(result: Any) -> dict[str, Any]:
    return {"error": [], "result": result}


def _failure(word: str) -> dict[str, Any]:
    return {"error": [word]}


def _pair(view: View, market: Market) -> dict[str, Any]:
    digits = view.digits(market)
    return {
        "altname": altname(market.base) + altname(market.quote),
        "wsname": f"{altname(market.base)}/{altname(market.quote)}",
        "aclass_base": "currency",
        "base": asset_id(market.base),
        "aclass_quote": "currency",
        "quote": asset_id(market.quote),
        "pair_decimals": digits,
        "lot_decimals": 8,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, 0.4]],
        "fees_maker": [[0, 0.25]],
        "ordermin": f"{10.0**-market.amount_decimals:.{market.amount_decimals}f}",
        "costmin": "0.5",
        "tick_size": f"{10.0**-digits:.{digits}f}",
        "status": "cancel_only" if market.is_halted else "online",
    }


def _ticker(quote: Quote) -> dict[str, Any]:
    return {
        "a": [quote.ask, "1", "1.000"],
        "b": [quote.bid, "1", "1.000"],
        "c": [quote.last, "0.01000000"],
        "v": [quote.base_volume, quote.base_volume],
        "p": [quote.last, quote.last],
        "t": [1000, 1000],
        "l": [quote.low, quote.low],
        "h": [quote.high, quote.high],
        "o": quote.open,
    }


def _find(view: View, ask: Ask) -> Market:
    market = view.markets.get(ask.text("pair"))
    if market is None:
        raise Refused(200, _failure("EQuery:Unknown asset pair"))
    return market


VENUE = Venue(
    id="kraken",
    hosts=("api.kraken.com",),
    streams={"ws.kraken.com": DIALECT},
    size=300,
    symbols=lambda: spot(["USD", "EUR", "USDT"]),
    id_of=id_of,
    routes={
        "/0/public/Assets": assets,
        "/0/public/AssetPairs": pairs,
        "/0/public/Ticker": tickers,
        "/0/public/Depth": depth,
        "/0/public/OHLC": ohlc,
        "/0/public/Trades": trades,
        "/0/public/Time": server_time,
        "/0/public/SystemStatus": system_status,
    },
    error=error,
)
