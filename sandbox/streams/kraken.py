"""Kraken v2: symbols as BTC/USD, an answer for each, numbers as numbers, no stamps on tickers, pings as text.

Books end with the checksum of their ten best levels; a level without quantity is one that went.
{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":64987.0,"qty":1.2}],"asks":[],"checksum":2114181697,"timestamp":"2026-11-20T10:00:00.000000Z"}]}
{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":65000.0,"qty":0.01,"ord_type":"market","trade_id":1795000000,"timestamp":"2026-11-20T10:00:00.000000Z"}]}
{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":64987.0,"bid_qty":1.2,"ask":65013.0,"ask_qty":0.8,"last":65000.0,"volume":100.0,"vwap":65000.0,"low":64100.0,"high":65500.0,"change":120.0,"change_pct":0.18}]}
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zlib import crc32

import orjson

from sandbox.market import Book, Market, Quote, Trade
from sandbox.streams import books
from sandbox.streams.base import Frame, Message, StreamDialect, Subscriptions, Topic
from sandbox.view import View

CHANNELS = frozenset({"ticker", "book", "trade"})
DEPTHS = (10, 25, 100, 500, 1000)
CHECKED_LEVELS = 10


def greeting(_: View) -> list[Frame]:
    state = {"version": "2.0.10", "system": "online", "api_version": "v2", "connection_id": 1}
    return [{"channel": "status", "type": "update", "data": [state]}]


def alive(_: View) -> list[Frame]:
    return [{"channel": "heartbeat"}]


def hear(view: View, subscriptions: Subscriptions, message: Message) -> list[Frame]:
    if is_ping(message):
        return [{"method": "pong", **_times()}]
    params = message.get("params")
    if not isinstance(params, dict) or message.get("method") not in ("subscribe", "unsubscribe"):
        return [{"error": "Malformed request", "success": False, **_echo(message), **_times()}]
    listed = {market.symbol for market in view.markets.values()}
    answers: list[Frame] = []
    for symbol in params.get("symbol", []):
        topic = (str(params.get("channel")), str(symbol))
        depth = params.get("depth", DEPTHS[0])
        if symbol not in listed or topic[0] not in CHANNELS or depth not in DEPTHS:
            answers += _no(message, str(symbol))
            continue
        if message["method"] == "subscribe":
            subscriptions.add(topic)
            subscriptions.depths[topic] = depth
        else:
            subscriptions.drop(topic)
        result = {"channel": topic[0], "symbol": symbol, "snapshot": True}
        answers.append({**_echo(message), "result": result, "success": True, **_times()})
    return answers


def refuse(message: Message) -> list[Frame]:
    params = message.get("params")
    symbols = params.get("symbol", []) if isinstance(params, dict) else []
    return [frame for symbol in symbols for frame in _no(message, str(symbol))]


def frames(view: View, subscriptions: Subscriptions) -> Iterator[Frame]:
    wanted = {symbol for channel, symbol in subscriptions.topics if channel == "ticker"}
    ids = [id_ for id_, market in view.markets.items() if market.symbol in wanted]
    for _, market, quote in view.tickers(ids):
        yield {"channel": "ticker", "type": "update", "data": [_row(market.symbol, quote)]}
    yield from _depth(view, subscriptions)


def is_ping(message: Message) -> bool:
    return message.get("method") == "ping"


def _depth(view: View, subscriptions: Subscriptions) -> Iterator[Frame]:
    by_symbol = {market.symbol: market for market in view.markets.values()}
    for topic in [topic for topic in subscriptions.topics if topic[0] != "ticker"]:
        market = by_symbol.get(topic[1])
        if market is None or market.is_halted:
            continue
        if topic[0] == "book":
            yield from _book(view, subscriptions, topic, market)
        else:
            told = books.trades(view, subscriptions, topic, market, at_first=1)
            if rows := [_trade(topic[1], trade) for trade in told]:
                yield {"channel": "trade", "type": "update", "data": rows}


def _book(view: View, subscriptions: Subscriptions, topic: Topic, market: Market) -> Iterator[Frame]:
    change = books.change(view, subscriptions, topic, market, subscriptions.depths[topic])
    if change is None:
        return
    row = {
        "symbol": topic[1], "bids": _levels(change.bids), "asks": _levels(change.asks),
        "checksum": checksum(change.book), "timestamp": _iso(view.stamp),
    }  # fmt: skip
    yield {"channel": "book", "type": "snapshot" if change.before is None else "update", "data": [row]}


def checksum(book: Book) -> int:
    """Returns the checksum of the digits of the best levels, asks first, without points and leading zeros."""
    best = [*book.asks[:CHECKED_LEVELS], *book.bids[:CHECKED_LEVELS]]
    digits = "".join(str(text).replace(".", "").lstrip("0") for level in best for text in level)
    return crc32(digits.encode())


def _levels(levels: books.Levels) -> list[dict[str, Any]]:
    return [{"price": _number(price), "qty": _number(amount)} for price, amount in levels]


def _trade(symbol: str, trade: Trade) -> dict[str, Any]:
    return {
        "symbol": symbol, "side": "buy" if trade.is_buy else "sell", "price": _number(trade.price),
        "qty": _number(trade.amount), "ord_type": "market", "trade_id": trade.number, "timestamp": _iso(trade.at),
    }  # fmt: skip


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _row(symbol: str, quote: Quote) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "bid": _number(quote.bid), "bid_qty": 1.2, "ask": _number(quote.ask), "ask_qty": 0.8,
        "last": _number(quote.last), "volume": _number(quote.base_volume), "vwap": _number(quote.last),
        "low": _number(quote.low), "high": _number(quote.high),
        "change": 0.0, "change_pct": _number(quote.change_percent),
    }  # fmt: skip


def _number(text: Any) -> Any:
    """Returns the digits as they stand, without quotes; what a lie put there stays what it is."""
    return orjson.Fragment(text) if isinstance(text, str) and text.replace(".", "").lstrip("-").isdigit() else text


def _no(message: Message, symbol: str) -> list[Frame]:
    error = f"Currency pair not supported {symbol}"
    return [{"error": error, **_echo(message), "success": False, "symbol": symbol, **_times()}]


def _echo(message: Message) -> dict[str, Any]:
    return {"method": message.get("method"), "req_id": message.get("req_id")}


def _times() -> dict[str, str]:
    now = _iso(datetime.now(UTC).timestamp())
    return {"time_in": now, "time_out": now}


FOREIGN: Frame = {
    "channel": "book", "type": "update",
    "data": [{"symbol": "NOBODY/USD", "bids": [{"price": 1.0, "qty": 1.0}], "asks": [], "checksum": 0}],
}  # fmt: skip
DIALECT = StreamDialect(hear, refuse, frames, FOREIGN, is_ping=is_ping, greeting=greeting, alive=alive)
