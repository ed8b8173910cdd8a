"""The tests' hand on a sandbox process: faults, its request log, its truth."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

SLOWEST_MACHINE = 5  # times the seconds that a quiet machine needs
PROJECT = Path(__file__).resolve().parent.parent
START_SECONDS = 15.0


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox; `url` is what exchanges use as their base_url."""

    url: str

    def fault(self, exchange: str, kind: str, **details: Any) -> str:
        """Injects a fault and gives its id; see `sandbox/faults.py` for the kinds."""
        answer = requests.post(
            f"{self.url}/_sandbox/faults", json={"exchange": exchange, "kind": kind, **details}, timeout=5
        )
        assert answer.ok, answer.text
        return str(answer.json()["id"])

    def heal(self) -> None:
        for what in ("faults", "limits"):
            requests.delete(f"{self.url}/_sandbox/{what}", timeout=5).raise_for_status()

    def move_markets(self, exchange: str, **moves: list[str]) -> None:
        """`list`, `delist`, `halt` and `resume` hold symbols each."""
        requests.post(
            f"{self.url}/_sandbox/markets", json={"exchange": exchange, **moves}, timeout=5
        ).raise_for_status()

    def set_clock(self, exchange: str, **order: Any) -> None:
        """`clock` is price, stamp or both; `offset_seconds` a number, `frozen` true or false."""
        requests.post(f"{self.url}/_sandbox/clocks", json={"exchange": exchange, **order}, timeout=5).raise_for_status()

    def reset(self) -> None:
        """Every market and clock is as it was at the start."""
        requests.post(f"{self.url}/_sandbox/reset", json={}, timeout=5).raise_for_status()

    def limit(self, exchange: str, requests_: int, *, seconds: float, ban_seconds: float = 0.0) -> None:
        """From now on this venue counts, and answers 429 above."""
        order = {"exchange": exchange, "requests": requests_, "seconds": seconds, "ban_seconds": ban_seconds}
        requests.post(f"{self.url}/_sandbox/limits", json=order, timeout=5).raise_for_status()

    def counted(self, exchange: str) -> dict[str, Any]:
        """`most` in any window, `counted`, `refused`."""
        limits: list[dict[str, Any]] = requests.get(f"{self.url}/_sandbox/limits", timeout=5).json()
        return next(limit for limit in limits if limit["exchange"] == exchange)

    def requests_of(self, exchange: str, *, since: float = 0.0) -> list[dict[str, Any]]:
        answer = requests.get(
            f"{self.url}/_sandbox/requests", params={"exchange": exchange, "since": since, "limit": 10_000}, timeout=5
        )
        rows: list[dict[str, Any]] = answer.json()
        return rows

    def price(self, exchange: str, symbol: str, second: int) -> float:
        answer = requests.get(
            f"{self.url}/_sandbox/price", params={"exchange": exchange, "symbol": symbol, "second": second}, timeout=5
        )
        return float(answer.json()["price"])


@contextmanager
def running_sandbox(*arguments: str) -> Iterator[Sandbox]:
    """A sandbox of its own on a free port, stopped at the end."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--port", str(port), *arguments],
        cwd=PROJECT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    sandbox = Sandbox(f"http://127.0.0.1:{port}")
    try:
        wait_for_http(f"{sandbox.url}/_sandbox/health", seconds=START_SECONDS)
        yield sandbox
    finally:
        process.terminate()
        process.wait(timeout=10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_http(url: str, *, seconds: float) -> None:
    give_up_at = time.monotonic() + seconds
    while True:
        try:
            if requests.get(url, timeout=2).ok:
                return
        except (requests.ConnectionError, requests.Timeout):
            pass
        assert time.monotonic() < give_up_at, f"{url} did not answer within {seconds} s"
        time.sleep(0.05)
