"""Hyperliquid: everything is POST /info with a type; perpetuals in USDC and a few spot markets; no ticker stamps.

[{"universe":[{"szDecimals":5,"name":"BTC","maxLeverage":40}],"marginTables":[],"collateralToken":0},
 [{"funding":"0.0000125","prevDayPx":"64800","dayNtlVlm":"2800000000.0","markPx":"65005","midPx":"65000","impactPxs":["64987","65013"]}]]
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from sandbox.assets import unit
from sandbox.market import Market, Quote, perpetual
from sandbox.streams.hyperliquid import DIALECT
from sandbox.venues.base import Ask, Refused, Venue
from sandbox.view import View, between

PERIODS = {
    "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200, "4h": 14_400, "8h": 28_800,
    "12h": 43_200, "1d": 86_400, "3d": 259_200, "1w": 604_800,
}  # fmt: skip
SPOT = ("PURR/USDC", "HYPE/USDC", "BTC/USDC", "ETH/USDC", "SOL/USDC")
WRAPPED = {"BTC": "UBTC", "ETH": "UETH", "SOL": "USOL"}
FIRST_SPOT_NUMBER = 107  # of those whose coin is a number
LEVELS = 20
MOST_BARS = 5000
FUNDING_SECONDS = 3600
PERPETUAL_DECIMALS = 6
SPOT_DECIMALS = 8


def error(status: int) -> Any:
    """Returns plain text, as the venue does it outside 200."""
    return "Too Many Requests" if status == 429 else "Failed to serve the request"


def symbols() -> Iterator[str]:
    return chain(SPOT, perpetual(["USDC"]))


def id_of(market: Market) -> str:
    """Returns a coin: a perpetual's is its base; of the spot markets only the first has a name."""
    if market.settle:
        return market.base
    if market.symbol == SPOT[0]:
        return market.symbol
    known = SPOT.index(market.symbol) if market.symbol in SPOT else 1000 + int(8999 * unit("coin", market.symbol))
    return f"@{FIRST_SPOT_NUMBER + known - 1}"


def info(view: View, ask: Ask) -> Any:
    kind = ask.text("type")
    if kind not in TYPES:
        raise Refused(422, "Failed to deserialize the JSON body into the target type")
    return TYPES[kind](view, ask)


def perpetuals(view: View, _: Ask) -> Any:
    quotes = {id_: quote for id_, _, quote in view.tickers()}
    listed = _listed(view, quotes, is_spot=False)
    universe = [
        {"szDecimals": _lot_decimals(view, market, PERPETUAL_DECIMALS), "name": market.base, "maxLeverage": 20}
        | {"marginTableId": 20}
        | ({"isDelisted": True} if market.is_halted else {})
        for _, market in listed
    ]
    contexts = [_context(quotes.get(id_), funding_rate(id_, view.second)) for id_, _ in listed]
    return [{"universe": universe, "marginTables": [], "collateralToken": 0}, contexts]


def spots(view: View, _: Ask) -> Any:
    quotes = {id_: quote for id_, _, quote in view.tickers()}
    listed = _listed(view, quotes, is_spot=True)
    contexts = [_spot_context(id_, quotes.get(id_)) for id_, _ in listed]
    return [_spot_meta(view, listed), contexts]


def spot_meta(view: View, ask: Ask) -> Any:
    return spots(view, ask)[0]


def perpetual_meta(view: View, ask: Ask) -> Any:
    return perpetuals(view, ask)[0]


def other_dexes(_: View, __: Ask) -> Any:
    return [None]


def mids(view: View, _: Ask) -> Any:
    return {id_: quote.last for id_, _, quote in view.tickers()}


def book(view: View, ask: Ask) -> Any:
    coin = ask.text("coin")
    sides = view.book(_find(view, coin), LEVELS)
    levels = [[{"px": price, "sz": size, "n": 3} for price, size in side] for side in (sides.bids, sides.asks)]
    return {"coin": coin, "time": view.stamp_ms, "levels": levels}


def candles(view: View, ask: Ask) -> Any:
    request = ask.values.get("req")
    request = Ask(request if isinstance(request, dict) else {}, {})
    market, period = _find(view, request.text("coin")), PERIODS.get(request.text("interval"))
    if period is None:
        raise Refused(422, "Failed to deserialize the JSON body into the target type")
    first = max(request.whole("startTime", 0), 0) // 1000
    last = min(request.whole("endTime", view.second * 1000) // 1000, view.second)
    # The bar that runs at startTime belongs to the answer.
    starts = between(period, first // period * period, last)[-MOST_BARS:]
    return [
        {"t": bar.start * 1000, "T": (bar.start + period) * 1000 - 1, "s": request.text("coin")}
        | {"i": request.text("interval"), "o": bar.open, "c": bar.close, "h": bar.high, "l": bar.low}
        | {"v": bar.base_volume, "n": 100}
        for bar in view.bars(market, period, starts=starts)
    ]


def recent_trades(view: View, ask: Ask) -> Any:
    coin = ask.text("coin")
    return [
        {"coin": coin, "side": "B" if trade.is_buy else "A", "px": trade.price, "sz": trade.amount}
        | {"time": int(trade.at * 1000), "hash": "0x" + "0" * 64, "tid": trade.number, "users": []}
        for trade in view.trades(_find(view, coin), 10)
    ]


def status(view: View, _: Ask) -> Any:
    return {"specialStatuses": None, "time": view.clock_ms}


def _listed(view: View, quotes: dict[str, Quote], *, is_spot: bool) -> list[tuple[str, Market]]:
    return [
        (id_, market)
        for id_, market in view.markets.items()
        if (market.settle is None) is is_spot and (market.is_halted or id_ in quotes)
    ]


def funding_rate(coin: str, second: int) -> str:
    """Returns the funding rate of the hour that runs."""
    return f"{0.00005 * unit('funding', coin, second // FUNDING_SECONDS) - 0.00002:.10f}"


def _context(quote: Quote | None, funding: str) -> dict[str, Any]:
    if quote is None:
        return {"funding": "0.0", "openInterest": "0.0", "prevDayPx": "0.0", "dayNtlVlm": "0.0", "premium": None} | {
            "oraclePx": "0.0", "markPx": "0.0", "midPx": None, "impactPxs": None, "dayBaseVlm": "0.0"
        }  # fmt: skip
    return {
        "funding": funding,
        "openInterest": quote.base_volume,
        "prevDayPx": quote.open,
        "dayNtlVlm": quote.quote_volume,
        "premium": "0.0001",
        "oraclePx": quote.last,
        "markPx": quote.last,
        "midPx": quote.last,
        "impactPxs": [quote.bid, quote.ask],
        "dayBaseVlm": quote.base_volume,
    }


def _spot_context(coin: str, quote: Quote | None) -> dict[str, Any]:
    last = quote.last if quote else None
    return {
        "prevDayPx": quote.open if quote else "0.0",
        "dayNtlVlm": quote.quote_volume if quote else "0.0",
        "dayBaseVlm": quote.base_volume if quote else "0.0",
        "markPx": last or "0.0",
        "midPx": last,
        "circulatingSupply": "1000000.0",
        "coin": coin,
    }


def _spot_meta(view: View, listed: list[tuple[str, Market]]) -> dict[str, Any]:
    """Renders the spot markets; tokens are named by their place in the list; 0 is USDC."""
    tokens = [_token("USDC", 8, 0)]
    universe = []
    for number, (id_, market) in enumerate(listed):
        name = WRAPPED.get(market.base, market.base)
        tokens.append(_token(name, _lot_decimals(view, market, SPOT_DECIMALS), number + 1))
        universe.append({"name": id_, "tokens": [number + 1, 0], "index": number, "isCanonical": number == 0})
    return {"tokens": tokens, "universe": universe}


def _token(name: str, size_decimals: int, index: int) -> dict[str, Any]:
    token_id = f"0x{int(unit('token', name) * 2**64):032x}"
    return {"name": name, "szDecimals": size_decimals, "weiDecimals": 8, "index": index} | {
        "tokenId": token_id, "isCanonical": index < 2
    }  # fmt: skip


def _lot_decimals(view: View, market: Market, most: int) -> int:
    """Returns a lot's decimals: the venue lets price and lot together have so many."""
    return max(0, most - view.digits(market))


def _find(view: View, coin: str) -> Market:
    market = view.markets.get(coin)
    if market is None:
        raise Refused(500, None)
    return market


TYPES = {
    "metaAndAssetCtxs": perpetuals,
    "meta": perpetual_meta,
    "spotMetaAndAssetCtxs": spots,
    "spotMeta": spot_meta,
    "perpDexs": other_dexes,
    "allMids": mids,
    "l2Book": book,
    "candleSnapshot": candles,
    "recentTrades": recent_trades,
    "exchangeStatus": status,
}
VENUE = Venue(
    id="hyperliquid",
    hosts=("api.hyperliquid.xyz", "api-ui.hyperliquid.xyz"),
    streams={"api.hyperliquid.xyz": DIALECT},
    size=155,
    symbols=symbols,
    id_of=id_of,
    routes={"/info": info},
    error=error,
)
