"""What a stream asks an exchange for: over one socket of a loopback server that hears everything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from feeds.base import FeedSpec
from feeds.ccxt import markets
from feeds.ccxt.stream import CcxtStream
from feeds.ccxt.subscriptions import NotStreamed, forget_learned
from feeds.streams import can_stream

SPOT = ["BTC/USDT", "ETH/USDT"]
SWAP = ["BTC/USDT:USDT", "ETH/USDT:USDT"]
SEVERAL = {"bybit", "mexc", "kucoin", "binanceus", "binancecoinm", "blofin"}


@pytest.fixture(autouse=True)
def nothing_learned() -> Iterator[None]:
    yield
    for exchange_id in SEVERAL:
        forget_learned(exchange_id)


class Exchange:
    """Hears what is sent to it. `answer` gives the frames that follow a message."""

    def __init__(self, answer: Callable[[str, Any], list[Any]] | None = None) -> None:
        self.answer = answer or (lambda path, message: [])
        self.heard: list[tuple[str, Any]] = []
        self.url = ""

    def topics(self) -> list[str]:
        return [topic for _, message in self.heard for topic in message.get("args") or message.get("params") or ()]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Exchange]:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._serve)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return self._rest(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                content = json.loads(message.data)
                self.heard.append((request.path, content))
                for frame in self.answer(request.path, content):
                    await socket.send_json(frame)
        return socket

    def _rest(self, request: web.Request) -> web.StreamResponse:
        """Kucoin's, which gives the address of its socket."""
        if "bullet" not in request.path:
            return web.json_response({}, status=404)
        server = {"endpoint": self.url.replace("http", "ws", 1), "pingInterval": 18000, "pingTimeout": 10000}
        return web.json_response({"code": "200000", "data": {"token": "T", "instanceServers": [server]}})


def market(symbol: str, **more: Any) -> dict[str, Any]:
    base, _, rest = symbol.partition("/")
    quote, _, settle = rest.partition(":")
    row: dict[str, Any] = {
        "id": f"{base}{quote}", "lowercaseId": f"{base}{quote}".lower(), "symbol": symbol, "base": base,
        "quote": quote, "baseId": base, "quoteId": quote, "settle": settle or None, "settleId": settle or None,
        "type": "swap" if settle else "spot", "active": True, "contract": bool(settle), "spot": not settle,
        "swap": bool(settle), "future": False, "option": False, "linear": settle == quote if settle else None,
        "inverse": settle != quote if settle else None, "contractSize": 1 if settle else None,
    }  # fmt: skip
    return row | more


def listening(exchange_id: str, url: str, symbols: list[str]) -> CcxtStream:
    stream = CcxtStream(FeedSpec(exchange_id, base_url=url))
    client = stream._client
    client.set_markets([client.safe_market_structure() | market(symbol) for symbol in symbols])
    client.rateLimit = 1
    return stream


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():
            await asyncio.sleep(0.01)


def test_a_client_that_begins_with_a_task_of_its_own_subscribes() -> None:
    async def live() -> list[tuple[str, Any]]:
        async with Exchange().running() as exchange:
            stream = listening("kucoin", exchange.url, SPOT)
            try:
                await stream.subscribe(SPOT)
                await until(lambda: bool(exchange.heard or stream.is_broken))
                assert stream.complaint == ""
            finally:
                await stream.close()
            return exchange.heard

    ((_, message),) = asyncio.run(live())
    assert message["type"] == "subscribe"


def test_a_client_that_has_never_dialled_asks_for_no_pause() -> None:
    async def live() -> float:
        stream = listening("mexc", "http://127.0.0.1:9", SPOT)
        await stream.subscribe(SPOT)
        await asyncio.sleep(0)
        pause = stream.dial_pause_seconds
        await stream.close()
        return pause

    assert asyncio.run(live()) == 0.0
