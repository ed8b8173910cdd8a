"""Hyperliquid: all mid prices in one message, or one coin's context, whole books and trades; pings as text.

{"channel":"l2Book","data":{"coin":"BTC","time":1795000000000,"levels":[[{"px":"64999","sz":"1.2","n":1}],[{"px":"65001","sz":"0.8","n":1}]]}}
{"channel":"trades","data":[{"coin":"BTC","side":"A","px":"65000","sz":"0.005","time":1795000000000,"hash":"0x0","tid":1795000000}]}
{"channel":"allMids","data":{"mids":{"BTC":"65000.5","ETH":"3200.1","@107":"25.4"}}}
"""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.streams import books
from sandbox.streams.base import Frame, Message, StreamDialect, Subscriptions, Topic
from sandbox.view import View

EVERY_COIN = "*"
TYPES = ("allMids", "activeAssetCtx", "l2Book", "trades")
LEVELS = 20


def hear(view: View, subscriptions: Subscriptions, message: Message) -> list[Frame]:
    if is_ping(message):
        return [{"channel": "pong"}]
    wanted = message.get("subscription")
    if not isinstance(wanted, dict) or wanted.get("type") not in TYPES:
        return refuse(message)
    topic = (str(wanted["type"]), str(wanted.get("coin", EVERY_COIN)))
    if message.get("method") == "unsubscribe":
        subscriptions.drop(topic)
    elif topic in subscriptions.topics:
        return [{"channel": "error", "data": f"Already subscribed: {wanted}"}]
    else:
        subscriptions.add(topic)
    return [{"channel": "subscriptionResponse", "data": {"method": message.get("method"), "subscription": wanted}}]


def refuse(message: Message) -> list[Frame]:
    return [{"channel": "error", "data": f"Invalid subscription {message.get('subscription')}"}]


def frames(view: View, subscriptions: Subscriptions) -> Iterator[Frame]:
    for kind, coin in list(subscriptions.topics):
        if kind == "allMids":
            yield {"channel": "allMids", "data": {"mids": {id_: quote.last for id_, _, quote in view.tickers()}}}
            continue
        if kind in ("l2Book", "trades"):
            yield from _depth(view, subscriptions, (kind, coin))
            continue
        for id_, _, quote in view.tickers([coin]):
            context = {
                "funding": "0.0000125", "openInterest": quote.base_volume, "prevDayPx": quote.open,
                "dayNtlVlm": quote.quote_volume, "premium": "0.0001", "oraclePx": quote.last, "markPx": quote.last,
                "midPx": quote.last, "impactPxs": [quote.bid, quote.ask],
            }  # fmt: skip
            yield {"channel": "activeAssetCtx", "data": {"coin": id_, "ctx": context}}


def _depth(view: View, subscriptions: Subscriptions, topic: Topic) -> Iterator[Frame]:
    market = view.markets.get(topic[1])
    if market is None or market.is_halted:
        return
    if topic[0] == "l2Book":
        if (change := books.change(view, subscriptions, topic, market, LEVELS)) is not None:
            levels = [
                [{"px": price, "sz": size, "n": 1} for price, size in side]
                for side in (change.book.bids, change.book.asks)
            ]
            yield {"channel": "l2Book", "data": {"coin": topic[1], "time": view.stamp_ms, "levels": levels}}
        return
    rows = [
        {"coin": topic[1], "side": "B" if trade.is_buy else "A", "px": trade.price, "sz": trade.amount}
        | {"time": int(trade.at * 1000), "hash": "0x0", "tid": trade.number}
        for trade in books.trades(view, subscriptions, topic, market, at_first=books.TOLD_AT_FIRST)
    ]
    if rows:
        yield {"channel": "trades", "data": rows}


def is_ping(message: Message) -> bool:
    return message.get("method") == "ping"


FOREIGN: Frame = {"channel": "activeAssetCtx", "data": {"coin": "NOBODY", "ctx": {"midPx": "1.0"}}}
DIALECT = StreamDialect(hear, refuse, frames, FOREIGN, is_ping=is_ping)
