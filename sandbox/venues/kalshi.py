"""Kalshi: yes-or-no contracts on crypto prices, paid in dollars; prices and sizes are texts, books have bids only.

{"markets":[{"ticker":"KXBTCD-30DEC3117-T64999.99","event_ticker":"KXBTCD-30DEC3117","status":"active","yes_bid_dollars":"0.4000","yes_ask_dollars":"0.4200","last_price_dollars":"0.4100","volume_24h_fp":"100.00","updated_time":"2026-04-09T10:32:47.890506Z"}],"cursor":""}
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from sandbox import questions
from sandbox.assets import unit, usd_anchor
from sandbox.market import Market
from sandbox.venues.base import Ask, Refused, Venue
from sandbox.view import View, between, iso

SERIES = {"BTC": "KXBTCD", "ETH": "KXETHD", "SOL": "KXSOLD"}
EVENT = "30DEC3117"
CLOSES_AT = "2030-12-31T22:00:00Z"
LOWEST_STRIKE, STRIKE_STEP = 0.7, 0.03  # of what the asset is worth, roughly
PERIODS = {1: 60, 60: 3600, 1440: 86_400}
PAGE = 100
MOST_ROWS = 1000
UNTOUCHED_SECONDS = 200 * 86_400  # a contract's own time may be so old while its quotes are live


def error(status: int) -> dict[str, Any]:
    """Returns an error's body; the venue never adds Retry-After."""
    if status == 429:
        return {"error": "too many requests"}
    return {"error": {"code": "not_found" if status == 404 else "internal_server_error", "message": "no"}}


def symbols() -> Iterator[str]:
    for number in count():
        for asset, series in SERIES.items():
            strike = round(usd_anchor(asset) * (LOWEST_STRIKE + STRIKE_STEP * number)) - 0.01
            yield f"{asset}/USD:{series}-{EVENT}-T{strike:.2f}{questions.YES}"


def id_of(market: Market) -> str:
    return questions.without_outcome(market.settle or "")


def markets(view: View, ask: Ask) -> Any:
    """Lists markets in pages, or those named; both show prices."""
    limit = min(max(ask.whole("limit", PAGE), 1), MOST_ROWS)
    named = [ticker for ticker in ask.text("tickers").split(",") if ticker]
    rows = [
        (id_, market)
        for id_, market in view.markets.items()
        if _is_meant(id_, market, ask) and not (named and (id_ not in named or view.lies.drops(market.symbol)))
    ]
    begin = ask.whole("cursor", 0)
    shown = [_market(view, id_, market) for id_, market in rows[begin : begin + limit]]
    return {"markets": shown, "cursor": str(begin + limit) if begin + limit < len(rows) else ""}


def one_market(view: View, ask: Ask) -> Any:
    return {"market": _market(view, ask.text("ticker"), _find(view, ask))}


def order_book(view: View, ask: Ask) -> Any:
    """Renders ascending bids of both outcomes: who bids for No asks for Yes."""
    book = view.book(_find(view, ask), ask.whole("depth", 10) or 10)
    yes = [[_dollars(price), _size(size)] for price, size in reversed(book.bids)]
    no = [[_dollars(1 - float(price)), _size(size)] for price, size in reversed(book.asks)]
    return {"orderbook_fp": {"yes_dollars": yes, "no_dollars": no}}


def trades(view: View, ask: Ask) -> Any:
    limit = min(max(ask.whole("limit", PAGE), 1), MOST_ROWS)
    rows = [
        {"trade_id": f"kalshi-{trade.number}", "ticker": ask.text("ticker"), "count_fp": _size(trade.amount)}
        | {"yes_price_dollars": _dollars(trade.price), "no_price_dollars": _dollars(1 - float(trade.price))}
        | {"taker_side": "yes" if trade.is_buy else "no", "created_time": iso(trade.at)}
        for trade in view.trades(_find(view, ask), limit)
    ]
    return {"trades": rows, "cursor": ""}


def candlesticks(view: View, ask: Ask) -> Any:
    """Renders candles, stamped at their end."""
    market, period = _find(view, ask), PERIODS.get(ask.whole("period_interval", 0))
    if period is None or not ask.text("start_ts") or not ask.text("end_ts"):
        raise Refused(400, {"error": {"code": "bad_request", "message": "period_interval, start_ts, end_ts"}})
    starts = between(period, ask.whole("start_ts", 0), min(ask.whole("end_ts", 0), view.second))
    rows = [
        {"end_period_ts": bar.start + period, "open_interest_fp": "500.00", "volume_fp": _size(bar.base_volume)}
        | {"price": {f"{name}_dollars": _dollars(getattr(bar, name)) for name in ("open", "low", "high", "close")}}
        for bar in view.bars(market, period, starts=starts)
    ]
    return {"candlesticks": rows, "ticker": ask.text("ticker")}


def status(_: View, __: Ask) -> Any:
    return {"exchange_active": True, "trading_active": True}


def _is_meant(id_: str, market: Market, ask: Ask) -> bool:
    series, event = ask.text("series_ticker"), ask.text("event_ticker")
    is_open = not market.is_halted
    return (
        (not series or id_.startswith(f"{series}-"))
        and (not event or id_.startswith(f"{event}-"))
        and {"open": is_open, "closed": not is_open}.get(ask.text("status"), True)
    )


def _market(view: View, id_: str, market: Market) -> dict[str, Any]:
    quote = view.quote(market)
    strike = questions.strike(market.symbol)
    return {
        "ticker": id_,
        "event_ticker": id_.rpartition("-")[0],
        "market_type": "binary",
        "title": f"{market.base} price at the end of 2030?",
        "subtitle": f"${strike + 0.01:,.0f} or above",
        "yes_sub_title": f"${strike + 0.01:,.0f} or above",
        "no_sub_title": f"${strike + 0.01:,.0f} or above",
        "open_time": "2026-01-01T00:00:00Z",
        "close_time": CLOSES_AT,
        "expiration_time": CLOSES_AT,
        "status": "closed" if market.is_halted else "active",
        "result": "",
        "response_price_units": "usd_cent",
        "price_level_structure": "linear_cent",
        "price_ranges": [{"start": "0.0000", "end": "1.0000", "step": "0.0100"}],
        "yes_bid_dollars": _dollars(quote.bid),
        "yes_ask_dollars": _dollars(quote.ask),
        "no_bid_dollars": _complement(quote.ask),
        "no_ask_dollars": _complement(quote.bid),
        "last_price_dollars": _dollars(quote.last),
        "previous_price_dollars": _dollars(quote.open),
        "yes_bid_size_fp": "50.00",
        "yes_ask_size_fp": "30.00",
        "volume_fp": _size(quote.base_volume),
        "volume_24h_fp": _size(quote.base_volume),
        "open_interest_fp": "500.00",
        "liquidity_dollars": "0.0000",
        "updated_time": iso(view.stamp - UNTOUCHED_SECONDS * unit("touched", id_)),
    }


def _dollars(value: Any) -> Any:
    """Returns four decimals; what a lie put there goes out as it is."""
    try:
        return f"{float(value):.4f}"
    except (TypeError, ValueError):
        return value


def _complement(value: Any) -> Any:
    try:
        return _dollars(1 - float(value))
    except (TypeError, ValueError):
        return value


def _size(value: Any) -> Any:
    try:
        return f"{float(value):.2f}"
    except (TypeError, ValueError):
        return value


def _find(view: View, ask: Ask) -> Market:
    market = view.markets.get(ask.text("ticker"))
    if market is None:
        raise Refused(404, {"error": {"code": "not_found", "message": "not found"}})
    return market


V2 = "/trade-api/v2"
VENUE = Venue(
    id="kalshi",
    hosts=("external-api.kalshi.com", "api.elections.kalshi.com"),
    size=42,
    symbols=symbols,
    id_of=id_of,
    routes={
        f"{V2}/markets": markets,
        f"{V2}/markets/trades": trades,
        f"{V2}/markets/{{ticker}}": one_market,
        f"{V2}/markets/{{ticker}}/orderbook": order_book,
        f"{V2}/series/{{series}}/markets/{{ticker}}/candlesticks": candlesticks,
        f"{V2}/exchange/status": status,
    },
    error=error,
)
