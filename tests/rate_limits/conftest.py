"""Eight real processes at one simulated exchange, with a Valkey of their own that a test may stop."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
from django.conf import settings as django_settings

from collectors.history import partitions
from collectors.polling import poll
from embedded import process
from exchanges.models import SANDBOX_PLACEHOLDER, Exchange
from lib import clock
from operations import commands
from tests.sandbox_client import PROJECT, Sandbox
from tests.servers import throwaway_servers

LIMIT, WINDOW_SECONDS = 20, 1.0


@dataclass
class Crowd:
    sandbox: Sandbox
    folder: Path
    valkey_home: Path
    _valkey: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    valkey_url: str = ""

    def start_valkey(self) -> None:
        self.valkey_url = self._valkey.enter_context(throwaway_servers(self.valkey_home, {"REDIS_URL"}))["REDIS_URL"]
        with redis.Redis.from_url(self.valkey_url) as client:
            self.wait_for(lambda: _answers(client), seconds=10, what="Valkey")

    def stop_valkey(self) -> None:
        self._valkey.close()

    @property
    def calls(self) -> list[dict[str, Any]]:
        """What the eight have written down; one half-written line may end it."""
        lines = (self.folder / "crowd.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith('{"role"') and line.endswith("}")]

    def wait_for(self, is_so: Callable[[], bool], *, seconds: float, what: str) -> None:
        give_up_at = time.monotonic() + seconds
        while not is_so():
            log = (self.folder / "crowd.log").read_text()[-3000:]
            assert time.monotonic() < give_up_at, f"not within {seconds} s: {what}\n{self.calls[-10:]}\n{log}"
            time.sleep(0.02)

    def outcomes(self, role: str, *, since: float, until: float = float("inf")) -> list[str]:
        """Of calls that lie wholly in this time."""
        return [
            call["outcome"]
            for call in self.calls
            if call["role"] == role and call["began"] >= since and call["ended"] <= until
        ]

    def arrivals(self, *, since: float = 0.0, until: float = float("inf")) -> list[float]:
        return [row["at"] for row in self.sandbox.requests_of("luno", since=since) if row["at"] <= until]

    def let_pass(self, seconds: float) -> tuple[float, float]:
        begun = time.time()
        self.wait_for(lambda: time.time() - begun >= seconds, seconds=seconds + 5, what="time")
        return begun, time.time()


def most_in_a_window(moments: list[float], seconds: float) -> int:
    """Wherever the window begins."""
    return max((sum(1 for m in moments if at <= m < at + seconds) for at in moments), default=0)


@pytest.fixture
def crowd(sandbox: Sandbox, transactional_db: None, settings: Any, tmp_path: Path) -> Iterator[Crowd]:
    """Luno, which allows 20 requests a second, polled a moment ago; the eight are running."""
    partitions.ensure(clock.now())
    commands.create("luno", by="test", now=clock.now(), base_url=SANDBOX_PLACEHOLDER, poll_interval_seconds=1)
    Exchange.objects.update(budget_units=LIMIT, budget_seconds=WINDOW_SECONDS)
    assert poll.collect_once("luno", now=clock.now()) == "stored"
    sandbox.limit("luno", LIMIT, seconds=WINDOW_SECONDS, ban_seconds=5)
    valkey_home = Path(tempfile.mkdtemp(prefix="crowd-"))
    valkey_home.chmod(0o711)  # the server is not root
    found = Crowd(sandbox, tmp_path, valkey_home)
    with (tmp_path / "crowd.log").open("wb") as log:
        found.start_valkey()
        running = process.spawn(
            [sys.executable, "-m", "tests.rate_limits.crowd", "luno"],
            environ={**os.environ, **_environment(sandbox, found)}, cwd=PROJECT, output=log,
        )  # fmt: skip
    found.wait_for(lambda: len({call["number"] for call in found.calls}) == 8, seconds=30, what="all eight")
    yield found
    running.send_signal(signal.SIGTERM)
    running.wait(10)
    found.stop_valkey()
    shutil.rmtree(valkey_home, ignore_errors=True)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _environment(sandbox: Sandbox, crowd: Crowd) -> dict[str, str]:
    parts = urlsplit(os.environ["DATABASE_URL"])
    database = urlunsplit(parts._replace(path=f"/{django_settings.DATABASES['default']['NAME']}"))
    return {
        "DATABASE_URL": database,
        "REDIS_URL": crowd.valkey_url,
        "SANDBOX_URL": sandbox.url,
        "POLL_DEADLINE_SECONDS": "4",
        "LOG_LEVEL": "WARNING",
    }
