"""The operators' promises, kept by the running system: supervisor, servers, web, worker, beat, pulse and sandbox."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis
import requests

from lib import clock, home
from tests.feeds.venue import open_venue
from tests.operations import venues
from tests.sandbox_client import PROJECT, Sandbox, free_port, wait_for_http
from tests.servers import system_home

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

INTERVAL_SECONDS = 4.0
START_SECONDS = 90.0


@dataclass
class System:
    """One installation in a folder of its own, used as its operator would."""

    folder: Path
    logs: Path
    port: int
    sandbox_port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        wanted = {"MARKETMON_HOME": str(self.folder), "PORT": str(self.port), "SANDBOX_PORT": str(self.sandbox_port)}
        wanted |= {"POLL_INTERVAL_SECONDS": str(INTERVAL_SECONDS), "SANDBOX_MARKETS": "40"}
        wanted |= {"POLL_DEADLINE_SECONDS": str(INTERVAL_SECONDS - 0.5)}
        own = {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "ADMIN_API_KEY", "SANDBOX_URL"}
        environ = {name: value for name, value in os.environ.items() if name not in own} | wanted
        with (self.logs / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up"], cwd=PROJECT, env=environ, stdout=log, stderr=log
            )
        wait_for_http(f"{self.url}/ready", seconds=START_SECONDS)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def sandbox(self) -> Sandbox:
        return Sandbox(f"http://127.0.0.1:{self.sandbox_port}")

    @property
    def valkey(self) -> redis.Redis:
        url = home.read_env_file(self.folder / home.RUNTIME_FILE)["REDIS_URL"]
        return redis.Redis.from_url(url, decode_responses=True)

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        key = home.read_env_file(self.folder / home.SECRETS_FILE)["ADMIN_API_KEY"]
        return requests.request(
            method, f"{self.url}/api/v1/{path}", json=body, headers={"X-Admin-Key": key}, timeout=60
        )

    def workers(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.ask("GET", "exchanges/workers/status").json()["workers"]
        return found

    def peak(self, exchange: str) -> int:
        """The most requests of an exchange that were under way at once."""
        peaks: dict[str, int] = requests.get(f"{self.sandbox.url}/_sandbox/concurrency", timeout=5).json()
        return peaks[exchange]

    def runs(self, exchange: str, *, since: datetime) -> list[dict[str, Any]]:
        query = f"runs?exchange={exchange}&limit=200&started_after={since.isoformat().replace('+00:00', 'Z')}"
        rows: list[dict[str, Any]] = self.ask("GET", query).json()["results"]
        return rows

    def moments(self, exchange: str, *, since: datetime) -> list[float]:
        """When something of an exchange was stored, by poll or stream, and the two ends of the time looked at."""
        url = home.read_env_file(self.folder / home.RUNTIME_FILE)["DATABASE_URL"]
        with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT extract(epoch FROM t.received_at)::float8 FROM collectors_tick t "
                "JOIN exchanges_market m ON m.id = t.pipeline_id WHERE m.exchange_id = %s AND t.received_at > %s",
                (exchange, since),
            )
            return sorted({since.timestamp(), time.time(), *(at for (at,) in cursor.fetchall())})

    def command(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", "exchange", *words],
            cwd=PROJECT,
            env={**os.environ, "MARKETMON_HOME": str(self.folder), "SANDBOX_PORT": str(self.sandbox_port)}
            | home.read_env_file(self.folder / home.SECRETS_FILE)
            | home.read_env_file(self.folder / home.RUNTIME_FILE)
            | {"ALLOW_PRIVATE_EXCHANGE_URLS": "1"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    logs = tmp_path_factory.mktemp("system")
    with system_home(keep_logs_in=logs) as folder:
        running = System(folder, logs, free_port(), free_port())
        try:
            running.start()
            wait_until(lambda: all(worker["last_update"] for worker in running.workers().values()), seconds=40)
            yield running
        finally:
            running.stop()


def wait_until(is_so: Callable[[], Any], *, seconds: float) -> float:
    """How long it took."""
    begun = time.monotonic()
    while not is_so():
        assert time.monotonic() - begun < seconds, f"not within {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - begun


def longest_pause(moments: list[float]) -> float:
    return max((later - sooner for sooner, later in pairwise(moments)), default=0.0)


def test_three_unseen_exchanges_are_added_and_nobody_else_loses_a_slot(system: System) -> None:
    begun = clock.now() - timedelta(seconds=INTERVAL_SECONDS)
    with open_venue() as venue:
        venue.answers = dict(venues.answers())
        took = {}
        for name in venues.NAMES:
            answer = system.ask("POST", f"exchanges/add/{name}", {"base_url": venue.base_url})
            assert answer.status_code == 200, answer.text
            assert answer.json()["connectivity"]["health"] == "ok"
            took[name] = wait_until(lambda name=name: system.workers()[name]["last_update"], seconds=INTERVAL_SECONDS)
        time.sleep(INTERVAL_SECONDS)
        for exchange in ("binance", "coinbase", "hyperliquid", "kraken", "luno"):
            assert {run["outcome"] for run in system.runs(exchange, since=begun)} <= {"stored"}
            assert longest_pause(system.moments(exchange, since=begun)) < 2 * INTERVAL_SECONDS  # no slot was lost

        system.stop()
        system.start()

        started = clock.seconds_z(clock.now())
        wait_until(lambda: all(system.workers()[name]["last_update"] > started for name in venues.NAMES), seconds=40)
        assert {system.workers()[name]["status"] for name in venues.NAMES} == {"running"}
        for name in venues.NAMES:
            assert system.command("remove", name).startswith("removed")


def test_a_storm_of_verbs_leaves_one_collector_without_overlap(system: System) -> None:
    calls = [
        ("POST", "exchanges/workers/kraken/restart"),
        ("POST", "exchanges/blacklist/kraken"),
        ("DELETE", "exchanges/blacklist/kraken"),
    ]
    begun = time.time()
    requests.delete(f"{system.sandbox.url}/_sandbox/requests", timeout=5).raise_for_status()
    # A stream would ask once in three intervals; polls show who asks.
    assert system.ask("PATCH", "exchanges/kraken/settings", {"transport": "poll"}).status_code == 200

    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda number: system.ask(*calls[number % 3]), range(50)))

    said = sorted({(answer.status_code, answer.json().get("message", "")) for answer in answers})
    assert all(status == 200 or (status == 500 and "blacklisted" in message) for status, message in said)
    assert system.ask("DELETE", "exchanges/blacklist/kraken").status_code == 200
    wait_until(lambda: system.workers()["kraken"]["status"] == "running", seconds=3 * INTERVAL_SECONDS)
    time.sleep(5.5 * INTERVAL_SECONDS)
    asked = [row["at"] for row in system.sandbox.requests_of("kraken", since=begun) if "Ticker" in json.dumps(row)]
    settled = [at for at in asked if at > time.time() - 5 * INTERVAL_SECONDS]
    assert 3 <= len(settled) <= 6  # one collector asks five times, two would ask ten times
    assert system.peak("kraken") == 1


def test_after_a_blacklist_nobody_is_called(system: System) -> None:
    answer = system.ask("POST", "exchanges/blacklist/luno", {"reason": "acceptance"})
    stopped_at = time.time()

    time.sleep(2.5 * INTERVAL_SECONDS)

    assert answer.status_code == 200
    assert "X-Worker-Restart-Warning" not in answer.headers
    assert system.sandbox.requests_of("luno", since=stopped_at) == []
    assert system.workers()["luno"]["status"] == "stopped"
    gaps = system.ask("GET", "gaps?exchange=luno&open=true").json()["results"]
    assert gaps == []
    assert system.ask("DELETE", "exchanges/blacklist/luno").headers["X-Worker-Restart-Info"] == "Worker restarted"
    wait_until(lambda: system.sandbox.requests_of("luno", since=stopped_at), seconds=INTERVAL_SECONDS)


def test_the_cache_is_what_a_plain_client_reads(system: System) -> None:
    config, supported = system.ask("GET", "exchanges/config"), system.ask("GET", "exchanges/supported")
    plain = system.valkey

    assert json.loads(plain.get("exchange:supported")) == supported.json()
    assert json.loads(plain.get("exchange:config"))["activeExchanges"] == config.json()["activeExchanges"]
    assert 3500 < plain.ttl("exchange:config") <= 3600
    assert 1700 < plain.ttl("exchange:supported") <= 1800
    system.command("disable", "coinbase")
    assert plain.exists("exchange:config", "exchange:supported") == 0
    assert "coinbase" not in system.ask("GET", "exchanges/supported").json()["exchanges"]
    plain.flushall()
    assert "coinbase" not in system.ask("GET", "exchanges/supported").json()["exchanges"]
    system.command("enable", "coinbase")
    assert "coinbase" in system.ask("GET", "exchanges/supported").json()["exchanges"]


def test_an_entry_expires_by_itself(system: System) -> None:
    ends = clock.now() + timedelta(seconds=4)
    entry = {"reason": "for a moment", "expires_at": ends.isoformat()}
    system.ask("POST", "exchanges/blacklist/coinbase", entry)
    assert "coinbase" not in system.ask("GET", "exchanges/supported").json()["exchanges"]

    wait_until(lambda: "coinbase" in system.ask("GET", "exchanges/supported").json()["exchanges"], seconds=8)

    assert clock.now() >= ends


def test_a_market_is_taken_out_and_comes_back(system: System) -> None:
    def newest() -> str:
        rows = system.ask("GET", "pipelines?exchange=binance&symbol=BTC/USDT").json()["results"]
        return str(rows[0]["received_at"])

    assert system.ask("POST", "exchanges/blacklist/binance:BTC/USDT").json()["blacklistedMarkets"] == [
        "binance:BTC/USDT"
    ]
    time.sleep(1)
    held = newest()
    time.sleep(1.5 * INTERVAL_SECONDS)
    assert newest() == held

    assert system.ask("DELETE", "exchanges/blacklist/binance:BTC/USDT").status_code == 200
    wait_until(lambda: newest() > held, seconds=2 * INTERVAL_SECONDS)
    gaps = system.ask("GET", "gaps?exchange=binance&symbol=BTC/USDT").json()["results"]
    assert not [gap for gap in gaps if gap["started_at"] >= held]


def test_preview_undo_plan_and_apply(system: System, tmp_path: Path) -> None:
    assert "lose their last source" in system.command("preview", "luno")
    system.command("blacklist", "hyperliquid", "--reason", "acceptance")
    entry = system.command("history", "hyperliquid").split()[0]
    assert system.command("undo", entry) == "undone: blacklist hyperliquid\n"
    assert "hyperliquid" in system.ask("GET", "exchanges/supported").json()["exchanges"]
    file = tmp_path / "plan.yaml"
    file.write_text("exchanges:\n  kraken: {poll_interval_seconds: 5}\n  luno: {enabled: false}\n", encoding="utf-8")
    planned = system.command("plan", str(file))
    assert planned.splitlines() == [
        f"~ kraken: poll_interval_seconds: {INTERVAL_SECONDS} -> 5",
        "~ luno: disable",
        "2 changes",
    ]
    system.command("apply", str(file))
    assert system.command("plan", str(file)) == "nothing to change\n"
    assert system.ask("GET", "exchanges/kraken/settings").json()["poll_interval_seconds"] == 5
    wait_until(lambda: system.workers()["luno"]["status"] == "stopped", seconds=5)
    as_it_was = f"exchanges:\n  kraken: {{poll_interval_seconds: {INTERVAL_SECONDS}}}\n  luno: {{}}\n"
    file.write_text(as_it_was, encoding="utf-8")
    system.command("apply", str(file))
    wait_until(lambda: system.workers()["luno"]["status"] == "running", seconds=2 * INTERVAL_SECONDS)


def test_with_valkey_stopped_the_catalogue_is_served(system: System) -> None:
    pid = int(system.valkey.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = system.ask("GET", "exchanges/supported")
        assert answer.status_code == 200
        assert answer.json()["count"] >= 4
        assert system.ask("GET", "exchanges/config").status_code == 200
    finally:
        os.kill(pid, signal.SIGCONT)
