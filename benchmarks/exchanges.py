"""The sandbox as a process of its own, and plain ccxt clients for it: what the other side of a comparison uses."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psutil
import requests

from benchmarks.processes import free_port
from embedded import process
from feeds.ccxt.lazy import client_class
from feeds.ccxt.quirks import quirk_of
from feeds.shared.addresses import rebase
from lib.home import PROJECT_DIR

START_SECONDS = 20.0
PLAIN_OPTIONS: Mapping[str, Any] = {"enableRateLimit": False, "timeout": 10_000}


@dataclass(frozen=True, slots=True)
class Sandbox:
    url: str
    pid: int

    def exchange_ids(self) -> list[str]:
        found: list[str] = requests.get(f"{self.url}/_sandbox/health", timeout=5).json()["venues"]
        return found

    def request_count(self, exchange: str) -> int:
        parameters: dict[str, str | int] = {"exchange": exchange, "limit": 100_000}
        return len(requests.get(f"{self.url}/_sandbox/requests", params=parameters, timeout=30).json())


@contextlib.contextmanager
def running_sandbox(*, markets: int) -> Iterator[Sandbox]:
    port = free_port()
    server = process.spawn(
        [sys.executable, "-m", "sandbox", "--port", str(port), "--markets", str(markets)],
        environ={**os.environ, "PYTHONUNBUFFERED": "1"},
        cwd=PROJECT_DIR,
        output=subprocess.DEVNULL,
    )
    sandbox = Sandbox(f"http://127.0.0.1:{port}", server.pid)
    try:
        _wait_until_healthy(sandbox, server)
        yield sandbox
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)


def plain_client(exchange_id: str, base_url: str) -> Any:
    """ccxt as its manual shows it, with the same options that we give: only ours differs in what is measured."""
    options = dict(quirk_of(exchange_id).options)
    client = client_class(exchange_id)({**PLAIN_OPTIONS, "options": options})
    client.has["fetchCurrencies"] = client.has["fetchCurrencies"] and not quirk_of(exchange_id).skips_currencies
    client.urls["api"] = rebase(client.urls["api"], base_url)
    return client


def resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def _wait_until_healthy(sandbox: Sandbox, server: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(f"{sandbox.url}/_sandbox/health", timeout=2).ok:
                return
        if server.poll() is not None or time.monotonic() > give_up_at:
            raise RuntimeError("the sandbox did not come up")
        time.sleep(0.05)
