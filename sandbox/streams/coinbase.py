"""Coinbase Advanced Trade: tickers, books (level2, told as l2_data) and trades, a sequence number on everything.

{"channel":"l2_data","client_id":"","timestamp":"2026-11-20T10:00:00.000000Z","sequence_num":2,"events":[{"type":"update","product_id":"BTC-USD","updates":[{"side":"offer","event_time":"2026-11-20T10:00:00.000000Z","price_level":"65000.1","new_quantity":"0.8"}]}]}
{"channel":"market_trades","client_id":"","timestamp":"2026-11-20T10:00:00.000000Z","sequence_num":3,"events":[{"type":"update","trades":[{"trade_id":"1795000000","product_id":"BTC-USD","price":"65000.0","size":"0.01","side":"BUY","time":"2026-11-20T10:00:00.000000Z"}]}]}
{"channel":"ticker_batch","client_id":"","timestamp":"2026-11-20T10:00:00.000000Z","sequence_num":1,"events":[{"type":"update","tickers":[{"type":"ticker","product_id":"BTC-USD","price":"65000.00","best_bid":"64999.9","best_ask":"65000.1"}]}]}
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sandbox.market import Market, Quote
from sandbox.streams import books
from sandbox.streams.base import Frame, Message, StreamDialect, Subscriptions, Topic
from sandbox.view import View

TICKERS = ("ticker", "ticker_batch", "heartbeats")
CHANNELS = (*TICKERS, "level2", "market_trades")
LEVELS = 50


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
        market = view.markets.get(product)
        if channel == "level2" and market is not None:
            yield from _book(view, subscriptions, (channel, product), market)
        elif channel == "market_trades" and market is not None:
            yield from _trades(view, subscriptions, (channel, product), market)
        if channel not in TICKERS:
            continue
        for id_, _, quote in view.tickers([product]):
            yield _envelope(view, subscriptions, channel, [{"type": "update", "tickers": [_row(id_, quote)]}])


def _book(view: View, subscriptions: Subscriptions, topic: Topic, market: Market) -> Iterator[Frame]:
    change = books.change(view, subscriptions, topic, market, LEVELS)
    if change is None:
        return
    updates = [
        {"side": side, "event_time": _iso(view.stamp), "price_level": price, "new_quantity": amount}
        for side, levels in (("bid", change.bids), ("offer", change.asks))
        for price, amount in levels
    ]
    kind = "snapshot" if change.before is None else "update"
    yield _envelope(
        view, subscriptions, "l2_data", [{"type": kind, "product_id": topic[1], "updates": updates}]
    )  # fmt: skip


def _trades(view: View, subscriptions: Subscriptions, topic: Topic, market: Market) -> Iterator[Frame]:
    """Yields trades, the newest first; some of before at the beginning."""
    kind = "update" if topic in subscriptions.told_at else "snapshot"
    rows = [
        {"trade_id": str(trade.number), "product_id": topic[1], "price": trade.price, "size": trade.amount}
        | {"side": "BUY" if trade.is_buy else "SELL", "time": _iso(trade.at)}
        for trade in books.trades(view, subscriptions, topic, market, at_first=books.TOLD_AT_FIRST)
    ]
    if rows:
        yield _envelope(view, subscriptions, "market_trades", [{"type": kind, "trades": rows[::-1]}])


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _envelope(view: View, subscriptions: Subscriptions, channel: str, events: list[Any]) -> Frame:
    numbers = {"client_id": "", "timestamp": _iso(view.stamp), "sequence_num": subscriptions.next_number()}
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
DIALECT = StreamDialect(hear, refuse, frames, FOREIGN)
