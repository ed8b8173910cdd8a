"""Processes that a benchmark starts and ends, and the ports they listen at."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lib.home import PROJECT_DIR

PATIENCE_SECONDS = 120.0  # tests run this while all other tests run
LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Site:
    """One web process as `make run` starts it, with more in its environment."""

    application: str = "marketmon.rsgi:application"
    interface: str = "rsgi"
    environ: Mapping[str, str] = field(default_factory=dict)

    def command(self, port: int) -> list[str]:
        return [
            *(sys.executable, "-m", "granian", "--interface", self.interface, "--host", "127.0.0.1"),
            *(
                "--port",
                str(port),
                "--workers",
                "1",
                "--http",
                "1",
                "--log-level",
                "error",
                "--no-ws",
                self.application,
            ),
        ]


@contextlib.contextmanager
def running_sites(*sites: Site) -> Iterator[list[int]]:
    """Their ports, once all of them listen; they start side by side."""
    with contextlib.ExitStack() as stack:
        ports = [free_port() for _ in sites]
        servers = [
            stack.enter_context(running(site.command(port), **site.environ))
            for site, port in zip(sites, ports, strict=True)
        ]
        for port, server in zip(ports, servers, strict=True):
            _wait_for_port(port, server)
        yield ports


@contextlib.contextmanager
def running(command: Sequence[str], **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """The process, silent, in our environment and more; it ends with the block."""
    one = subprocess.Popen(
        command, cwd=PROJECT_DIR, env={**os.environ, **environ}, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        yield one
    finally:
        one.terminate()
        try:
            one.wait(10)
        except subprocess.TimeoutExpired:
            one.kill()
            one.wait(10)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for_port(port: int, server: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if server.poll() is not None or time.monotonic() > give_up_at:
            raise RuntimeError(f"{server.args!r} did not come up")
        time.sleep(LOOK_SECONDS)
