"""A stream's end, as whoever listens may rely on it."""

from __future__ import annotations

import asyncio
import contextlib

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
