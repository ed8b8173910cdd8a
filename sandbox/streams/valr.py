"""VALR: a list of pairs for each event, which replaces the one before; pings as text; keyless for 15 minutes.

Each pair is confirmed or refused; books come whole, when they change.
{"type":"SUBSCRIBED","message":"NEW_TRADE:BTCZAR"}
{"type":"AGGREGATED_ORDERBOOK_UPDATE","currencyPairSymbol":"BTCZAR","data":{"Asks":[{"side":"sell","quantity":"0.99","price":"1170500","currencyPair":"BTCZAR","orderCount":1}],"Bids":[],"LastChange":"2026-11-20T10:00:00.001Z","SequenceNumber":2907775}}
{"type":"NEW_TRADE","currencyPairSymbol":"BTCZAR","data":{"price":"1170200","quantity":"0.01","currencyPair":"BTCZAR","tradedAt":"2026-11-20T10:00:00.393Z","takerSide":"buy","id":"01976898-0000-7000-8000-001795000000"}}
{"type":"MARKET_SUMMARY_UPDATE","currencyPairSymbol":"BTCZAR","data":{"currencyPairSymbol":"BTCZAR","askPrice":"1170500","bidPrice":"1170000","lastTradedPrice":"1170200","previousClosePrice":"1165000","baseVolume":"12.34","quoteVolume":"14440000","highPrice":"1180000","lowPrice":"1160000","created":"2026-11-20T10:00:00.001Z","changeFromPrevious":"0.45","markPrice":"1170100"}}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sandbox.market import Market, Quote, Trade
from sandbox.streams import books
from sandbox.streams.base import Frame, Message, StreamDialect, Subscriptions, Topic
from sandbox.view import View, iso

SUMMARY, BOOK, TRADE = "MARKET_SUMMARY_UPDATE", "AGGREGATED_ORDERBOOK_UPDATE", "NEW_TRADE"
EVENTS = (SUMMARY, BOOK, TRADE)
LEVELS = 40
KEYLESS_SECONDS = 900.0


def book_row(view: View, pair: str, market: Market) -> dict[str, Any]:
    book = view.book(market, LEVELS)
    asks, bids = (
        [
            {"side": side, "quantity": size, "price": price, "currencyPair": pair, "orderCount": 1}
            for price, size in levels
        ]
        for side, levels in (("sell", book.asks), ("buy", book.bids))
    )
    return {"Asks": asks, "Bids": bids, "LastChange": iso(view.stamp), "SequenceNumber": view.second}


def trade_row(pair: str, trade: Trade) -> dict[str, Any]:
    return {
        "price": trade.price, "quantity": trade.amount, "currencyPair": pair, "tradedAt": iso(trade.at),
        "takerSide": "buy" if trade.is_buy else "sell", "id": f"01976898-0000-7000-8000-{trade.number:012d}",
    }  # fmt: skip


def hear(view: View, subscriptions: Subscriptions, message: Message) -> list[Frame]:
    if is_ping(message):
        return [{"type": "PONG"} if subscriptions.topics else {"type": "PONG", "message": "NO_SUBSCRIPTIONS"}]
    if message.get("type") != "SUBSCRIBE":
        return [{"type": "ERROR", "message": "Invalid message"}]
    answers: list[Frame] = []
    for event, pairs in _wanted(message, list(view.markets)):
        answers += _subscribe(view, subscriptions, event, pairs)
    return answers


def _subscribe(view: View, subscriptions: Subscriptions, event: str, pairs: list[str]) -> list[Frame]:
    """Subscribes to pairs; the list replaces the event's list before, even where some of its pairs are refused."""
    answers: list[Frame] = []
    for topic in [topic for topic in subscriptions.topics if topic[0] == event and topic[1] not in pairs]:
        subscriptions.drop(topic)
        answers.append({"type": "UNSUBSCRIBED", "message": f"{event}:{topic[1]}"})
    for pair in pairs:
        if event not in EVENTS or pair not in view.markets or view.markets[pair].is_halted:
            answers.append(_no(event, pair))
            continue
        if (event, pair) not in subscriptions.topics:
            subscriptions.add((event, pair))
        answers.append({"type": "SUBSCRIBED", "message": f"{event}:{pair}"})
    return answers


def refuse(message: Message) -> list[Frame]:
    return [_no(event, pair) for event, pairs in _wanted(message, []) for pair in pairs]


def frames(view: View, subscriptions: Subscriptions) -> Iterator[Frame]:
    pairs = [pair for event, pair in subscriptions.topics if event == SUMMARY]
    for id_, _, quote in view.tickers(pairs):
        yield {"type": SUMMARY, "currencyPairSymbol": id_, "data": _summary(view, id_, quote)}
    for topic in [topic for topic in subscriptions.topics if topic[0] != SUMMARY]:
        market = view.markets.get(topic[1])
        if market is None or market.is_halted:
            continue
        for data in _news(view, subscriptions, topic, market):
            yield {"type": topic[0], "currencyPairSymbol": topic[1], "data": data}


def _news(view: View, subscriptions: Subscriptions, topic: Topic, market: Market) -> Iterator[Any]:
    """Yields a book as a whole when it has changed, and each trade since the one told last."""
    if topic[0] == BOOK:
        if books.change(view, subscriptions, topic, market, LEVELS) is not None:
            yield book_row(view, topic[1], market)
    else:
        for trade in books.trades(view, subscriptions, topic, market, at_first=0):
            yield trade_row(topic[1], trade)


def _wanted(message: Message, every_pair: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yields events and their pairs; without a list an event is wanted of every pair."""
    listed = message.get("subscriptions")
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict):
            yield str(one.get("event")), [str(pair) for pair in one.get("pairs", every_pair)]


def _no(event: str, pair: str) -> Frame:
    return {"type": "ERROR", "message": f"Channel {event}, pair {pair} combination invalid"}


def is_ping(message: Message) -> bool:
    return message.get("type") == "PING"


def _summary(view: View, id_: str, quote: Quote) -> dict[str, Any]:
    return {
        "currencyPairSymbol": id_, "askPrice": quote.ask, "bidPrice": quote.bid, "lastTradedPrice": quote.last,
        "previousClosePrice": quote.open, "baseVolume": quote.base_volume, "quoteVolume": quote.quote_volume,
        "highPrice": quote.high, "lowPrice": quote.low, "created": iso(view.stamp),
        "changeFromPrevious": quote.change_percent, "markPrice": quote.last,
    }  # fmt: skip


FOREIGN: Frame = {"type": SUMMARY, "currencyPairSymbol": "NOBODYZAR", "data": {"lastTradedPrice": "1.0"}}
DIALECT = StreamDialect(
    hear, refuse, frames, FOREIGN, is_ping=is_ping, greeting=lambda _: [{"type": "AUTHENTICATED"}],
    lifetime_seconds=KEYLESS_SECONDS,
)  # fmt: skip
