"""VALR: South African money, amounts and prices as texts, stamps as ISO 8601, lists newest first.

[{"currencyPair":"BTCZAR","askPrice":"1170500","bidPrice":"1170000","lastTradedPrice":"1170200","previousClosePrice":"1165000","baseVolume":"12.34","quoteVolume":"14440000","highPrice":"1180000","lowPrice":"1160000","created":"2026-11-20T10:00:00.001Z","changeFromPrevious":"0.45","markPrice":"1170100"}]
"""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from math import ceil, floor
from typing import Any

from sandbox.market import Market, PriceBar, Quote, spot
from sandbox.streams.valr import DIALECT, book_row, trade_row
from sandbox.venues.base import Ask, Refused, Venue
from sandbox.view import View, between, iso, newest

COINS = ("BTC", "ETH", "XRP", "SOL", "BNB", "AVAX", "LINK", "LTC", "SHIB", "DOGE", "ADA", "TRX")
PERIODS = frozenset({60, 300, 900, 1800, 3600, 21_600, 86_400})
MOST_BARS = 300
MOST_TRADES = 100


def error(status: int) -> dict[str, Any]:
    return {"code": -429 if status == 429 else -1, "message": "Too many requests" if status == 429 else "Error"}


def pairs(view: View, _: Ask) -> Any:
    return [_pair(view, id_, market) for id_, market in view.markets.items()]


def summaries(view: View, _: Ask) -> Any:
    return [_summary(view, id_, quote) for id_, _, quote in view.tickers()]


def summary(view: View, ask: Ask) -> Any:
    _find(view, ask)
    rows = [_summary(view, id_, quote) for id_, _, quote in view.tickers([ask.text("pair")])]
    if not rows:
        raise Refused(400, {"code": -21, "message": "Unsupported Currency Pair"})
    return rows[0]


def order_book(view: View, ask: Ask) -> Any:
    return book_row(view, ask.text("pair"), _find(view, ask))


def trades(view: View, ask: Ask) -> Any:
    pair, market = ask.text("pair"), _find(view, ask)
    wanted = min(max(ask.whole("limit", MOST_TRADES), 1), MOST_TRADES)
    skipped = max(ask.whole("skip", 0), 0)
    shift = int(view.stamp) - view.second
    first, last = ceil(_moment(ask, "startTime", 0.0)) - shift, floor(_moment(ask, "endTime", view.stamp)) - shift
    inside = view.trades(market, max(0, min(last, view.second) - first + 1), first=first, last=last)
    return [
        trade_row(pair, trade) | {"sequenceId": trade.number}
        | {"quoteVolume": f"{float(trade.price) * float(trade.amount):.8f}"}
        for trade in islice(inside, skipped, skipped + wanted)
    ]  # fmt: skip


def buckets(view: View, ask: Ask) -> Any:
    pair, market, period = ask.text("pair"), _find(view, ask), ask.whole("periodSeconds", 60)
    if period not in PERIODS:
        raise Refused(400, {"code": -1, "message": "Invalid periodSeconds"})
    limit = min(max(ask.whole("limit", MOST_BARS), 1), MOST_BARS)
    last = min(ask.whole("endTime", view.second), view.second)
    first = ask.whole("startTime", -1)
    starts = between(period, first, last) if first >= 0 else newest(period, last=last, count=limit)
    return [_bucket(pair, period, bar) for bar in view.bars(market, period, starts=reversed(starts[-limit:]))]


def currencies(view: View, _: Ask) -> Any:
    names = sorted({name for market in view.markets.values() for name in (market.base, market.quote)})
    return [
        {"symbol": name, "isActive": True, "shortName": name, "longName": name, "decimalPlaces": "8"} for name in names
    ]


def server_time(view: View, _: Ask) -> Any:
    return {"epochTime": int(view.clock), "time": iso(view.clock)}


def status(_: View, __: Ask) -> Any:
    return {"status": "online"}


def _pair(view: View, id_: str, market: Market) -> dict[str, Any]:
    digits = view.digits(market)
    return {
        "symbol": id_,
        "baseCurrency": market.base,
        "quoteCurrency": market.quote,
        "shortName": f"{market.base}/{market.quote}",
        "active": not market.is_halted,
        "minBaseAmount": f"{10.0**-market.amount_decimals:.{market.amount_decimals}f}",
        "maxBaseAmount": "100000",
        "minQuoteAmount": "10",
        "maxQuoteAmount": "5000000",
        "tickSize": f"{10.0**-digits:.{digits}f}",
        "baseDecimalPlaces": str(market.amount_decimals),
        "marginTradingAllowed": False,
        "currencyPairType": "SPOT",
    }


def _summary(view: View, id_: str, quote: Quote) -> dict[str, Any]:
    return {
        "currencyPair": id_,
        "askPrice": quote.ask,
        "bidPrice": quote.bid,
        "lastTradedPrice": quote.last,
        "previousClosePrice": quote.open,
        "baseVolume": quote.base_volume,
        "quoteVolume": quote.quote_volume,
        "highPrice": quote.high,
        "lowPrice": quote.low,
        "created": iso(view.stamp),
        "changeFromPrevious": quote.change_percent,
        "markPrice": quote.last,
    }


def _bucket(pair: str, period: int, bar: PriceBar) -> dict[str, Any]:
    return {
        "currencyPairSymbol": pair,
        "bucketPeriodInSeconds": period,
        "startTime": iso(bar.start).replace(".000", ""),
        "open": bar.open,
        "high": bar.high,
        "low": bar.low,
        "close": bar.close,
        "volume": bar.base_volume,
        "quoteVolume": bar.quote_volume,
    }


def _moment(ask: Ask, name: str, default: float) -> float:
    try:
        return datetime.fromisoformat(ask.text(name)).timestamp()
    except ValueError:
        return default


def _find(view: View, ask: Ask) -> Market:
    market = view.markets.get(ask.text("pair"))
    if market is None:
        raise Refused(400, {"code": -21, "message": "Unsupported Currency Pair"})
    return market


PUBLIC = "/v1/public"
VENUE = Venue(
    id="valr",
    hosts=("api.valr.com",),
    streams={"api.valr.com": DIALECT},
    size=36,
    symbols=lambda: spot(["ZAR", "USDT", "USDC"], coins=COINS),
    id_of=lambda market: market.base + market.quote,
    routes={
        f"{PUBLIC}/pairs": pairs,
        f"{PUBLIC}/pairs/SPOT": pairs,
        f"{PUBLIC}/marketsummary": summaries,
        f"{PUBLIC}/{{pair}}/marketsummary": summary,
        f"{PUBLIC}/{{pair}}/orderbook": order_book,
        f"{PUBLIC}/{{pair}}/orderbook/full": order_book,
        f"{PUBLIC}/{{pair}}/trades": trades,
        f"{PUBLIC}/{{pair}}/buckets": buckets,
        f"{PUBLIC}/currencies": currencies,
        f"{PUBLIC}/time": server_time,
        f"{PUBLIC}/status": status,
    },
    error=error,
)
