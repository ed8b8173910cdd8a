"""Allows one supervisor per folder, and says clearly when ports are taken. Both are settled before anything starts."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from pathlib import Path

from embedded import process

LOCK_FILE = "lock"
UNCLEAN_STOP_PATIENCE_SECONDS = 15.0


class RefusedError(Exception):
    """A refusal to start; the message says why and what to do."""


class HomeLock:
    """A lock that the kernel holds for as long as we live; the file's text only says who holds it.

    A home has one, and so has the folder of its data where that is elsewhere.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._descriptor = os.open(home / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        self.last_stop_was_unclean = False

    def acquire(self, url: str) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid, _, where = self._read().partition(" ")
            raise RefusedError(
                f"marketmon is already running in {self._home} (pid {pid or 'unknown'}) at {where.strip() or url}"
            ) from None
        self.last_stop_was_unclean = bool(self._read())
        self._write(f"{os.getpid()} {url}\n")

    def release(self) -> None:
        self._write("")
        os.close(self._descriptor)

    def _read(self) -> str:
        return os.pread(self._descriptor, 1000, 0).decode(errors="replace").strip()

    def _write(self, text: str) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)


def refuse_to_end(pid: int, title: str, data: Path) -> None:
    """Refuses to stop a server that is no orphan, whoever holds which lock. Raises RefusedError."""
    supervisor = process.other_supervisor_of(pid)
    if supervisor is not None:
        raise RefusedError(
            f"{title} already runs in {data} (pid {pid}) for another marketmon (pid {supervisor}): stop that one first"
        )


def require_free_port(name: str, port: int, *, patience_seconds: float = 0.0) -> None:
    """Checks that a port is free; patience lets a killed supervisor's children notice first. Raises RefusedError."""
    deadline = time.monotonic() + patience_seconds
    while (problem := _bind_problem(port)) == errno.EADDRINUSE and time.monotonic() < deadline:
        time.sleep(0.1)
    if problem is None:
        return
    words = {errno.EADDRINUSE: "is in use by another program", errno.EACCES: "may not be opened by this user"}
    reason = words.get(problem, f"cannot be opened ({os.strerror(problem)})")
    raise RefusedError(
        f"port {port} on 127.0.0.1 {reason}; choose another one: {name}={_free_port_after(port)} make run"
    )


def _bind_problem(port: int) -> int | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError as error:
            return error.errno
    return None


def _free_port_after(port: int) -> int:
    candidates = range(max(port, 1023) + 1, 65_536)
    return next((candidate for candidate in candidates[:100] if _bind_problem(candidate) is None), 8001)
