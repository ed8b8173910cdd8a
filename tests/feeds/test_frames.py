"""The short way through a websocket's frame gives what ccxt's own way gives."""

import asyncio
import json
from typing import Any

import pytest

from feeds.base import FeedSpec
from feeds.ccxt.stream import CcxtStream
from feeds.shared.numbers import number, seconds, side

from . import bodies

ADDRESSES = {
    "binance": "wss://stream.binance.com:9443/ws/0",
    "binanceusdm": "wss://fstream.binance.com/market/ws/0",
}
FRAME = {
    "e": "24hrTicker", "E": 1_795_000_000_123, "s": "BTCUSDT", "p": "120.0", "P": "0.185", "w": "65010.1",
    "c": "65000.0", "Q": "0.1", "o": "64880.0", "h": "65500.0", "l": "64100.0", "b": "64987.0", "B": "1.2",
    "a": "65013.0", "A": "0.8", "v": "12.5", "q": "812500.0", "O": 1_794_913_600_000, "C": 1_795_000_000_000,
}  # fmt: skip
WITHOUT_SIDES = {name: value for name, value in FRAME.items() if name not in "bBaA"}
FRAMES: dict[str, dict[str, Any]] = {
    "as documented": FRAME,
    "combined": {"stream": "btcusdt@ticker", "data": FRAME},
    "without bid and ask": WITHOUT_SIDES,
    "with numbers for texts": FRAME | {"c": 65000, "b": 64987.5, "v": 12.5},
    "with nothing in a text": FRAME | {"b": "", "a": ""},
    "with a zero for a side": FRAME | {"b": "0.00000000"},
    "with nulls": FRAME | {"h": None, "q": None},
    "without its own stamp": {name: value for name, value in FRAME.items() if name != "C"},
    "with a text for a stamp": FRAME | {"C": "1795000000000"},
}


class Told:
    """A connection's frames, read without a network."""

    def __init__(self, exchange_id: str) -> None:
        client = self.client = CcxtStream(FeedSpec(exchange_id))._client
        client.options |= {"crossMarginPairsData": [], "isolatedMarginPairsData": []}  # asked for with the markets
        rows = bodies.binance_markets(futures=exchange_id == "binanceusdm")["symbols"]
        client.set_markets([client.parse_market(row) for row in rows])
        client.wanted = frozenset(client.symbols)
        self.connection = client.client(ADDRESSES[exchange_id])
        self.ccxt_parsed = 0
        parse = client.parse_ws_ticker
        client.parse_ws_ticker = lambda *arguments: self._count(parse, *arguments)

    def _count(self, parse: Any, *arguments: Any) -> Any:
        self.ccxt_parsed += 1
        return parse(*arguments)

    def hear(self, frame: Any) -> dict[str, tuple[Any, ...]]:
        self.client.noted = {}
        self.connection.handle_text_or_binary_message(frame if isinstance(frame, str) else json.dumps(frame))
        return {symbol: _values(ticker) for symbol, (ticker, _) in self.client.noted.items()}


def _values(ticker: dict[str, Any]) -> tuple[Any, ...]:
    get = ticker.get
    return (
        *(number(get(name)) for name in ("last", "baseVolume", "quoteVolume")),
        *(side(get(name)) for name in ("bid", "ask", "high", "low")),
        seconds(get("timestamp")),
    )


def told(exchange_id: str, *frames: Any) -> tuple[list[dict[str, tuple[Any, ...]]], int]:
    """What each frame brought, and how many of them ccxt has parsed."""

    async def hear_all() -> tuple[list[dict[str, tuple[Any, ...]]], int]:
        listener = Told(exchange_id)
        return [listener.hear(frame) for frame in frames], listener.ccxt_parsed

    return asyncio.run(hear_all())


@pytest.mark.parametrize("exchange_id", ADDRESSES)
@pytest.mark.parametrize("frame", FRAMES.values(), ids=list(FRAMES))
def test_both_ways_read_the_same(exchange_id: str, frame: dict[str, Any]):
    (by_ccxt, again), _ = told(exchange_id, frame, frame)

    assert len(by_ccxt) == 1
    assert again == by_ccxt


def test_only_the_first_frame_of_a_market_is_left_to_ccxt():
    _, parsed = told("binance", FRAME, FRAME, FRAME | {"c": "65001.0"})

    assert parsed == 1


@pytest.mark.parametrize(
    "frame",
    [
        FRAME | {"s": "NOBODYUSDT"},
        {"result": None, "id": 1},
        {"e": "trade", "s": "BTCUSDT", "t": 1, "p": "1.0", "q": "24hrTicker", "T": 1_795_000_000_000, "m": True},
        [FRAME | {"s": "NOBODYUSDT"}],
    ],
    ids=["an unknown market", "an answer", "a trade", "a list"],
)
def test_what_is_no_ticker_of_a_known_market_notes_nothing(frame: Any):
    (_, noted), _ = told("binance", FRAME, frame)

    assert noted == {}


def test_a_frame_that_breaks_off_is_counted_and_the_next_one_is_read():
    async def hear() -> tuple[int, dict[str, tuple[Any, ...]]]:
        listener = Told("binance")
        listener.hear(FRAME)
        listener.hear('{"e":"24hrTicker","s":"BTCUSDT","c":')
        return listener.client.rejected_frames, listener.hear(FRAME)

    rejected, after = asyncio.run(hear())

    assert rejected == 1
    assert len(after) == 1
