"""Real stream processes over the test database, listening to a sandbox of their own that talks five times a second."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import requests
from django.conf import settings as django_settings
from django.db import connection
from django.test import override_settings

from collectors.gaps import sweep
from collectors.history import partitions
from collectors.models import Gap, Pipeline, Stream, Switch, Tick
from collectors.polling import poll
from collectors.rules.gaps import is_gap
from embedded import process
from exchanges.models import Exchange
from feeds import close_feeds
from lib import clock, valkey
from tests.conftest import empty_tables
from tests.sandbox_client import PROJECT, SLOWEST_MACHINE, Sandbox, running_sandbox
from tests.world import onboard

STREAMED = ("binance", "binanceusdm", "coinbase", "hyperliquid", "kraken", "valr")
SILENCE_SECONDS = 1.2
LEASE_SECONDS = 2.0
LEASE_MARGIN_SECONDS = 2.0
INTERVAL_SECONDS = 0.5
# Between two polls of each, when all are listened to: what the venue's REST allows, and a busy machine keeps up with.
PACES = {"binance": 1.0, "binanceusdm": 2.0, "coinbase": 1.0, "hyperliquid": 1.0, "kraken": 1.0, "valr": 2.0}
SWEEP_SECONDS = 0.5
WEBSOCKETS = r"(stream\.binance\.com|ws\.kraken|advanced-trade-ws|xyz/ws|valr.com/ws)"
HURRIED = {
    "STREAM_SILENCE_SECONDS": str(SILENCE_SECONDS),
    "STREAM_CONNECT_SECONDS": "2",
    "STREAM_LEASE_SECONDS": str(LEASE_SECONDS),
    "STREAM_FLUSH_SECONDS": "0.3",
    "STREAM_SHADOW_INTERVALS": "3",
    "STREAM_BACKOFF_MAX_SECONDS": "0.4",
    "STREAM_PING_SECONDS": "0.6",
    "POLL_DEADLINE_SECONDS": "4",
    "LOG_LEVEL": "INFO",
}
SHORTENED = {
    "collectors.streaming.blocking_calls.RUN_SECONDS": 0.5,
    "collectors.streaming.handshake.GOOD_UPDATES": 2,
    "collectors.rules.streams.BACKOFF_SECONDS": 0.2,
}


@pytest.fixture(scope="session")
def talkative_sandbox() -> Iterator[Sandbox]:
    with running_sandbox("--markets", "30", "--stream-seconds", "0.2") as sandbox:
        yield sandbox


@dataclass
class Site:
    """Exchanges that are to be listened to, the processes that do it, and what both left behind."""

    sandbox: Sandbox
    logs: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add(self, *exchange_ids: str, transport: str = "auto", intervals: Mapping[str, float] | None = None) -> None:
        """Made by the operators' verb; the first poll, as Celery would do it, brings the markets."""
        for exchange_id in exchange_ids:
            seconds = (intervals or {}).get(exchange_id, INTERVAL_SECONDS)
            onboard(exchange_id, poll_interval_seconds=seconds, transport=transport)
        with ThreadPoolExecutor(len(exchange_ids)) as pool:
            assert set(pool.map(collect, exchange_ids)) == {"stored"}

    def start(self, *, shortened: Mapping[str, float] | None = None, **settings: str) -> subprocess.Popen[bytes]:
        begun_before = len(list(self.logs.glob("stream-*.log")))
        started = spawn(self.sandbox, self.logs / f"stream-{begun_before}.log", shortened=shortened, **settings)
        self.processes.append(started)
        return started

    def keep(self, count: int) -> None:
        """So many processes that live, whoever ran or died before."""
        self.processes = [running for running in self.processes if running.poll() is None]
        while len(self.processes) > count:
            end(self.processes.pop())
        while len(self.processes) < count:
            self.start()

    def stop_all(self) -> None:
        while self.processes:
            end(self.processes.pop())

    def retire(self) -> None:
        """Nobody listens or stores any more, so that the tables can be emptied."""
        self.stop_all()
        Exchange.objects.update(enabled=False)
        self.wait_until(lambda: not Stream.objects.filter(held_until__gt=clock.now()).exists(), seconds=10, what="rest")

    def delivering(self) -> set[str]:
        return set(Stream.objects.filter(is_delivering=True).values_list("exchange_id", flat=True))

    def holders(self) -> dict[str, str]:
        return dict(Stream.objects.filter(is_delivering=True).values_list("exchange_id", "holder"))

    def switches(self, exchange_id: str, *, since: float = 0.0) -> list[tuple[str, str]]:
        rows = Switch.objects.filter(exchange_id=exchange_id, happened_at__gt=at(since)).order_by("happened_at", "id")
        return list(rows.values_list("to_transport", "reason"))

    def switched_to_polls(self, since: float) -> dict[str, float]:
        """When, for those that were."""
        rows = Switch.objects.filter(to_transport="poll", happened_at__gt=at(since)).order_by("-happened_at")
        return {switch.exchange_id: switch.happened_at.timestamp() for switch in rows}

    def rows(self, exchange_id: str, *, since: float) -> int:
        ticks = Tick.objects.filter(received_at__gt=at(since), pipeline__market__exchange_id=exchange_id)
        return ticks.count()

    def gaps(self, exchange_id: str, *, since: float = 0.0, until: float = math.inf) -> list[Gap]:
        """By the moment at which the silence began."""
        gaps = Gap.objects.filter(pipeline__market__exchange_id=exchange_id, started_at__gte=at(since))
        return [gap for gap in gaps.order_by("started_at") if gap.started_at.timestamp() <= until]

    def judged_gaps(self, exchange_id: str, *, since: float, until: float) -> list[Gap]:
        """When a sweep has seen them all."""
        self.wait_until(
            lambda: all(gap.ended_at and gap.is_judged for gap in self.gaps(exchange_id, since=since, until=until)),
            seconds=5 * SWEEP_SECONDS,
            what=f"the end and the cause of {exchange_id}'s gaps",
        )
        return self.gaps(exchange_id, since=since, until=until)

    def silences(self, exchange_id: str, *, since: float, until: float) -> set[tuple[int, datetime, datetime]]:
        """What has to be a gap, by the rows themselves: pipeline, last row before, first row after."""
        expected = Pipeline.objects.filter(market__exchange_id=exchange_id).values_list("pk", "expected_seconds")
        ticks = Tick.objects.filter(received_at__gte=at(since), pipeline__market__exchange_id=exchange_id)
        moments: dict[int, list[datetime]] = {}
        for pipeline_id, received_at in ticks.order_by("received_at").values_list("pipeline_id", "received_at"):
            moments.setdefault(pipeline_id, []).append(received_at)
        return {
            (pipeline_id, earlier, later)
            for pipeline_id, seconds in expected
            for earlier, later in itertools.pairwise(moments.get(pipeline_id, []))
            if is_gap(earlier, later, seconds) and earlier.timestamp() <= until
        }

    def lift(self, fault_ids: Iterable[str]) -> None:
        for fault_id in fault_ids:
            requests.delete(f"{self.sandbox.url}/_sandbox/faults/{fault_id}", timeout=5)  # gone already: it is used up

    def connections(self, exchange_id: str, *, since: float = 0.0) -> list[dict[str, Any]]:
        asked = self.sandbox.requests_of(exchange_id, since=since)
        return [request for request in asked if request["method"] == "OPEN"]

    def open_connections(self, exchange_id: str) -> list[dict[str, Any]]:
        return [one for one in self.connections(exchange_id) if one["ended_at"] is None]

    def longest_silence(self, exchange_id: str, *, since: float) -> float:
        """Between two of its rows, in seconds."""
        ticks = Tick.objects.filter(received_at__gt=at(since), pipeline__market__exchange_id=exchange_id)
        moments = sorted(moment.timestamp() for moment in ticks.values_list("received_at", flat=True))
        return max((later - earlier for earlier, later in itertools.pairwise(moments)), default=math.inf)

    def subscriptions(self, exchange_id: str) -> list[str]:
        asked = self.sandbox.requests_of(exchange_id)
        return [request["query"] for request in asked if request["method"] == "SEND"]

    def simultaneous_connections(self, exchange_id: str, *, since: float) -> int:
        """Pairs of websocket connections that were open at once. Each of these exchanges fits into one."""
        spans = sorted(
            (one["at"], one["ended_at"] or time.time()) for one in self.connections(exchange_id, since=since)
        )
        return sum(later[0] < earlier[1] for earlier, later in itertools.pairwise(spans))

    def wait_until(self, is_so: Callable[[], bool], *, seconds: float, what: str) -> float:
        """Returns how long it took: `seconds` on a quiet machine, and a slow one gets five times that."""
        began = time.monotonic()
        while not is_so():
            if time.monotonic() - began > seconds * SLOWEST_MACHINE:
                logs = "\n".join(path.read_text()[-6000:] for path in sorted(self.logs.glob("*.log")))
                pytest.fail(f"not within {seconds} s: {what}\n{logs}")
            time.sleep(0.1)
        return time.monotonic() - began

    def wait_for_all(
        self, exchange_ids: Iterable[str], is_so: Callable[[str], bool], *, seconds: float, what: str
    ) -> float:
        """How long the last one took."""
        began = time.monotonic()
        for exchange_id in exchange_ids:
            left = seconds - (time.monotonic() - began)
            self.wait_until(partial(is_so, exchange_id), seconds=left, what=f"{what} of {exchange_id}")
        return time.monotonic() - began

    def wait_for_streams(self, *exchange_ids: str, seconds: float = 15) -> float:
        wanted = set(exchange_ids)
        return self.wait_until(lambda: wanted <= self.delivering(), seconds=seconds, what=f"streams of {wanted}")


def collect(exchange_id: str) -> str:
    try:
        return poll.collect_once(exchange_id, now=clock.now())
    finally:
        connection.close()  # this thread's own


@contextlib.contextmanager
def sweeping() -> Iterator[None]:
    """As the pulse does: silences become gaps, and gaps get their cause."""
    ended = threading.Event()

    def sweep_on() -> None:
        try:
            while not ended.wait(SWEEP_SECONDS):
                sweep.run(clock.now())
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(sweep_on)
        try:
            yield
        finally:
            ended.set()
            running.result()


def spawn(
    sandbox: Sandbox, log: Path, *, shortened: Mapping[str, float] | None = None, **settings: str
) -> subprocess.Popen[bytes]:
    constants = [f"{name}={value}" for name, value in {**SHORTENED, **(shortened or {})}.items()]
    with log.open("wb") as output:
        return process.spawn(
            [sys.executable, "-m", "tests.streaming.hurried", *constants],
            environ={**os.environ, **environment(sandbox.url), **settings},
            cwd=PROJECT,
            output=output,
        )


def end(running: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGCONT)
        os.kill(running.pid, signal.SIGTERM)
    try:
        running.wait(10)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait(10)


def at(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


def environment(sandbox_url: str) -> dict[str, str]:
    parts = urlsplit(os.environ["DATABASE_URL"])
    database = urlunsplit(parts._replace(path=f"/{django_settings.DATABASES['default']['NAME']}"))
    return {"DATABASE_URL": database, "SANDBOX_URL": sandbox_url, **HURRIED}


@pytest.fixture(scope="module")
def listener(talkative_sandbox: Sandbox, django_db_setup: None, tmp_path_factory: Any) -> Iterator[Path]:
    """One process that lives through a module's tests; the path of its log."""
    log = tmp_path_factory.mktemp("listener") / "stream.log"
    running = spawn(talkative_sandbox, log)
    yield log
    end(running)


@contextlib.contextmanager
def open_site(sandbox: Sandbox, logs: Path) -> Iterator[Site]:
    """Nobody listens yet; in the end nobody does any more."""
    with override_settings(SANDBOX_URL=sandbox.url, ALLOW_PRIVATE_EXCHANGE_URLS=True):
        valkey.client().flushdb()
        requests.post(f"{sandbox.url}/_sandbox/reset", timeout=5).raise_for_status()
        partitions.ensure(clock.now())
        site = Site(sandbox, logs)
        yield site
        sandbox.heal()
        site.retire()
        close_feeds()


@pytest.fixture
def site(talkative_sandbox: Sandbox, transactional_db: None, listener: Path) -> Iterator[Site]:
    with open_site(talkative_sandbox, listener.parent) as site:
        yield site


@pytest.fixture(scope="module")
def crowd(
    talkative_sandbox: Sandbox, django_db_setup: None, django_db_blocker: Any, tmp_path_factory: Any
) -> Iterator[Site]:
    """All exchanges that can be listened to, kept through a module's tests: each market list costs a second."""
    with django_db_blocker.unblock(), open_site(talkative_sandbox, tmp_path_factory.mktemp("crowd")) as site:
        site.add(*STREAMED, intervals=PACES)
        with sweeping():
            yield site
        empty_tables()
