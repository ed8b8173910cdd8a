"""A sandbox process on a port of its own, clean for every test."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import orjson
import pytest

ROOT = Path(__file__).parents[2]


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Running:
    """A sandbox that listens: requests of clients go to `get` and `post`, the rest is its control."""

    url: str

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 0

    def get(self, target: str, **headers: str) -> Reply:
        return self._ask("GET", target, None, headers)

    def post(self, target: str, content: Any) -> Reply:
        return self._ask("POST", target, orjson.dumps(content), {"Content-Type": "application/json"})

    def order(self, kind: str, exchange: str = "kraken", *, params: dict[str, Any] | None = None, **when: Any) -> int:
        return int(self.control("faults", {"exchange": exchange, "kind": kind, "params": params or {}, **when})["id"])

    def control(self, what: str, order: Any = None) -> Any:
        reply = self.get(f"/_sandbox/{what}") if order is None else self.post(f"/_sandbox/{what}", order)
        assert reply.status == 200, reply.body
        return reply.content

    def log(self, exchange: str, path: str = "") -> list[dict[str, Any]]:
        return list(self.control(f"requests?exchange={exchange}&path={quote(path)}"))

    def _ask(self, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        connection = http.client.HTTPConnection(*self.address, timeout=5)
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            return Reply(response.status, dict(response.headers.items()), response.read())
        finally:
            connection.close()


def start(*options: str) -> tuple[subprocess.Popen[str], str]:
    """The process and the first line that it printed."""
    command = [sys.executable, "-m", "sandbox", *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline()


@pytest.fixture(scope="session")
def process() -> Iterator[Running]:
    process, line = start("--port", "0")
    found = re.search(r"http://[\d.:]+", line)
    assert found, process.communicate(timeout=5)
    yield Running(found.group())
    process.terminate()
    process.communicate(timeout=5)


@pytest.fixture
def sandbox(process: Running) -> Iterator[Running]:
    process.post("/_sandbox/reset", {})
    yield process
    process.post("/_sandbox/reset", {})
