"""Binance: streams by name, lower-case; spot under /ws/<n>, futures under /market/ws/<n> and /public/ws/<n>.

{"e":"depthUpdate","E":1795000000000,"s":"BTCUSDT","U":1795000000,"u":1795000000,"b":[["64987.0","1.2"]],"a":[["65013.0","0"]]}
{"e":"aggTrade","E":1795000000000,"s":"BTCUSDT","a":1795000000,"p":"65000.0","q":"0.01","f":1795000000,"l":1795000000,"T":1795000000000,"m":true,"M":true}
{"e":"24hrTicker","E":1795000000000,"s":"BTCUSDT","c":"65000.0","o":"64880.0","h":"65500.0","l":"64100.0","b":"64987.0","a":"65013.0","v":"12.5","q":"812500.0"}
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from sandbox.market import Market, Quote, Trade
from sandbox.streams import books
from sandbox.streams.base import Frame, Message, StreamDialect, Subscriptions, Topic
from sandbox.view import View

MOST_LEVELS = 100  # a book has no more, so that a stream's changes are all of it
EVERY_MARKET = "!"
TICKERS = frozenset({"miniTicker", "ticker", "bookTicker"})
DEPTH = frozenset({"depth", "depth@100ms", "depth@500ms"})
TRADES = frozenset({"trade", "aggTrade"})
CHANNELS = TICKERS | DEPTH | TRADES


def hear(view: View, subscriptions: Subscriptions, message: Message) -> list[Frame]:
    wanted = [_topic(str(name)) for name in message.get("params", [])]
    number = message.get("id")
    if message.get("method") not in ("SUBSCRIBE", "UNSUBSCRIBE") or not all(
        channel in CHANNELS for channel, _ in wanted
    ):
        return refuse(message)
    for topic in wanted:
        if message["method"] == "SUBSCRIBE":
            subscriptions.add(topic)
        else:
            subscriptions.drop(topic)
    return [{"result": None, "id": number}]


def refuse(message: Message) -> list[Frame]:
    return [{"error": {"code": 2, "msg": "Invalid request: unknown stream"}, "id": message.get("id")}]


def frames(view: View, subscriptions: Subscriptions, *, has_sides: bool) -> Iterator[Frame]:
    shape = partial(_frame, view, has_sides=has_sides)
    for channel, market_id in list(subscriptions.topics):
        if channel not in TICKERS:
            yield from _depth(view, subscriptions, (channel, market_id), is_future=not has_sides)
        elif market_id == EVERY_MARKET:
            yield [shape(channel, id_, quote) for id_, _, quote in view.tickers()]
        else:
            yield from (shape(channel, id_, quote) for id_, _, quote in view.tickers([market_id]))


def _topic(name: str) -> tuple[str, str]:
    """Returns channel and market of `btcusdt@ticker` or `!ticker@arr`: the second is every market's."""
    if name.startswith("!"):
        return name[1:].partition("@")[0], EVERY_MARKET
    market, _, channel = name.partition("@")
    return channel, market.upper()


def _depth(view: View, subscriptions: Subscriptions, topic: Topic, *, is_future: bool) -> Iterator[Frame]:
    channel, id_ = topic
    market = view.markets.get(id_)
    if market is None or market.is_halted:
        return
    if channel in TRADES:
        for trade in books.trades(view, subscriptions, topic, market, at_first=1):
            yield _trade(view, channel, id_, trade)
    elif update := _update(view, subscriptions, topic, market):
        yield update | ({"T": view.stamp_ms, "pu": update["U"] - 1} if is_future else {})


def _update(view: View, subscriptions: Subscriptions, topic: Topic, market: Market) -> dict[str, Any] | None:
    """Returns a change, numbered by its second as by REST. There is no beginning: the first is a change, too."""
    if topic not in subscriptions.told_at:
        books.change(view.at(view.second - 1), subscriptions, topic, market, MOST_LEVELS)
    change = books.change(view, subscriptions, topic, market, MOST_LEVELS)
    if change is None or change.before is None:
        return None
    return {
        "e": "depthUpdate", "E": view.stamp_ms, "s": topic[1], "U": change.before + 1, "u": change.second,
        "b": change.bids, "a": change.asks,
    }  # fmt: skip


def _trade(view: View, channel: str, id_: str, trade: Trade) -> dict[str, Any]:
    frame = {
        "e": channel, "E": view.stamp_ms, "s": id_, "p": trade.price, "q": trade.amount,
        "T": int(trade.at * 1000), "m": not trade.is_buy, "M": True,
    }  # fmt: skip
    if channel == "trade":
        return frame | {"t": trade.number}
    return frame | {"a": trade.number, "f": trade.number, "l": trade.number}


def _frame(view: View, channel: str, id_: str, quote: Quote, *, has_sides: bool) -> dict[str, Any]:
    if channel == "bookTicker":
        return {"u": view.second, "s": id_, "b": quote.bid, "B": "1.2", "a": quote.ask, "A": "0.8"}
    frame = {
        "e": "24hrTicker" if channel == "ticker" else "24hrMiniTicker",
        "E": view.stamp_ms, "s": id_, "c": quote.last, "o": quote.open, "h": quote.high, "l": quote.low,
        "v": quote.base_volume, "q": quote.quote_volume,
    }  # fmt: skip
    if channel == "miniTicker":
        return frame
    sides = {"b": quote.bid, "B": "1.2", "a": quote.ask, "A": "0.8"} if has_sides else {}
    return frame | sides | {"P": quote.change_percent, "C": view.stamp_ms}


def _foreign() -> Frame:
    names = {"e": "24hrTicker", "E": 1_795_000_000_000, "s": "NOBODYUSDT"}
    return names | dict.fromkeys("cohlvq", "1.0")


SPOT = StreamDialect(hear, refuse, partial(frames, has_sides=True), _foreign())
FUTURES = StreamDialect(hear, refuse, partial(frames, has_sides=False), _foreign())
