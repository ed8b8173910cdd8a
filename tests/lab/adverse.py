"""A whole system of its own, with several worker processes and a stream process, that collects the sandbox's
adversaries, and what they say that they have sent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.sandbox_client import PROJECT, START_SECONDS, free_port, wait_for_http
from tests.servers import system_home
from tests.system.conftest import System, clean_environment

READY_SECONDS = 400
INTERVAL_SECONDS = 3.0
STORED = """
SELECT m.venue_id, t.last, extract(epoch FROM t.exchange_at)::float8, extract(epoch FROM t.received_at)::float8
FROM collectors_tick AS t JOIN exchanges_market AS m ON m.id = t.pipeline_id WHERE m.exchange_id = %s
"""
# Listed markets without a row since then, a gap, or a word about them: halted, refused, of a part that is missing, or
# of an exchange that fails.
UNEXPLAINED = """
SELECT wanted.venue_id, m.symbol, m.state, p.received_at::text
FROM unnest(%s::text[]) AS wanted (venue_id)
LEFT JOIN exchanges_market AS m ON m.venue_id = wanted.venue_id AND m.exchange_id = %s
LEFT JOIN collectors_pipeline AS p ON p.market_id = m.id
WHERE m.id IS NULL OR NOT m.active OR (
    m.halted_at IS NULL AND NOT COALESCE(p.received_at >= to_timestamp(%s), false)
    AND NOT EXISTS (SELECT FROM collectors_gap AS g WHERE g.pipeline_id = m.id AND g.ended_at IS NULL)
    AND NOT EXISTS (SELECT FROM collectors_run AS r WHERE r.exchange_id = m.exchange_id
                    AND r.started_at >= to_timestamp(%s) AND r.quarantine::text LIKE '%%' || m.symbol || '%%'))
"""


@dataclass(frozen=True)
class Adversaries:
    """A running `python -m sandbox adversary`."""

    url: str

    def order(self, name: str, **details: Any) -> None:
        requests.post(f"{self.url}/_adversary/{name}", json=details, timeout=30).raise_for_status()

    def served(self, venue: str) -> dict[str, Any]:
        answer = requests.get(f"{self.url}/_adversary/served", params={"venue": venue}, timeout=60)
        answer.raise_for_status()
        return dict(answer.json())


@contextlib.contextmanager
def adversaries(seed: int) -> Iterator[Adversaries]:
    port = free_port()
    command = [sys.executable, "-m", "sandbox", "--port", str(port), "adversary", "--seed", str(seed)]
    process = subprocess.Popen(command, cwd=PROJECT, env=os.environ, stdout=subprocess.DEVNULL)
    try:
        wait_for_http(f"http://127.0.0.1:{port}/_adversary/served?venue=gate", seconds=START_SECONDS)
        yield Adversaries(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=10)


@dataclass
class AdverseSystem:
    """A running marketmon whose exchanges are adversaries."""

    system: System
    their: Adversaries

    @property
    def url(self) -> str:
        return self.system.url

    def add(self, venue: str, *, transport: str = "poll") -> None:
        key = self.system.environment("secrets.env")["ADMIN_API_KEY"]
        order = {
            "base_url": f"{self.their.url}/{venue}", "poll_interval_seconds": INTERVAL_SECONDS, "transport": transport,
            "budget_units": 1000, "budget_seconds": 1,
        }  # fmt: skip
        address = f"{self.url}/api/v1/exchanges/add/{venue}"
        answer = requests.post(address, json=order, headers={"X-Admin-Key": key}, timeout=60)
        assert answer.ok, answer.text

    def refresh(self) -> None:
        key = self.system.environment("secrets.env")["ADMIN_API_KEY"]
        requests.post(f"{self.url}/api/v1/exchanges/refresh", headers={"X-Admin-Key": key}, timeout=60)

    def wait_until(self, is_so: Callable[[], Any], *, what: str, seconds: float = 120) -> None:
        began = time.monotonic()
        while not is_so():
            assert time.monotonic() - began < seconds, f"not within {seconds} s: {what}"
            time.sleep(0.5)

    def stored_since(self, venue: str, moment: float) -> int:
        return self.system.rows_since(venue, moment)

    def not_sent(self, venue: str) -> tuple[int, list[str]]:
        """How many rows are stored, and those of them that the exchange never sent for this id and stamp."""
        rows = self.system.sql(STORED, venue)  # before what was served: whatever is stored was served before
        told = self.their.served(venue)["served"]
        sent = {id_: {float(price): stamp for price, stamp in prices.items()} for id_, prices in told.items()}
        return len(rows), [word for row in rows if (word := _fault(venue, sent, *row))]

    def unexplained(self, venue: str, *, since: float) -> list[tuple[Any, ...]]:
        """Listed and traded markets of which nothing was stored since then and nothing is said."""
        wanted = [id_ for id_, is_halted in self.their.served(venue)["listed"].items() if not is_halted]
        failing = self.system.sql("SELECT error_count FROM collectors_worker WHERE exchange_id = %s", venue)
        return [] if failing[0][0] else self.system.sql(UNEXPLAINED, wanted, venue, since, since)


def _fault(venue: str, sent: Any, id_: str, last: float, stamp: float | None, received_at: float) -> str:
    if last not in sent.get(id_, {}):
        return f"{venue}: {id_} has {last}: nobody sent that for it"
    said = sent[id_][last]
    if stamp is not None and said is not None and abs(stamp * 1000 - said) > 1:
        return f"{venue}: {id_} at {stamp}, sent with {said}"
    return "" if received_at < time.time() + 1 else f"{venue}: {id_} received at {received_at}"


@contextlib.contextmanager
def adverse_system(logs: Path, their: Adversaries, **settings: str) -> Iterator[AdverseSystem]:
    """Starts the system with a second worker beside its own, so that two pools of processes share the polls."""
    port = free_port()
    environment = clean_environment() | {
        "PORT": str(port), "SANDBOX": "off", "WORKER_CONCURRENCY": "3", "POLL_DEADLINE_SECONDS": "8",
        "ALLOW_PRIVATE_EXCHANGE_URLS": "on", "FROZEN_AFTER_SECONDS": "20", **settings,
    }  # fmt: skip
    with system_home(keep_logs_in=logs) as home, (logs / "up.log").open("wb") as output:
        environment["MARKETMON_HOME"] = str(home)
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up"], cwd=PROJECT, env=environment, stdout=output, stderr=output
        )
        system = System(f"http://127.0.0.1:{port}", home, process, None)  # type: ignore[arg-type]
        try:
            wait_for_http(f"{system.url}/live", seconds=READY_SECONDS)
            with second_worker(system, environment, output):
                yield AdverseSystem(system, their)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


@contextlib.contextmanager
def second_worker(system: System, environment: dict[str, str], output: Any) -> Iterator[None]:
    environ = environment | system.environment("runtime.env") | {"MARKETMON_HOME": str(system.home)}
    command = [sys.executable, "-m", "celery", "-A", "marketmon", "worker", "--pool", "prefork", "--concurrency", "2",
               "--queues", "poll,default", "--hostname", "second@%h"]  # fmt: skip
    process = subprocess.Popen(command, cwd=PROJECT, env=environ, stdout=output, stderr=output)
    try:
        yield
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            for each in [*children, process]:
                with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                    each.kill()


def rates(running: AdverseSystem, pairs: Collection[str]) -> list[dict[str, Any]]:
    key = running.system.environment("demo_keys.env")["DEMO_KEY_BUSINESS"]
    answer = requests.get(
        f"{running.url}/v1/rates/live", params={"pairs": ",".join(pairs), "max_age": 60}, headers={"X-API-Key": key},
        timeout=30,
    )  # fmt: skip
    assert answer.status_code in (200, 503), answer.text
    return list(answer.json().get("rates", [])) if answer.status_code == 200 else []


__all__ = ["Adversaries", "AdverseSystem", "adversaries", "adverse_system", "rates"]
