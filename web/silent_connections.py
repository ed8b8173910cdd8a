"""Closes connections on which nobody has said anything: a header's time limit does not begin before its first byte.

Such connections cost no thread, but a file each, and a process that has no file left answers nobody.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
import sys
import threading
from collections.abc import Container, Iterator

import structlog

from lib import clock

log = structlog.get_logger(__name__)

SILENT_SECONDS = 10.0  # as long as a header may take
LOOK_SECONDS = 2.0
MOST_FILES = 65_536
# Linux's struct tcp_info: milliseconds since data came, or since the connection began; bytes that ever came.
LAST_DATA_AT, RECEIVED_AT, INFO_BYTES = 52, 128, 136


def watch() -> None:
    """Closes them for as long as this process lives, in a thread; elsewhere than on Linux nobody can tell them."""
    if sys.platform != "linux":
        return

    def run() -> None:
        while True:
            clock.pause(LOOK_SECONDS)
            close_silent()

    threading.Thread(target=run, name="silent-connections", daemon=True).start()


def close_silent() -> int:
    """Closes connections to this process that have brought nothing for SILENT_SECONDS; returns how many."""
    ports: set[int] = set()
    silent: list[int] = []
    for number in _open_files():
        with _borrowed(number) as connection:
            if connection is None:
                continue
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                ports.add(connection.getsockname()[1])
            elif _is_silent(connection):
                silent.append(number)
    closed = sum(_shut(number, ports) for number in silent)
    if closed:
        log.info("silent_connections_closed", count=closed)
    return closed


def _open_files() -> list[int]:
    """Returns the numbers of all open files; where even their list needs one too many, all that there may be."""
    try:
        return [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return list(range(3, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], MOST_FILES)))


@contextlib.contextmanager
def _borrowed(number: int) -> Iterator[socket.socket | None]:
    """Lends a TCP connection that is another's to close; None where the file is none, or gone meanwhile."""
    try:
        connection = socket.socket(fileno=number)
    except OSError:
        yield None
        return
    try:
        is_tcp = connection.family in (socket.AF_INET, socket.AF_INET6) and connection.type == socket.SOCK_STREAM
        with contextlib.suppress(OSError):
            yield connection if is_tcp else None
    finally:
        connection.detach()


def _is_silent(connection: socket.socket) -> bool:
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO_BYTES)
    if len(info) < INFO_BYTES:
        return False  # a kernel that does not count
    (silent_milliseconds,) = struct.unpack_from("=I", info, LAST_DATA_AT)
    (received,) = struct.unpack_from("=Q", info, RECEIVED_AT)
    return bool(received == 0 and silent_milliseconds > SILENT_SECONDS * 1000)


def _shut(number: int, ports: Container[int]) -> bool:
    """Ends a connection that came to one of our ports: our own calls to others wait for as long as they like."""
    with _borrowed(number) as connection:
        if connection is not None and connection.getsockname()[1] in ports:
            connection.shutdown(socket.SHUT_RDWR)
            return True
    return False
