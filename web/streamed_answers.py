"""Sends answers whose parts are made while they leave. One that fails on the way is seen to be broken.

After the status line only the connection can say that something failed: without a reset, an answer that ends early
looks whole. A reader who sleeps holds no thread, and little memory: parts are made in threads of their own, one after
another, as the reader takes them, and sent by the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import ipaddress
import math
import os
import socket
import stat
import struct
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from typing import Any

import structlog

READER_SECONDS = 60.0  # a reader who takes nothing for so long is gone
AHEAD_BYTES = 1024 * 1024  # what may be under way to a reader
LOOK_SECONDS = 0.01
# Where Linux's struct tcp_info, since 4.1, says how many bytes the other side has acknowledged.
ACKED, ACKED_AT, TCP_INFO_BYTES = struct.Struct("=Q"), 120, 192
RESET_AT_CLOSE, NO_RESET = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)  # whether to linger, and for no time
UNSPECIFIED_ADDRESS = bytes(16)  # of the family AF_UNSPEC: to connect there is to break off
DESCRIPTORS = "/dev/fd"

log: Any = structlog.get_logger("marketmon.request")


class ReaderSleeps(Exception):
    """Nobody has taken anything for READER_SECONDS."""


async def send(
    parts: Iterable[bytes], transport: Any, protocol: Any, *, threads: Executor, scope: Any, is_measured: bool
) -> None:
    """Sends the parts one by one, as fast as the caller reads. Unless they all were sent, the connection is reset: at
    an error, and at the end of this process. `is_measured`: its length was announced, so that its end needs no care."""
    loop = asyncio.get_running_loop()
    connection = None if is_measured else await loop.run_in_executor(threads, hold, scope.client)
    is_whole = False
    try:
        await _send_all(iter(parts), transport, threads, Flow(connection))
        is_whole = True
    except Exception as error:  # noqa: BLE001 - whatever it was, the caller must not take this answer for whole
        log.warning("answer_broken_off", path=scope.path, client=scope.client, error=_words(error))
    finally:
        if connection is not None:
            release(connection, is_whole=is_whole)
        elif not is_whole and not is_measured:
            # What cannot be reset is never ended: its reader's own time limit says that something is wrong.
            await protocol.client_disconnect()


async def _send_all(parts: Iterator[bytes], transport: Any, threads: Executor, flow: Flow) -> None:
    loop = asyncio.get_running_loop()
    while (part := await loop.run_in_executor(threads, _next, parts)) is not None:
        if part:
            await transport.send_bytes(part)
            await flow.wait_until_taken(len(part))


class Flow:
    """How far the caller has read. granian takes whatever it is given into memory at once, a day of ticks as well; the
    kernel knows how much of it the other side has got."""

    def __init__(self, connection: socket.socket | None) -> None:
        self._connection = connection
        self._before = self._taken()
        self._given = 0

    async def wait_until_taken(self, count: int) -> None:
        """Waits until all but AHEAD_BYTES have arrived. Raises ReaderSleeps when none arrive for READER_SECONDS."""
        self._given += count
        taken, progress_at = self._taken(), time.monotonic()
        while self._given - (taken - self._before) > AHEAD_BYTES:
            if time.monotonic() - progress_at > READER_SECONDS:
                raise ReaderSleeps(f"nothing was read for {READER_SECONDS:.0f} s")
            await asyncio.sleep(LOOK_SECONDS)
            newest = self._taken()
            if newest > taken:
                taken, progress_at = newest, time.monotonic()

    def _taken(self) -> float:
        """Returns the bytes that have arrived so far; without end where the system does not tell."""
        if self._connection is None or not hasattr(socket, "TCP_INFO"):
            return math.inf
        told = self._connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        return float(ACKED.unpack_from(told, ACKED_AT)[0]) if len(told) >= ACKED_AT + ACKED.size else math.inf


def _next(iterator: Iterator[bytes]) -> bytes | None:
    return next(iterator, None)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip()


# --- the end of a connection ------------------------------------------------------------------------------------


def hold(client: str) -> socket.socket | None:
    """Returns our connection from this address, `host:port`, None when there is none; it is reset when we die."""
    wanted = _address(*client.rpartition(":")[::2])
    if wanted is None:
        return None
    for name in os.listdir(DESCRIPTORS):
        connection = _connection(int(name)) if name.isdigit() else None
        if connection is None:
            continue
        if _peer(connection) == wanted:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            return connection
        connection.close()
    return None


def release(connection: socket.socket, *, is_whole: bool) -> None:
    """Lets the connection end as the server wants it to, or resets it now."""
    with connection:
        if is_whole:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_RESET)
        else:
            _break_off(connection)


def _connection(descriptor: int) -> socket.socket | None:
    """Returns a copy of the descriptor when it is a socket; the copy stays what it is whatever others close."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        return socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return None


def _peer(connection: socket.socket) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int] | None:
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        host, port = connection.getpeername()[:2]
    except OSError:
        return None
    return _address(host, str(port))


def _address(host: str, port: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int] | None:
    try:
        found = ipaddress.ip_address(host.strip("[]").partition("%")[0])
        return getattr(found, "ipv4_mapped", None) or found, int(port)
    except ValueError:
        return None


def _break_off(connection: socket.socket) -> None:
    """Sends a reset: the mere end of a connection is the regular end of an answer in HTTP/1.0, as nginx asks for it."""
    if ctypes.CDLL(None).connect(connection.fileno(), UNSPECIFIED_ADDRESS, len(UNSPECIFIED_ADDRESS)) == 0:
        return
    with contextlib.suppress(OSError):  # a system where that cannot be done, or a caller who is gone
        connection.shutdown(socket.SHUT_RDWR)
