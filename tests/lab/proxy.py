"""A way to a server that can be slowed, cut, swallowed or broken off, as networks do."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from tests.sandbox_client import free_port

CHUNK_BYTES = 65_536


class Way(Enum):
    OPEN = "bytes pass"
    CUT = "connections are broken off and refused"
    SWALLOWING = "connections are taken, and nothing passes"
    HALF_OPEN = "old connections pass nothing, new ones do"


class Proxy:
    """A TCP port on 127.0.0.1 in front of a unix socket; `target` may change, for connections to come."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.port = free_port()
        self.delay_seconds = 0.0
        self._way = Way.OPEN
        self._writers: set[asyncio.StreamWriter] = set()
        self._deaf: set[asyncio.Task[None]] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._listen())

    def close(self) -> None:
        self._do(self._set(Way.CUT))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    @contextlib.contextmanager
    def being(self, way: Way) -> Iterator[None]:
        self._do(self._set(way))
        try:
            yield
        finally:
            self._do(self._set(Way.OPEN))

    @contextlib.contextmanager
    def slowed(self, seconds: float) -> Iterator[None]:
        self.delay_seconds = seconds
        try:
            yield
        finally:
            self.delay_seconds = 0.0

    def break_all(self) -> None:
        """Breaks every connection off; the next ones pass."""
        self._do(self._break())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port)

    async def _set(self, way: Way) -> None:
        before, self._way = self._way, way
        self._deaf = set(self._running) if way in (Way.HALF_OPEN, Way.SWALLOWING) else set()
        if way is Way.CUT or before in (Way.HALF_OPEN, Way.SWALLOWING):
            await self._break()  # what has lain dead for long does not live again

    async def _break(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._way is Way.CUT:
            writer.transport.abort()
            return
        self._writers.add(writer)
        task: asyncio.Task[None] = asyncio.ensure_future(self._carry(reader, writer))
        self._running.add(task)
        if self._way is Way.SWALLOWING:
            self._deaf.add(task)
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await task
        self._running.discard(task)
        self._writers.discard(writer)
        writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner, outer = await asyncio.open_unix_connection(str(self.target))
        except OSError:
            return
        self._writers.add(outer)
        task = asyncio.current_task()
        try:
            there = asyncio.ensure_future(self._pass(reader, outer, task))
            back = asyncio.ensure_future(self._pass(inner, writer, task))
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            there.cancel()
            back.cancel()
        finally:
            self._writers.discard(outer)
            outer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, task: Any) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                while task in self._deaf:
                    await asyncio.sleep(0.1)
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                writer.write(chunk)
                await writer.drain()
