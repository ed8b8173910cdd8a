"""A stream's end, as whoever listens may rely on it."""

from __future__ import annotations

import asyncio
import contextlib
import json

from feeds.base import FeedSpec
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
