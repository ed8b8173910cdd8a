"""One websocket connection: what it subscribed to, a batch of frames every second, and the faults it meets."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from sandbox.delivery import Vanished, cut
from sandbox.exchange import Exchange
from sandbox.faults import LIES, Fault, Faults
from sandbox.journal import Entry, Journal
from sandbox.streams.base import Frame, StreamDialect, Subscriptions
from sandbox.target import Target
from sandbox.view import View

LONGEST_SHOWN = 4000  # characters of a subscription in the log
BROKEN = '{"channel":"ticker","data":[{"symbol":'
NOT_A_NUMBER = '{"e":"24hrTicker","channel":"ticker","data":[{"last":NaN}],"c":NaN}'
ON_EVERY_TICK = frozenset(
    {"ws_close", "ws_reset", "ws_silence", "ws_broken", "ws_nan", "ws_unknown_symbol", "ws_burst"}
) | LIES  # fmt: skip
ON_SUBSCRIPTION = frozenset({"ws_refuse", "ws_no_answer"})
ON_PING = frozenset({"ws_no_pong"})


@dataclass
class Session:
    """A connection; `period` is the time between two batches of frames, in seconds."""

    exchange: Exchange
    dialect: StreamDialect
    faults: Faults
    journal: Journal
    target: Target
    period: float
    subscriptions: Subscriptions = field(default_factory=Subscriptions)
    socket: web.WebSocketResponse = field(default_factory=lambda: web.WebSocketResponse(autoping=False))

    async def serve(self, request: web.Request, entry: Entry) -> web.StreamResponse:
        """Serves until either side ends it; the connection's line in the log says when."""
        await self.socket.prepare(request)
        entry.status = 101
        news = asyncio.create_task(self._tell_news(request))
        try:
            await self._send(self.dialect.greeting(self._view(())))
            async for message in self.socket:
                await self._hear(message)
        except (ConnectionError, Vanished):
            pass
        finally:
            news.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError, Vanished):
                await news
            entry.status = self.socket.close_code or 1006
        return self.socket

    async def _hear(self, message: Any) -> None:
        if message.type is WSMsgType.PING:
            if not self._met(ON_PING):
                await self.socket.pong(message.data)
        elif message.type is WSMsgType.TEXT:
            try:
                said = orjson.loads(message.data)
            except orjson.JSONDecodeError:
                return
            if isinstance(said, dict):
                await self._answer(said, message.data)

    async def _answer(self, said: dict[str, Any], text: str) -> None:
        if self.dialect.is_ping(said):
            if not self._met(ON_PING):
                await self._send(self.dialect.hear(self._view(()), self.subscriptions, said))
            return
        self._log(text)
        met = self._met(ON_SUBSCRIPTION)
        if any(fault.kind == "ws_no_answer" for fault in met):
            return
        if met:
            await self._send(self.dialect.refuse(said))
        else:
            await self._send(self.dialect.hear(self._view(()), self.subscriptions, said))

    async def _tell_news(self, request: web.Request) -> None:
        ends_at = time.monotonic() + (self.dialect.lifetime_seconds or math.inf)
        while time.monotonic() < ends_at:
            await asyncio.sleep(self.period - time.time() % self.period)
            if self.subscriptions.topics:
                await self._tell(request, self._met(ON_EVERY_TICK))
        await self.socket.close(code=1000, message=b"this connection has lived long enough")

    async def _tell(self, request: web.Request, met: Sequence[Fault]) -> None:
        by_kind = {fault.kind: fault.params for fault in met}
        if "ws_reset" in by_kind:
            cut(request)
            raise Vanished
        if "ws_close" in by_kind:
            code = int(by_kind["ws_close"]["code"])
            await self.socket.close(code=code, message=b"closed by the sandbox")
            return
        view = self._view(met)
        await self._send(self.dialect.alive(view))
        if "ws_silence" in by_kind:
            await self._keep_quiet(view, str(by_kind["ws_silence"]["channels"]))
            return
        for kind, text in (("ws_broken", BROKEN), ("ws_nan", NOT_A_NUMBER)):
            if kind in by_kind:
                await self.socket.send_str(text)
        if "ws_unknown_symbol" in by_kind:
            await self._send([self.dialect.foreign])
        frames = [_bent(view, frame) for frame in self.dialect.frames(view, self.subscriptions)]
        await self._send(frames)
        if "ws_burst" in by_kind and frames:
            await self._flood(frames, int(by_kind["ws_burst"]["frames"]))

    async def _keep_quiet(self, view: View, pattern: str) -> None:
        """Keeps topics silent: what is not told now will not be told later either."""
        topics = self.subscriptions.topics
        spoken = {topic: None for topic in topics if pattern and not re.search(pattern, "@".join(topic))}
        self.subscriptions.topics = {topic: None for topic in topics if topic not in spoken}
        list(self.dialect.frames(view, self.subscriptions))
        self.subscriptions.topics = spoken
        frames = list(self.dialect.frames(view, self.subscriptions))
        self.subscriptions.topics = topics
        await self._send(frames)

    async def _flood(self, frames: Sequence[Frame], count: int) -> None:
        texts = [orjson.dumps(frame).decode() for frame in frames]
        for number in range(count):
            await self.socket.send_str(texts[number % len(texts)])

    async def _send(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            await self.socket.send_str(orjson.dumps(frame).decode())

    def _view(self, met: Sequence[Fault]) -> Any:
        return self.exchange.view(time.time(), met)

    def _met(self, kinds: frozenset[str]) -> list[Fault]:
        where = f"{self.target.host}{self.target.path}?{self.target.query}"
        return self.faults.take(self.exchange.id, where, time.time(), kinds=kinds)

    def _log(self, text: str) -> None:
        now, target = time.time(), self.target
        self.journal.note(
            Entry(
                now, self.exchange.id, "SEND", target.host, target.path, text[:LONGEST_SHOWN], self.exchange.second(now)
            )
        )


def _bent(view: View, frame: Frame) -> Frame:
    """Bends a frame by lies about the venue's own keys. Some venues name a market by its id there, others by symbol."""
    if not view.lies.values:
        return frame
    ids = {market.symbol: id_ for id_, market in view.markets.items()}
    bent: Frame = view.lies.edit(view.lies.edit(frame, ids), {symbol: symbol for symbol in ids})
    return bent
