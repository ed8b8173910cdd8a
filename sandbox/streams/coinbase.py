"""Coinbase Advanced Trade: channels ticker and ticker_batch, a sequence number on everything.

{"channel":"ticker_batch","client_id":"","timestamp":"2026-11-20T10:00:00.000000Z","sequence_num":1,"events":[{"type":"update","tickers":[{"type":"ticker","product_id":"BTC-USD","price":"65000.00","best_bid":"64999.9","best_ask":"65000.1"}]}]}
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sandbox.market import Quote
from sandbox.streams.base import Dialect, Frame, Message, Subscriptions
from sandbox.view import View

CHANNELS = ("ticker", "ticker_batch", "heartbeats")


def hear(view: View, subscriptions: Subscriptions, message: Message) -> list[Frame]:
    channel, verb = str(message.get("channel")), message.get("type")
    if channel not in CHANNELS or verb not in ("subscribe", "unsubscribe"):
        return refuse(message)
    for product in message.get("product_ids", []):
        if verb == "subscribe":
            subscriptions.add((channel, str(product)))
        else:
            subscriptions.drop((channel, str(product)))
    now: dict[str, list[str]] = {}
    for name, product in subscriptions.topics:
        now.setdefault(name, []).append(product)
    return [_envelope(view, subscriptions, "subscriptions", [{"subscriptions": now}])]


def refuse(message: Message) -> list[Frame]:
    return [{"type": "error", "message": f"channel {message.get('channel')} is not available for these products"}]


def frames(view: View, subscriptions: Subscriptions) -> Iterator[Frame]:
    for channel, product in list(subscriptions.topics):
        for id_, _, quote in view.tickers([product]):
            yield _envelope(view, subscriptions, channel, [{"type": "update", "tickers": [_row(id_, quote)]}])


def _envelope(view: View, subscriptions: Subscriptions, channel: str, events: list[Any]) -> Frame:
    moment = datetime.fromtimestamp(view.stamp, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    numbers = {"client_id": "", "timestamp": moment, "sequence_num": subscriptions.next_number()}
    return {"channel": channel, **numbers, "events": events}


def _row(product: str, quote: Quote) -> dict[str, Any]:
    return {
        "type": "ticker", "product_id": product, "price": quote.last, "volume_24_h": quote.base_volume,
        "low_24_h": quote.low, "high_24_h": quote.high, "low_52_w": quote.low, "high_52_w": quote.high,
        "price_percent_chg_24_h": quote.change_percent,
        "best_bid": quote.bid, "best_bid_quantity": "1.2", "best_ask": quote.ask, "best_ask_quantity": "0.8",
    }  # fmt: skip


FOREIGN: Frame = {
    "channel": "ticker_batch", "client_id": "", "timestamp": "2026-11-20T10:00:00.000000Z", "sequence_num": 0,
    "events": [{"type": "update", "tickers": [{"type": "ticker", "product_id": "NOBODY-USD", "price": "1.0"}]}],
}  # fmt: skip
DIALECT = Dialect("coinbase", hear, refuse, frames, FOREIGN)
