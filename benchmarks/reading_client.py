"""Eight connections of one thread that ask again as soon as they are answered; lean, so that it measures the server."""

from __future__ import annotations

import selectors
import socket
import time
from dataclasses import dataclass, field

CONNECTIONS = 8
BUFFER_BYTES = 1 << 20


@dataclass(slots=True)
class Load:
    """What came of it: requests per second, and the slowest of a hundred in seconds."""

    per_second: float
    p99_seconds: float


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    begun_at: float = 0.0
    head: bytes = b""
    missing: int = -1
    seconds: list[float] = field(default_factory=list)


def request(path: str, headers: dict[str, str]) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def load(port: int, asked: bytes, *, seconds: float, connections: int = CONNECTIONS) -> Load:
    """Keeps the connections busy. Raises when an answer is anything but 200."""
    buffer = memoryview(bytearray(BUFFER_BYTES))
    with selectors.DefaultSelector() as selector:
        all_of_them = [_Connection(socket.create_connection(("127.0.0.1", port))) for _ in range(connections)]
        started = time.perf_counter()
        for each in all_of_them:
            selector.register(each.socket, selectors.EVENT_READ, each)
            _ask(each, asked)
        while time.perf_counter() - started < seconds:
            for ready, _ in selector.select(1.0):
                if _received(ready.data, buffer):
                    ready.data.seconds.append(time.perf_counter() - ready.data.begun_at)
                    _ask(ready.data, asked)
        took = time.perf_counter() - started
        for each in all_of_them:
            each.socket.close()
    answered = sorted(one for each in all_of_them for one in each.seconds)
    return Load(len(answered) / took, answered[int(len(answered) * 0.99)] if answered else float("inf"))


def seconds_of_one(port: int, asked: bytes) -> float:
    """How long one answer takes, on a connection of its own that is made before."""
    buffer = memoryview(bytearray(BUFFER_BYTES))
    one = _Connection(socket.create_connection(("127.0.0.1", port)))
    with one.socket:
        _ask(one, asked)
        while not _received(one, buffer):
            pass
        return time.perf_counter() - one.begun_at


def _ask(each: _Connection, asked: bytes) -> None:
    each.head, each.missing, each.begun_at = b"", -1, time.perf_counter()
    each.socket.sendall(asked)


def _received(each: _Connection, buffer: memoryview) -> bool:
    """Takes what is there; True when the answer is complete."""
    count = each.socket.recv_into(buffer)
    if count == 0:
        raise ConnectionError("the server hung up")
    if each.missing >= 0:
        each.missing -= count
        return each.missing == 0
    each.head += bytes(buffer[:count])
    end = each.head.find(b"\r\n\r\n")
    if end < 0:
        return False
    if not each.head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(each.head[:300].decode(errors="replace"))
    each.missing = _length(each.head[:end]) - (len(each.head) - end - 4)
    return each.missing == 0


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise RuntimeError("an answer without a length")
