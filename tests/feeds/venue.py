"""A venue made for tests: an asyncio HTTP server in a thread that answers what it is told, however broken."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

PORTS = range(9240, 9260)
Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Answer:
    """Content is JSON unless it is bytes. `play` takes the connection over instead."""

    content: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    play: Play | None = None

    def raw(self) -> bytes:
        body = self.content if isinstance(self.content, bytes) else orjson.dumps(self.content)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))} | dict(self.headers)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} Said\r\n{head}\r\n".encode() + body


@dataclass
class Request:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Venue:
    """`answers` by end of path (host in the path, as rebasing makes it); a callable is asked for each request."""

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        self.answers: dict[str, Answer | Callable[[Request], Answer]] = {}
        self.requests: list[Request] = []
        self.port = 0
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._tls.load_cert_chain(*certificate)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def base_url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        return [request.target.partition("?")[0] for request in self.requests]

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(5)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._ready.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._server.close()
        self._loop.close()

    async def _listen(self) -> None:
        for port in PORTS:
            with contextlib.suppress(OSError):
                self._server = await asyncio.start_server(self._talk, "127.0.0.1", port, limit=1 << 20, ssl=self._tls)
                self.port = port
                return
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0, limit=1 << 20, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await self._read(reader)) is not None:
                self.requests.append(request)
                answer = self._answer(request)
                if answer.play is not None:
                    await answer.play(reader, writer)
                    break
                writer.write(answer.raw())
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Request | None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, target, _ = first.split(" ")
        return Request(method, target, headers, body)

    def _answer(self, request: Request) -> Answer:
        path = request.target.partition("?")[0]
        found = next((answer for end, answer in self.answers.items() if path.endswith(end)), None)
        if found is None:
            return Answer({"message": "not here"}, status=404)
        return found if isinstance(found, Answer) else found(request)


@contextlib.contextmanager
def open_venue() -> Iterator[Venue]:
    venue = Venue()
    venue.start()
    try:
        yield venue
    finally:
        venue.stop()


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
