"""One supervisor per home; taken ports are named before anything starts."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded.lock import HomeLock, RefusedError, require_free_port


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_second_start_is_refused_and_told_who_runs_where(tmp_path: Path) -> None:
    first = HomeLock(tmp_path)
    first.acquire("http://127.0.0.1:8000")
    with pytest.raises(RefusedError) as refused:
        HomeLock(tmp_path).acquire("http://127.0.0.1:8001")
    assert (
        str(refused.value) == f"marketmon is already running in {tmp_path} (pid {os.getpid()}) at http://127.0.0.1:8000"
    )
    first.release()
    HomeLock(tmp_path).acquire("http://127.0.0.1:8001")


def test_a_killed_supervisor_is_recognised_and_a_stopped_one_is_not(tmp_path: Path) -> None:
    lock = HomeLock(tmp_path)
    lock.acquire("u")
    assert lock.last_stop_was_unclean is False
    lock.release()
    (tmp_path / "lock").write_text("4711 http://127.0.0.1:8000\n")
    after_kill = HomeLock(tmp_path)
    after_kill.acquire("u")
    assert after_kill.last_stop_was_unclean is True


def test_a_taken_port_is_named_with_a_free_one_to_choose(taken_port: int) -> None:
    with pytest.raises(RefusedError, match=rf"port {taken_port} on 127.0.0.1 is in use .*SANDBOX_PORT=\d+ make run"):
        require_free_port("SANDBOX_PORT", taken_port)


def test_a_port_whose_last_connection_still_lingers_is_free() -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as web servers do
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        listener.accept()[0].close()  # the side that closes first is the one that lingers
        client.close()
    with pytest.raises(OSError, match="in use"), socket.socket() as strict:
        strict.bind(("127.0.0.1", port))  # it does linger

    require_free_port("PORT", port)

    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        assert server.getsockname()[1] == port
