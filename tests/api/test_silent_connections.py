"""Connections that send nothing are closed, whoever opened them and however many there are."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator

import pytest

from web import silent_connections


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silent_connections, "SILENT_SECONDS", 0.05)


def call(server: socket.socket, *, sending: bytes = b"") -> tuple[socket.socket, socket.socket]:
    caller = socket.create_connection(server.getsockname())
    called, _ = server.accept()
    if sending:
        caller.sendall(sending)
        time.sleep(0.01)
    return caller, called


def is_over(caller: socket.socket) -> bool:
    caller.settimeout(0.2)
    try:
        return caller.recv(1) == b""
    except TimeoutError:
        return False


@pytest.mark.parametrize(("sending", "is_closed"), [(b"", True), (b"G", False)], ids=["nothing", "a byte"])
def test_who_has_sent_nothing_is_closed(server: socket.socket, sending: bytes, is_closed: bool) -> None:
    caller, called = call(server, sending=sending)
    time.sleep(0.1)

    assert silent_connections.close_silent() == int(is_closed)

    assert is_over(caller) is is_closed
    assert called.fileno() >= 0  # it is its owner's to close
    caller.close()
    called.close()


def test_who_has_just_come_is_not(server: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silent_connections, "SILENT_SECONDS", 10.0)
    caller, called = call(server)

    assert silent_connections.close_silent() == 0

    caller.close()
    called.close()


def test_our_own_calls_to_others_are_left_alone(server: socket.socket) -> None:
    """The called side is elsewhere: here it stands for a server that takes its time."""
    caller, called = call(server)
    port = server.getsockname()[1]
    server.close()  # nothing of ours listens there any more
    time.sleep(0.1)

    assert silent_connections.close_silent() == 0

    assert called.getsockname()[1] == port
    caller.close()
    called.close()


def test_they_are_found_though_no_file_is_left(server: socket.socket) -> None:
    caller, called = call(server)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(caller.fileno(), called.fileno()) + 1, hard))
    try:
        time.sleep(0.1)
        closed = silent_connections.close_silent()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert closed == 1
    assert is_over(caller)
    caller.close()
    called.close()
