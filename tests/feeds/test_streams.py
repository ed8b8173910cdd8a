"""A stream's end, as whoever listens may rely on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from feeds.base import FeedSpec
from feeds.ccxt import markets
from feeds.ccxt.stream import CcxtStream


class SlowToClose:
    """A connection whose venue does not answer the closing frame."""

    error: Exception | None = None

    def __init__(self) -> None:
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_closing = asyncio.Event()

    async def close(self) -> None:
        self.is_closing.set()
        await asyncio.sleep(60)


def test_who_is_stopped_while_a_connection_closes_does_not_go_on() -> None:
    async def stop_while_closing() -> asyncio.Task[None]:
        stream = CcxtStream(FeedSpec("kraken"))
        connection = SlowToClose()
        stream._client.clients = {"wss://ws.kraken.com/v2": connection}
        closing = asyncio.create_task(stream.close())
        await connection.is_closing.wait()
        closing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await closing
        return closing

    assert asyncio.run(stop_while_closing()).cancelled()


def test_a_streamed_trade_has_its_own_time_and_not_its_message_s() -> None:
    frame = {
        "type": "trade", "code": "KRW-BTC", "timestamp": 1_795_000_002_300, "trade_timestamp": 1_795_000_001_000,
        "trade_price": 150_000_000.0, "trade_volume": 0.01, "ask_bid": "BID", "sequential_id": 17950000010000000,
    }  # fmt: skip

    async def hear() -> list[float | None]:
        stream = CcxtStream(FeedSpec("upbit"))
        client = stream._client
        row = {"id": "KRW-BTC", "symbol": "BTC/KRW", "base": "BTC", "quote": "KRW", "type": "spot", "spot": True}
        client.set_markets([client.safe_market_structure() | row])
        stream.depth.want([], ["BTC/KRW"])
        client.client("wss://api.upbit.com/websocket/v1").handle_text_or_binary_message(json.dumps(frame))
        return [trade.traded_at for trade in stream.depth.take_trades()["BTC/KRW"].page.trades]

    assert asyncio.run(hear()) == [1_795_000_001.0]


def ticker_frame(client: Any, market_id: str, last: str) -> None:
    row = {"instType": "SPOT", "instId": market_id, "last": last, "ts": "1795000000000"}
    frame = {"arg": {"channel": "tickers", "instId": market_id}, "data": [row]}
    client.client("wss://ws.okx.com:8443/ws/v5/public").handle_text_or_binary_message(json.dumps(frame))


def packed_list(names: dict[str, str]) -> bytes:
    """A market list as the exchange's feed packs it; `names` by id."""
    return markets.pack_rows(
        [
            {"id": id_, "symbol": symbol, "base": symbol.partition("/")[0], "quote": "USDT", "type": "spot",
             "spot": True, "active": True, "baseId": "x", "quoteId": "USDT"}
            for id_, symbol in names.items()
        ]
    )  # fmt: skip


def test_what_came_by_a_name_that_is_another_market_s_now_is_not_handed_on() -> None:
    """The market that was called A is called C, and A is a market that has just been listed."""

    async def hear() -> tuple[dict[str, float | None], dict[str, float | None]]:
        stream = CcxtStream(FeedSpec("okx"))
        client = stream._client
        stream.install_markets(packed_list({"one": "A/USDT", "two": "B/USDT"}))
        client.wanted = frozenset({"A/USDT", "B/USDT", "C/USDT"})
        ticker_frame(client, "one", "1")
        ticker_frame(client, "two", "2")
        stream.install_markets(packed_list({"one": "C/USDT", "two": "B/USDT", "three": "A/USDT"}))
        kept = {quote.symbol: quote.last for quote in stream.drain()}
        ticker_frame(client, "one", "11")
        ticker_frame(client, "three", "3")
        return kept, {quote.symbol: quote.last for quote in stream.drain()}

    kept, then = asyncio.run(hear())

    assert kept == {"B/USDT": 2.0}
    assert then == {"C/USDT": 11.0, "A/USDT": 3.0}
