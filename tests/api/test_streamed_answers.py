"""A reader who sleeps is cut off, and whose connection it is is found among all that are open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from web import streamed_answers


@dataclass
class Scope:
    client: str
    path: str = "/export"


class Transport:
    """granian's: it takes everything at once, and passes on what the socket takes."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.taken = bytearray()

    async def send_bytes(self, part: bytes) -> None:
        self.taken += part
        self.connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self.connection.send(part)


@pytest.fixture(params=[("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)], ids=["IPv4", "IPv6"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection: the caller's, and ours."""
    host, family = request.param
    with socket.create_server((host, 0), family=family) as listener:
        theirs = socket.create_connection(listener.getsockname()[:2], 5)
        ours, _ = listener.accept()
    with theirs, ours:
        yield theirs, ours


def read_all(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


def named(theirs: socket.socket) -> str:
    host, port = theirs.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def test_a_reader_who_sleeps_is_cut_off_and_little_was_made_for_him(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = ends
    monkeypatch.setattr(streamed_answers, "READER_SECONDS", 0.2)
    made: list[int] = []

    def parts() -> Iterator[bytes]:
        for number in range(10_000):
            made.append(number)
            yield bytes(65_536)

    async def send() -> None:
        with ThreadPoolExecutor(1) as threads:
            scope, transport = Scope(named(theirs)), Transport(ours)
            await streamed_answers.send(parts(), transport, None, threads=threads, scope=scope, is_measured=False)

    asyncio.run(send())

    assert len(made) < 400  # what the two ends of a connection hold themselves, and a megabyte
    with pytest.raises(ConnectionResetError):
        read_all(theirs)


def test_only_the_connection_that_is_meant_is_reset(ends: tuple[socket.socket, socket.socket]) -> None:
    theirs, _ = ends
    with socket.create_server(("127.0.0.1", 0)) as listener:
        others = socket.create_connection(listener.getsockname(), 5)
        accepted, _ = listener.accept()
    with others, accepted:
        held = streamed_answers.hold(named(theirs))
        assert held is not None
        streamed_answers.release(held, is_whole=False)
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)
        accepted.sendall(b"well")
        assert others.recv(4) == b"well"


@pytest.mark.parametrize("client", ["", "127.0.0.1", "127.0.0.1:1", "/run/web.sock:", "unix", "127.0.0.1:x"])
def test_who_is_not_connected_is_not_found(client: str) -> None:
    assert streamed_answers.hold(client) is None


def test_a_whole_answer_ends_as_ever(ends: tuple[socket.socket, socket.socket]) -> None:
    theirs, ours = ends
    held = streamed_answers.hold(named(theirs))
    assert held is not None

    ours.sendall(b"all")
    streamed_answers.release(held, is_whole=True)
    ours.close()

    assert (theirs.recv(9), theirs.recv(9)) == (b"all", b"")
