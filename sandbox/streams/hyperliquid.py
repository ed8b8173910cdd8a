"""Hyperliquid: all mid prices in one message, or one coin's context; pings as text.

{"channel":"allMids","data":{"mids":{"BTC":"65000.5","ETH":"3200.1","@107":"25.4"}}}
"""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.streams.base import Dialect, Frame, Message, Subscriptions
from sandbox.view import View

EVERY_COIN = "*"
TYPES = ("allMids", "activeAssetCtx")


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
        for id_, _, quote in view.tickers([coin]):
            context = {
                "funding": "0.0000125", "openInterest": quote.base_volume, "prevDayPx": quote.open,
                "dayNtlVlm": quote.quote_volume, "premium": "0.0001", "oraclePx": quote.last, "markPx": quote.last,
                "midPx": quote.last, "impactPxs": [quote.bid, quote.ask],
            }  # fmt: skip
            yield {"channel": "activeAssetCtx", "data": {"coin": id_, "ctx": context}}


def is_ping(message: Message) -> bool:
    return message.get("method") == "ping"


FOREIGN: Frame = {"channel": "activeAssetCtx", "data": {"coin": "NOBODY", "ctx": {"midPx": "1.0"}}}
DIALECT = Dialect("hyperliquid", hear, refuse, frames, FOREIGN, is_ping=is_ping)
