"""`python -m benchmarks.streaming_server <port> <markets>`: pushes recorded tickers as fast as they are read.

Binance's, from the sandbox: its market list over REST, and websockets at both of its addresses (`/ws/<n>` with
SUBSCRIBE, `/stream?streams=`). Until the start it says a little, so that a listener can prove that it listens. Frames
are made before the start, so that sending costs next to nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from sandbox.exchange import Exchange
from sandbox.server import Sandbox
from sandbox.streams import binance
from sandbox.streams.base import Subscriptions
from sandbox.target import Target
from sandbox.venues import VENUES

STREAM = re.compile(r"([a-z0-9]+)@(?:ticker|bookTicker)")
TRICKLE_SECONDS = 0.5
WAITING_BYTES = 256 * 1024  # as much as may wait for the listener; the kernel holds as much again
WAIT_SECONDS = 0.001
CHUNK = 100
PORTION_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Order:
    """What is told: `bookTicker` or `ticker` frames, wrapped (a combined stream) or bare, so many of each market, one
    in so many seconds; 0: as fast as they are read. Before the start, one market of `trickle_share` is told of."""

    channel: str
    is_wrapped: bool
    rounds: int
    seconds: float = 0.0
    trickle_share: int = 20


@dataclass(eq=False)
class Line:
    """One connection, and the markets it asked for."""

    transport: asyncio.Transport
    market_ids: dict[str, None] = field(default_factory=dict)

    async def pour(self, frames: list[bytes], *, per_second: float) -> None:
        """Evenly, in small portions; without a rate in large ones."""
        chunk = max(1, round(per_second * PORTION_SECONDS)) if per_second else CHUNK
        began = time.monotonic()
        for start in range(0, len(frames), chunk):
            while self.transport.get_write_buffer_size() > WAITING_BYTES:
                await asyncio.sleep(WAIT_SECONDS)
            if per_second:
                await asyncio.sleep(began + start / per_second - time.monotonic())
            self.transport.write(b"".join(frames[start : start + chunk]))
        while self.transport.get_write_buffer_size():
            await asyncio.sleep(WAIT_SECONDS)


class LocalExchange(Sandbox):
    def __init__(self, markets: int) -> None:
        super().__init__(size=markets)
        self._exchange: Exchange = self.exchanges.get(VENUES["binance"], None)
        self._began_at = time.time()
        self._order = Order("bookTicker", True, 1)
        self._recorded: dict[str, list[bytes]] = {}
        self._lines: set[Line] = set()
        self._pouring: asyncio.Task[None] | None = None
        self._sent = 0

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_post("/_bench/record", self.record)
        application.router.add_post("/_bench/start", self.start)
        application.router.add_get("/_bench", self.report)
        application.router.add_route("*", "/{target:.*}", self.answer)
        return application

    async def record(self, request: web.Request) -> web.Response:
        self._order = Order(**orjson.loads(await request.read()))
        topics = dict.fromkeys((self._order.channel, id_) for id_ in self._exchange.markets)
        recorded: dict[str, list[bytes]] = {}
        for second in range(self._order.rounds):
            view = self._exchange.view(self._began_at + second, ())
            for frame in binance.SPOT.frames(view, Subscriptions(topics)):
                assert isinstance(frame, dict)
                recorded.setdefault(frame["s"], []).append(_encode(frame, self._order))
        self._recorded, self._pouring = recorded, None
        return web.json_response({"markets": len(recorded)})

    async def start(self, _: web.Request) -> web.Response:
        self._sent = 0
        self._pouring = asyncio.create_task(self._pour())
        return web.json_response({})

    async def report(self, _: web.Request) -> web.Response:
        asked = sum(len(self._known(line)) for line in self._lines)
        is_done = self._pouring is not None and self._pouring.done()
        return web.json_response({"asked": asked, "lines": len(self._lines), "sent": self._sent, "is_done": is_done})

    async def stream(self, request: web.Request, target: Target) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        assert isinstance(request.transport, asyncio.Transport)
        line = Line(request.transport)
        self._lines.add(line)
        trickle = asyncio.create_task(self._trickle(line))
        _ask(line, target.query)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    said = orjson.loads(message.data)
                    _ask(line, " ".join(said.get("params", [])))
                    await socket.send_str(orjson.dumps({"result": None, "id": said.get("id")}).decode())
        finally:
            self._lines.discard(line)
            trickle.cancel()
        return socket

    async def _trickle(self, line: Line) -> None:
        """Every market once, then some of them, until the start."""
        told: set[str] = set()
        while True:
            await asyncio.sleep(TRICKLE_SECONDS)
            if self._pouring is not None:
                return
            ids = self._known(line)
            new = [id_ for number, id_ in enumerate(ids) if id_ not in told or number % self._order.trickle_share == 0]
            told.update(new)
            line.transport.write(b"".join(self._recorded[id_][0] for id_ in new))

    async def _pour(self) -> None:
        lines = {line: self._frames(line) for line in self._lines}
        seconds = self._order.seconds * self._order.rounds
        rate = {line: len(frames) / seconds if seconds else 0.0 for line, frames in lines.items()}
        await asyncio.gather(*(line.pour(frames, per_second=rate[line]) for line, frames in lines.items()))
        self._sent = sum(map(len, lines.values()))

    def _frames(self, line: Line) -> list[bytes]:
        """Round after round, so that every market moves."""
        markets = [self._recorded[id_] for id_ in self._known(line)]
        return [frames[number] for number in range(self._order.rounds) for frames in markets]

    def _known(self, line: Line) -> list[str]:
        return [id_ for id_ in line.market_ids if id_ in self._recorded]


def _ask(line: Line, text: str) -> None:
    line.market_ids.update(dict.fromkeys(name.upper() for name in STREAM.findall(text)))


def _encode(frame: dict[str, Any], order: Order) -> bytes:
    """As it goes over the wire: a text frame, not masked, with its length before it."""
    told = {"stream": f"{frame['s'].lower()}@{order.channel}", "data": frame} if order.is_wrapped else frame
    payload = orjson.dumps(told)
    head = bytes([0x81, len(payload)]) if len(payload) < 126 else struct.pack(">BBH", 0x81, 126, len(payload))
    return head + payload


async def _serve(port: int, markets: int) -> None:
    runner = web.AppRunner(LocalExchange(markets).application(), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(*map(int, sys.argv[1:3])))
