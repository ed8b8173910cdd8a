"""Servers without a supervisor, for as long as a block lasts: those of tests and benchmarks."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from embedded import postgres, process, site

PATIENCE_SECONDS = 60.0


@contextlib.contextmanager
def running(command: list[str], place: site.Site, stop: signal.Signals) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server until the block ends, then stops it by `stop`; it dies with this process, however that ends."""
    with (place.folder / f"{Path(command[0]).name}.log").open("wb") as log:
        os.fchmod(log.fileno(), 0o600)
        server = process.spawn(
            command, environ=postgres.ENVIRON, account=place.account, death_signal=signal.SIGINT, output=log
        )
    try:
        yield server
    finally:
        server.send_signal(stop)
        server.wait(PATIENCE_SECONDS)


def wait_for(is_ready: Callable[[], bool], server: subprocess.Popen[bytes]) -> None:
    """Waits until the server is ready. Raises RuntimeError when it ends first, or is not ready in a minute."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_ready():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{server.args!r} did not come up")
        time.sleep(0.01)
