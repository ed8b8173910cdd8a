"""`python -m sandbox replay FILE`: plays a recording as an exchange of its own, in its own time or faster.

A request gets the answer that stood at this moment of the recording: of the same method, address and content; where
only numbers that change with each call differ (times, nonces, signatures), these are not looked at. A websocket gets
the frames of a recorded connection to the same address; what came after the client's words waits for its words.
`GET /_replay` says how far it is and which requests the recording has no answer for.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from aiohttp import WSMsgType, web

from sandbox.target import Target, resolve

FORMAT = 1
BODY_BYTES = 32 * 1024 * 1024
WORDS_SECONDS = 5.0  # so long a frame waits for what the client had said before it
VOLATILE = frozenset(
    [
        "timestamp",
        "nonce",
        "signature",
        "sign",
        "recvwindow",
        "since",
        "starttime",
        "endtime",
        "start",
        "end",
        "start_time",
        "end_time",
        "from",
        "to",
        "startat",
        "endat",
        "ts",
        "time",
        "_",
        "id",
        "req_id",
    ]
)
OWN_HEADERS = frozenset({"content-type", "content-length", "transfer-encoding", "connection", "content-encoding"})

Key = tuple[str, ...]


class BadRecording(Exception):
    """A file that is no recording, or one of a format that this version cannot play."""


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    at: float
    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(slots=True)
class RecordedConnection:
    """A recorded websocket; each frame has its seconds since the connection and how much the client had said."""

    host: str
    path: str
    opened_at: float
    frames: list[tuple[float, int, str | bytes]] = field(default_factory=list)
    said: int = 0
    closed_after: float | None = None


@dataclass
class RecordingContent:
    """A recording in memory: answers by what was asked, exactly and loosely, and connections in order."""

    exchange: str
    exact: dict[Key, list[RecordedAnswer]]
    loose: dict[Key, list[RecordedAnswer]]
    connections: list[RecordedConnection]
    seconds: float


def read(path: Path) -> RecordingContent:
    """Reads a recording. Raises BadRecording for what is none; a last line that was cut off is left out."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return _recorded(_events(lines))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadRecording(f"{path} cannot be read: {error}") from error


def _events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    try:
        for line in lines:
            yield json.loads(line)
    except (EOFError, json.JSONDecodeError):
        return  # the recorder was killed while it wrote


def _recorded(events: Iterator[dict[str, Any]]) -> RecordingContent:
    header = next(events, {})
    if header.get("format") != FORMAT:
        raise BadRecording(f"no recording of format {FORMAT}: its first line says {header.get('format')!r}")
    found = RecordingContent(str(header.get("exchange", "")), defaultdict(list), defaultdict(list), [], 0.0)
    open_connections: dict[int, RecordedConnection] = {}
    for event in events:
        found.seconds = max(found.seconds, float(event["at"]))
        if event["kind"] == "answer":
            _add_answer(found, event)
        else:
            _add_to_connection(found, open_connections, event)
    return found


def _add_answer(found: RecordingContent, event: Mapping[str, Any]) -> None:
    answer = RecordedAnswer(event["at"], event["status"], event["headers"], event["body"])
    target = _of_url(event["url"])
    exact, loose = keys(event["method"], target, event["sent"])
    found.exact[exact].append(answer)
    found.loose[loose].append(answer)


def _add_to_connection(
    found: RecordingContent, open_connections: dict[int, RecordedConnection], event: Mapping[str, Any]
) -> None:
    number, kind = event["connection"], event["kind"]
    if kind == "opened":
        target = _of_url(event["url"])
        open_connections[number] = RecordedConnection(target.host, target.path, event["at"])
        found.connections.append(open_connections[number])
        return
    connection = open_connections[number]
    after = event["at"] - connection.opened_at
    if kind == "sent":
        connection.said += 1
    elif kind == "got":
        data = event["text"] if "text" in event else base64.b64decode(event["base64"])
        connection.frames.append((after, connection.said, data))
    else:
        connection.closed_after = after


def _of_url(url: str) -> Target:
    parts = urlsplit(url)
    return Target(None, parts.hostname or "", parts.path or "/", parts.query)


def keys(method: str, target: Target, sent: str) -> tuple[Key, Key]:
    """Returns what an answer is looked up by: with everything that was asked, and without what changes each time."""
    query = sorted(parse_qsl(target.query, keep_blank_values=True))
    lasting = [(name, value) for name, value in query if name.lower() not in VOLATILE]
    whole = (method, target.host, target.path, urlencode(query), _content(sent, ()))
    return whole, (method, target.host, target.path, urlencode(lasting), _content(sent, VOLATILE))


def _content(sent: str, without: Iterable[str]) -> str:
    try:
        content = json.loads(sent)
    except ValueError:
        return sent
    if isinstance(content, dict):
        content = {name: value for name, value in content.items() if name.lower() not in without}
    return json.dumps(content, sort_keys=True)


class ReplayedExchange:
    """An exchange that answers from a recording; its time begins with the first request."""

    def __init__(self, recorded: RecordingContent, *, speed: float = 1.0) -> None:
        self._recorded = recorded
        self._speed = speed
        self._began: float | None = None
        self._taken: Counter[tuple[str, str]] = Counter()
        self.unknown: Counter[str] = Counter()

    def application(self) -> web.Application:
        application = web.Application(client_max_size=BODY_BYTES)
        application.router.add_get("/_replay", self.tell)
        application.router.add_route("*", "/{target:.*}", self.answer)
        return application

    @property
    def position(self) -> float:
        """Returns the seconds of the recording that have passed; starts it."""
        if self._began is None:
            self._began = time.monotonic()
        return (time.monotonic() - self._began) * self._speed

    async def tell(self, request: web.Request) -> web.Response:
        position = None if self._began is None else round(self.position, 1)
        told = {"exchange": self._recorded.exchange, "position": position, "seconds": self._recorded.seconds}
        return web.json_response({**told, "unknown": dict(self.unknown)})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        target = resolve(request.raw_path, request.headers.get("Host", ""))
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._stream(request, target)
        found = self._find(request.method, target, (await request.read()).decode(errors="replace"))
        if found is None:
            self.unknown[f"{request.method} {target.host}{target.path}?{target.query}"] += 1
            return web.json_response({"error": "the recording has no answer for this request"}, status=404)
        if not found.status:  # nothing came then, and nothing comes now
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=499)
        return _response(found)

    def _find(self, method: str, target: Target, sent: str) -> RecordedAnswer | None:
        exact, loose = keys(method, target, sent)
        answers = self._recorded.exact.get(exact) or self._recorded.loose.get(loose)
        if not answers:
            return None
        passed = [answer for answer in answers if answer.at <= self.position]
        return passed[-1] if passed else answers[0]

    async def _stream(self, request: web.Request, target: Target) -> web.StreamResponse:
        connection = self._next_connection(target)
        if connection is None:
            refused = self._find("GET", target, "")
            if refused is None:
                self.unknown[f"OPEN {target.host}{target.path}"] += 1
            return web.Response(status=refused.status if refused else 404)
        protocols = [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if each]
        response = web.WebSocketResponse(protocols=protocols, max_msg_size=BODY_BYTES)
        await response.prepare(request)
        await self._play(response, connection)
        return response

    def _next_connection(self, target: Target) -> RecordedConnection | None:
        """Returns the recorded connections of an address one after the other; the last again and again."""
        found = [each for each in self._recorded.connections if (each.host, each.path) == (target.host, target.path)]
        if not found:
            found = [each for each in self._recorded.connections if each.host == target.host]
        if not found:
            return None
        number = self._taken[(target.host, target.path)]
        self._taken[(target.host, target.path)] += 1
        return found[min(number, len(found) - 1)]

    async def _play(self, response: web.WebSocketResponse, connection: RecordedConnection) -> None:
        heard = ClientWords()
        listening = asyncio.ensure_future(heard.listen(response))
        began = time.monotonic()
        try:
            for after, said, data in connection.frames:
                await asyncio.sleep(max(0.0, after / self._speed - (time.monotonic() - began)))
                await heard.wait_for(said)
                if response.closed:
                    return
                await (response.send_bytes(data) if isinstance(data, bytes) else response.send_str(data))
            if connection.closed_after is None:
                await listening
        except ConnectionResetError:
            return
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
            await response.close()


class ClientWords:
    """What the client has said on a connection: how many messages, and a way to wait for them."""

    def __init__(self) -> None:
        self._count = 0
        self._more = asyncio.Event()

    async def listen(self, response: web.WebSocketResponse) -> None:
        async for message in response:
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                self._count += 1
                self._more.set()

    async def wait_for(self, count: int) -> None:
        """Waits until so much was said; a client that says less than the recorded one is not waited for long."""
        give_up_at = time.monotonic() + WORDS_SECONDS
        while self._count < count and time.monotonic() < give_up_at:
            self._more.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._more.wait(), give_up_at - time.monotonic())
        self._count = max(self._count, count)  # waited for once: another client says the same in fewer words


def _response(answer: RecordedAnswer) -> web.Response:
    headers = {name: value for name, value in answer.headers.items() if name.lower() not in OWN_HEADERS}
    kind = next((value for name, value in answer.headers.items() if name.lower() == "content-type"), "text/plain")
    return web.Response(status=answer.status, body=answer.body.encode(), headers={**headers, "Content-Type": kind})
