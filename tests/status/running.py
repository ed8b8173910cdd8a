"""The real web server over the test database, in several processes."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil
from django.conf import settings

from embedded import process

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Web:
    """A running server; `workers` are the processes that answer."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def workers(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]

    def status(self, path: str, key: str) -> int | None:
        """None when the server died under the call."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path, headers={"X-API-Key": key})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


@contextlib.contextmanager
def web(*, processes: int = 1, database: str = "") -> Iterator[Web]:
    port = _free_port()
    command = [
        sys.executable, "-m", "granian", "--interface", "rsgi", "--host", "127.0.0.1", "--port", str(port),
        "--workers", str(processes), "--http", "1", "--log-level", "error", "--respawn-failed-workers",
        "--respawn-interval", "0.1", "--no-ws", "marketmon.rsgi:application",
    ]  # fmt: skip
    server = process.spawn(
        command, environ={**os.environ, **_environment(database)}, cwd=PROJECT, output=subprocess.DEVNULL
    )  # dies with the tests, however they end
    try:
        running = Web(port, server)
        _wait(running)
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(10)


def _environment(name: str) -> dict[str, str]:
    parts = urlsplit(os.environ["DATABASE_URL"])
    database = urlunsplit(parts._replace(path=f"/{name or settings.DATABASES['default']['NAME']}"))
    return {"DATABASE_URL": database, "LOG_LEVEL": "ERROR", "DJANGO_SETTINGS_MODULE": "marketmon.settings"}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(running: Web) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while running.status("/live", "") != 200:
        if running.process.poll() is not None or time.monotonic() > give_up_at:
            raise RuntimeError("the web server did not come up")
        time.sleep(0.05)
