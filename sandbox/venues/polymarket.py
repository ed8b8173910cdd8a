"""Polymarket's prediction markets: a catalogue (gamma), a book for each outcome's token (clob), trades (data).

[{"market":"0x…","asset_id":"1111…","timestamp":"1795000000000","hash":"ab12","bids":[{"price":"0.39","size":"100"},{"price":"0.40","size":"50"}],"asks":[{"price":"0.43","size":"70"},{"price":"0.42","size":"30"}],"min_order_size":"5","tick_size":"0.01","neg_risk":false,"last_trade_price":"0.41"}]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import count
from typing import Any

import orjson

from sandbox import questions
from sandbox.assets import usd_anchor
from sandbox.market import Market, from_symbol
from sandbox.venues.base import LIST, Ask, Refused, Venue
from sandbox.view import View

NAMES = {"BTC": "bitcoin", "ETH": "ethereum", "SOL": "solana"}
WHEN = "on-december-31-2030"
ENDS_AT = "2030-12-31T12:00:00Z"
LOWEST_STRIKE, STRIKE_STEP = 0.7, 0.06  # of what the asset is worth, roughly
EVENTS_A_PAGE = 100  # whatever is asked for
MARKETS_AN_EVENT = 4
TOKENS_A_CALL = 500
LEVELS = 8
TICK_SECONDS = 60  # between two prices of a history
NO_BOOK = {"error": "No orderbook exists for the requested token id"}


def error(status: int) -> dict[str, Any]:
    return {"error": "Too many requests" if status == 429 else "Something went wrong"}


def symbols() -> Iterator[str]:
    """Yields both outcomes of each question."""
    for number in count():
        for asset, name in NAMES.items():
            strike = round(usd_anchor(asset) * (LOWEST_STRIKE + STRIKE_STEP * number))
            question = f"{asset}/USDC:will-{name}-be-above-{strike}-{WHEN}"
            yield question + questions.YES
            yield question + questions.NO


def id_of(market: Market) -> str:
    """Returns a token's id: 77 digits."""
    digest = int.from_bytes(blake2b(market.symbol.encode(), digest_size=32).digest(), "big")
    return str(10**76 + digest % (9 * 10**76))


def events(view: View, ask: Ask) -> Any:
    """Lists events by tag, a page of at most 100."""
    found = _events(view, ask.text("tag_slug"), is_closed=ask.text("closed").lower() == "true")
    begin = ask.whole("offset", 0)
    return found[begin : begin + min(ask.whole("limit", EVENTS_A_PAGE), EVENTS_A_PAGE)]


def markets(view: View, ask: Ask) -> Any:
    wanted = set(ask.texts("clob_token_ids"))
    slugs = ask.texts("slug")
    return [
        _market(view, yes)
        for yes in _questions(view.markets.values())
        if not wanted.isdisjoint(_tokens(yes)) or _slug(yes) in slugs
    ]


def gamma_status(_: View, __: Ask) -> Any:
    return "OK"


def server_time(view: View, _: Ask) -> Any:
    return int(view.clock)


def book(view: View, ask: Ask) -> Any:
    found = _books(view, [ask.text("token_id")])
    if not found:
        raise Refused(404, NO_BOOK)
    return found[0]


def books(view: View, ask: Ask) -> Any:
    return _books(view, _named(ask))


def midpoint(view: View, ask: Ask) -> Any:
    found = _mids(view, [ask.text("token_id")])
    if not found:
        raise Refused(404, NO_BOOK)
    return {"mid": next(iter(found.values()))}


def midpoints(view: View, ask: Ask) -> Any:
    return _mids(view, _named(ask))


def last_trade(view: View, ask: Ask) -> Any:
    found = _last_trades(view, [ask.text("token_id")])
    return {key: found[0][key] for key in ("price", "side")} if found else {"price": "0", "side": ""}


def last_trades(view: View, ask: Ask) -> Any:
    return _last_trades(view, _named(ask))


def history(view: View, ask: Ask) -> Any:
    market = _find(view, ask.text("market"))
    first, last = ask.whole("startTs", view.second - 86_400), min(ask.whole("endTs", view.second), view.second)
    wanted = range(-(-first // TICK_SECONDS) * TICK_SECONDS, last + 1, TICK_SECONDS)
    bars = view.bars(market, TICK_SECONDS, starts=wanted)
    return {"history": [{"t": bar.start, "p": float(bar.open)} for bar in bars]}


def trades(view: View, ask: Ask) -> Any:
    """Lists trades of both outcomes, newest first."""
    limit, rows = min(max(ask.whole("limit", 100), 1), 500), []
    for yes in _questions(view.markets.values()):
        if _condition(yes) == ask.text("market"):
            for trade in view.trades(yes, limit):
                rows.append(
                    {"side": "BUY" if trade.is_buy else "SELL", "asset": id_of(yes), "conditionId": _condition(yes)}
                    | {"size": float(trade.amount), "price": float(trade.price), "timestamp": int(trade.at)}
                    | {"outcome": "Yes", "transactionHash": f"0x{trade.number:064x}"}
                )
    return rows


def open_interest(_: View, ask: Ask) -> Any:
    return [{"market": ask.text("market"), "value": 1234.5}]


def _events(view: View, tag: str, *, is_closed: bool) -> list[dict[str, Any]]:
    found = []
    for asset, name in NAMES.items():
        listed = [yes for yes in _questions(view.markets.values()) if yes.base == asset and yes.is_halted is is_closed]
        for begin in range(0, len(listed), MARKETS_AN_EVENT):
            if tag in ("", "crypto", name):
                found.append(_event(view, name, begin, listed[begin : begin + MARKETS_AN_EVENT]))
    return found


def _event(view: View, name: str, number: int, listed: list[Market]) -> dict[str, Any]:
    rows = [_market(view, yes) for yes in listed]
    return {
        "id": str(1000 + number + 100 * list(NAMES.values()).index(name)),
        "slug": f"{name}-above-{WHEN}-{number}",
        "title": f"{name.capitalize()} above ___ {WHEN.replace('-', ' ')}?",
        "active": True,
        "closed": False,
        "endDate": ENDS_AT,
        "volume": 99999.0,
        "liquidity": 5000.0,
        "tags": [{"id": "21", "label": "Crypto", "slug": "crypto"}, {"id": "1", "label": name, "slug": name}],
        "markets": rows,
    }


def _market(view: View, yes: Market) -> dict[str, Any]:
    """Renders a market whose lists are JSON inside texts."""
    quote = view.quote(yes)
    prices = [str(quote.last), f"{1 - float(quote.last):.2f}"] if _is_number(quote.last) else ["0", "0"]
    return {
        "id": str(500 + int(_condition(yes)[2:10], 16)),
        "question": _slug(yes).replace("-", " ").capitalize() + "?",
        "conditionId": _condition(yes),
        "slug": _slug(yes),
        "endDate": ENDS_AT,
        "outcomes": _text(["Yes", "No"]),
        "outcomePrices": _text(prices),
        "clobTokenIds": _text(_tokens(yes)),
        "active": True,
        "closed": yes.is_halted,
        "orderPriceMinTickSize": 0.01,
        "orderMinSize": 5,
        "volume24hr": float(quote.quote_volume) if _is_number(quote.quote_volume) else 0.0,
        "negRisk": False,
        "enableOrderBook": True,
    }


def _books(view: View, tokens: Iterable[str]) -> list[dict[str, Any]]:
    """Renders books; the best bid and the best ask come last."""
    found = []
    for id_, market, quote in view.tickers(tokens):
        sides = view.book(market, LEVELS)
        bids, asks = ([{"price": price, "size": _size(size)} for price, size in reversed(side)] for side in sides)
        found.append(
            {"market": _condition(market), "asset_id": id_, "timestamp": str(view.stamp_ms), "hash": "ab12"}
            | {"bids": bids, "asks": [level for level in asks if _is_below_one(level["price"])]}
            | {"min_order_size": "5", "tick_size": "0.01", "neg_risk": False, "last_trade_price": quote.last}
        )
    return found


def _mids(view: View, tokens: Iterable[str]) -> dict[str, str]:
    return {
        id_: f"{(float(quote.bid) + float(quote.ask)) / 2:.3f}"
        for id_, _, quote in view.tickers(tokens)
        if _is_number(quote.bid) and _is_number(quote.ask)
    }


def _last_trades(view: View, tokens: Iterable[str]) -> list[dict[str, Any]]:
    return [{"token_id": id_, "price": quote.last, "side": "BUY"} for id_, _, quote in view.tickers(tokens)]


def _named(ask: Ask) -> list[str]:
    given = ask.values.get(LIST, [])
    if len(given) > TOKENS_A_CALL:
        raise Refused(400, {"error": "Payload exceeds the limit"})
    return [str(row["token_id"]) for row in given if isinstance(row, dict) and "token_id" in row]


def _questions(listed: Iterable[Market]) -> Iterator[Market]:
    return (market for market in listed if market.symbol.endswith(questions.YES))


def _slug(market: Market) -> str:
    return questions.without_outcome(market.settle or "")


def _tokens(yes: Market) -> list[str]:
    other = from_symbol(questions.without_outcome(yes.symbol) + questions.NO)
    return [id_of(yes), id_of(other)]


def _condition(market: Market) -> str:
    return "0x" + blake2b(_slug(market).encode(), digest_size=32).hexdigest()


def _find(view: View, token: str) -> Market:
    market = view.markets.get(token)
    if market is None:
        raise Refused(404, NO_BOOK)
    return market


def _text(values: list[str]) -> str:
    return orjson.dumps(values).decode()


def _size(value: str) -> str:
    return f"{float(value):.2f}"


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _is_below_one(price: Any) -> bool:
    return not _is_number(price) or float(price) < 1


VENUE = Venue(
    id="polymarket",
    hosts=("gamma-api.polymarket.com", "clob.polymarket.com", "data-api.polymarket.com"),
    size=60,
    symbols=symbols,
    id_of=id_of,
    routes={
        "/events": events,
        "/markets": markets,
        "/status": gamma_status,
        "/time": server_time,
        "/book": book,
        "/books": books,
        "/midpoint": midpoint,
        "/midpoints": midpoints,
        "/last-trade-price": last_trade,
        "/last-trades-prices": last_trades,
        "/prices-history": history,
        "/trades": trades,
        "/oi": open_interest,
    },
    error=error,
)
