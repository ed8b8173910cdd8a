"""Serves a WSGI application under granian's RSGI, and settles first what WSGI would settle too late or not at all.

In WSGI's environment `X_Forwarded_For` and `X-Forwarded-For` are one name, so that a caller could send what only our
proxy may say; here names are still what was sent. And a body is there, or refused by its length, before a thread is
taken: a slow caller keeps none waiting. Which threads a request may take, and how long it waits for one, is settled by
`web.admission`.
"""

from __future__ import annotations

import asyncio
import functools
import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
import structlog
from django.conf import settings

from lib import clock, liveness
from lib.problems import problem_body
from web import streamed_answers
from web.admission import ROOMS, Room, room_of
from web.answering_process import AnsweringProcess, Application, Environ, NoAnswer

T = TypeVar("T")

PART_THREADS = 4  # they make the parts of streamed answers
LIFE_SECONDS = 1.0
BODY_SECONDS = 30.0  # a form of a megabyte at 35 KB/s
METRICS_PATH = re.compile(r"/(metrics|regime|grids)(/|$)")
MOST_HEADER_CHARACTERS = 8 * 1024  # of one header, as most proxies have it
# Until 3.11.10 and 3.12.6 Python's own reader of cookies takes quadratic time over these: eight seconds for 60 KB.
MOST_COOKIE_ESCAPES = 500
MOST_HELD_BYTES = 32 * 1024 * 1024  # of bodies that are still being sent, all callers together

log: Any = structlog.get_logger("marketmon.request")


@dataclass(frozen=True, slots=True)
class GatewayRefusal:
    """An answer that needs no application: the request cannot be read as it was sent."""

    status: int
    message: str
    retry_after_seconds: int = 0


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """An answer of the application that is made while it is sent."""

    status: int
    headers: list[tuple[str, str]]
    parts: Iterable[bytes]


BAD_NAME = GatewayRefusal(400, "Names of headers have hyphens, not underscores.")
TOO_LARGE = GatewayRefusal(431, f"A header has more than {MOST_HEADER_CHARACTERS} characters.")
BAD_COOKIE = GatewayRefusal(431, f"The cookies have more than {MOST_COOKIE_ESCAPES} backslashes.")
CUT_SHORT = GatewayRefusal(400, "The request body ended before its announced length.")
TOO_SLOW = GatewayRefusal(408, f"The request body took longer than {BODY_SECONDS:.0f} s.")
TOO_MANY = GatewayRefusal(503, "Too many requests are still being sent. Try again in some seconds.", 2)
BUSY = GatewayRefusal(503, "Too many such requests are being answered. Try again in some seconds.", 2)


ENDED = GatewayRefusal(503, "The process that answers has ended, or took too long. Try again in some seconds.", 2)


class TurnMissed(Exception):
    """The end of waiting for a thread: too many others wait, or have not ended in time."""


class Waiting:
    """The threads of one room, and who waits for them."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._pool = ThreadPoolExecutor(room.threads, thread_name_prefix=room.name)
        self._inside = 0

    async def run(self, answer: Callable[[], T]) -> T:
        """Answers in a thread of the room. Raises TurnMissed."""
        if self._inside >= self._room.threads + self._room.most_waiting:
            raise TurnMissed
        self._inside += 1
        try:
            running = self._pool.submit(answer)
            done = asyncio.wrap_future(running)
            await asyncio.wait({done}, timeout=self._room.wait_seconds)
            if running.cancel():  # only what has not begun can be
                raise TurnMissed
            return await done
        finally:
            self._inside -= 1

    def shut(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class Gateway:
    """An RSGI application around a WSGI one."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._beside: AnsweringProcess | None = None
        self._held_bytes = 0

    def answer_beside(self, process: AnsweringProcess) -> None:
        """Lets the process answer what belongs into rooms beside; without one, threads of this process do."""
        self._beside = process

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._note_life()
        self._rooms = {room: Waiting(room) for room in ROOMS}
        self._part_threads = ThreadPoolExecutor(PART_THREADS, thread_name_prefix="part")

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        for waiting in self._rooms.values():
            waiting.shut()
        self._part_threads.shutdown(wait=False, cancel_futures=True)

    def _note_life(self) -> None:
        """Gives a sign of life with every second in which the loop goes round."""
        liveness.note()
        self._loop.call_later(LIFE_SECONDS, self._note_life)

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        path = own_path(scope.path)
        if any("_" in name for name in scope.headers.keys()):  # noqa: SIM118 - no dict; `items` leaves names out
            refuse(protocol, scope, BAD_NAME)
            return
        environ = self._environ(scope)
        if (unfit := fault_of_headers(environ)) is not None:
            refuse(protocol, scope, unfit)
            return
        if "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ:
            refusal = await self._take_body(environ, protocol)
            if refusal is not None:
                refuse(protocol, scope, refusal)
                return
        room = room_of(path)
        answer = self._answer_beside if self._beside and room.is_beside else self._answer
        try:
            streamed = await self._rooms[room].run(functools.partial(answer, environ, protocol))
        except (TurnMissed, NoAnswer) as error:
            refuse(protocol, scope, BUSY if isinstance(error, TurnMissed) else ENDED)
            return
        if streamed is not None:
            await self._stream(streamed, protocol, scope)

    def _environ(self, scope: Any) -> Environ:
        return environ_of(scope)

    async def _take_body(self, environ: Environ, protocol: Any) -> GatewayRefusal | None:
        """Puts the body into the environment. One that is too long is left unread, or after the byte that is too many:
        the view that it was for refuses it by its length, in its own words."""
        announced = environ.get("CONTENT_LENGTH", "")
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if announced and int(announced) > limit:
            return None
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._read(protocol, limit + 1)
        except TimeoutError:
            return TOO_SLOW
        except OSError:
            return CUT_SHORT
        if body is None:
            return TOO_MANY
        if announced and len(body) < int(announced):
            return CUT_SHORT
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ["wsgi.input"] = io.BytesIO(body)
        return None

    async def _read(self, protocol: Any, most: int) -> bytes | None:
        """Reads at most so many bytes; returns None when too much is held already."""
        body = bytearray()
        try:
            async for part in protocol:
                if self._held_bytes + len(part) > MOST_HELD_BYTES:
                    return None
                self._held_bytes += len(part)
                body += part
                if len(body) >= most:
                    break
        finally:
            self._held_bytes -= len(body)
        return bytes(body[:most])

    def _answer(self, environ: Environ, protocol: Any) -> StreamedAnswer | None:
        """Runs the application in a thread of the pool, and sends its answer; one in parts is returned instead."""
        started: list[Any] = []
        response = self._application(environ, lambda status, headers, *_: started.extend((int(status[:3]), headers)))
        if getattr(response, "streaming", False):
            status, headers = started
            return StreamedAnswer(status, headers, response)
        try:
            protocol.response_bytes(*started, b"".join(response))
        finally:
            _close(response)
        return None

    def _answer_beside(self, environ: Environ, protocol: Any) -> None:
        """Sends the answer of the process beside. Raises NoAnswer."""
        assert self._beside is not None
        body = environ.pop("wsgi.input").read()
        del environ["wsgi.errors"]
        protocol.response_bytes(*self._beside.answer(environ, body))

    async def _stream(self, answer: StreamedAnswer, protocol: Any, scope: Any) -> None:
        transport = protocol.response_stream(answer.status, answer.headers)
        try:
            await streamed_answers.send(
                answer.parts, transport, protocol, threads=self._part_threads, scope=scope,
                is_measured=any(name.lower() == "content-length" for name, _ in answer.headers),
            )  # fmt: skip
        finally:
            await self._loop.run_in_executor(self._part_threads, _close, answer.parts)


def _close(response: Any) -> None:
    close = getattr(response, "close", None)
    if close is not None:
        close()


def refuse(protocol: Any, scope: Any, refusal: GatewayRefusal) -> None:
    log.info("request", method=scope.method, path=scope.path, status=refusal.status, refused=refusal.message)
    body = orjson.dumps(_in_words(refusal, scope.path))
    headers = [("content-type", "application/json"), ("cache-control", "no-store"), ("connection", "close")]
    if refusal.retry_after_seconds:
        headers.append(("retry-after", str(refusal.retry_after_seconds)))
    protocol.response_bytes(refusal.status, headers, body)


def _in_words(refusal: GatewayRefusal, path: str) -> dict[str, Any]:
    """Returns the body in the words of the API that the path belongs to."""
    if METRICS_PATH.match(path):
        return {"status": "error", "timestamp": clock.milliseconds_z(clock.now()), "error": refusal.message}
    return problem_body(refusal.status, refusal.message, now=clock.now())


# --- the environment of WSGI ----------------------------------------------------------------------------------------


def own_path(path: str) -> str:
    """Returns the path without BASE_PATH. Some proxies take it away, and health checks do not know it."""
    base = settings.FORCE_SCRIPT_NAME or ""
    return path[len(base) :] if base and f"{path}/".startswith(f"{base}/") else path


def environ_of(scope: Any) -> Environ:
    """Returns the environ that PEP 3333 asks for. The process's own environment is no part of it."""
    host, _, port = scope.server.rpartition(":")
    return {
        "SCRIPT_NAME": settings.FORCE_SCRIPT_NAME or "",
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "SERVER_NAME": host.strip("[]"),
        "SERVER_PORT": port,
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "REQUEST_METHOD": scope.method,
        "PATH_INFO": _path(own_path(scope.path)),
        "QUERY_STRING": scope.query_string,
        "HTTP_HOST": "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **_headers(scope.headers.items()),
    }


def fault_of_headers(environ: Environ) -> GatewayRefusal | None:
    """Returns why the headers are refused: what reads them later takes more time than what they are worth."""
    headers = [environ[name] for name in environ if name.startswith("HTTP_") or name == "CONTENT_TYPE"]
    if any(len(value) > MOST_HEADER_CHARACTERS for value in headers):
        return TOO_LARGE
    return BAD_COOKIE if environ.get("HTTP_COOKIE", "").count("\\") > MOST_COOKIE_ESCAPES else None


def _path(decoded: str) -> str:
    """Returns bytes as Latin-1. What was no UTF-8 came as U+FFFD, and is no UTF-8 again, so that it is refused."""
    return decoded.encode().replace(b"\xef\xbf\xbd", b"\xff").decode("latin-1")


def _headers(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in _named(items):
        separator = ";" if name == "HTTP_COOKIE" else ","
        found[name] = f"{found[name]}{separator}{value}" if name in found else value
    return found


def _named(items: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, value in items:
        written = name.upper().replace("-", "_")
        yield (written if written in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{written}"), value
