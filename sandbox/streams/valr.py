"""VALR: a list of pairs for each event, which replaces the one before; pings as text; keyless for 15 minutes.

{"type":"MARKET_SUMMARY_UPDATE","currencyPairSymbol":"BTCZAR","data":{"currencyPairSymbol":"BTCZAR","askPrice":"1170500","bidPrice":"1170000","lastTradedPrice":"1170200","previousClosePrice":"1165000","baseVolume":"12.34","quoteVolume":"14440000","highPrice":"1180000","lowPrice":"1160000","created":"2026-11-20T10:00:00.001Z","changeFromPrevious":"0.45","markPrice":"1170100"}}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sandbox.market import Quote
from sandbox.streams.base import Dialect, Frame, Message, Subscriptions
from sandbox.venues.valr import iso
from sandbox.view import View

EVENT = "MARKET_SUMMARY_UPDATE"
KEYLESS_SECONDS = 900.0


def hear(view: View, subscriptions: Subscriptions, message: Message) -> list[Frame]:
    if is_ping(message):
        return [{"type": "PONG"}]
    wanted = message.get("subscriptions")
    if message.get("type") != "SUBSCRIBE" or not isinstance(wanted, list):
        return refuse(message)
    if not all(isinstance(one, dict) and one.get("event") == EVENT for one in wanted):
        return refuse(message)
    for one in wanted:
        pairs = one.get("pairs", list(view.markets))
        subscriptions.topics = {(EVENT, str(pair)): None for pair in pairs}
    return [{"type": "SUBSCRIBED"}]


def refuse(_: Message) -> list[Frame]:
    return [{"type": "INVALID_MESSAGE", "message": "Invalid subscription"}]


def frames(view: View, subscriptions: Subscriptions) -> Iterator[Frame]:
    pairs = [pair for _, pair in subscriptions.topics]
    for id_, _, quote in view.tickers(pairs):
        yield {"type": EVENT, "currencyPairSymbol": id_, "data": _summary(view, id_, quote)}


def is_ping(message: Message) -> bool:
    return message.get("type") == "PING"


def _summary(view: View, id_: str, quote: Quote) -> dict[str, Any]:
    return {
        "currencyPairSymbol": id_, "askPrice": quote.ask, "bidPrice": quote.bid, "lastTradedPrice": quote.last,
        "previousClosePrice": quote.open, "baseVolume": quote.base_volume, "quoteVolume": quote.quote_volume,
        "highPrice": quote.high, "lowPrice": quote.low, "created": iso(view.stamp),
        "changeFromPrevious": quote.change_percent, "markPrice": quote.last,
    }  # fmt: skip


FOREIGN: Frame = {"type": EVENT, "currencyPairSymbol": "NOBODYZAR", "data": {"lastTradedPrice": "1.0"}}
DIALECT = Dialect(
    "valr", hear, refuse, frames, FOREIGN, is_ping=is_ping, greeting=lambda _: [{"type": "AUTHENTICATED"}],
    lifetime_seconds=KEYLESS_SECONDS,
)  # fmt: skip
