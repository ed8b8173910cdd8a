"""The whole system as a newcomer starts it, in a folder of its own, polling every two seconds."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
import requests

from marketmon.management.commands.sync import SIMULATED
from tests.sandbox_client import PROJECT, SLOWEST_MACHINE, Sandbox, free_port, wait_for_http
from tests.servers import system_home

INTERVAL_SECONDS = 2.0
START_SECONDS = 240.0
# Set by tests.servers for the other tests; this system brings its own.
OF_THE_TESTS = {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "ADMIN_API_KEY", "MARKETMON_HOME", "DJANGO_SETTINGS_MODULE"}


@dataclass
class System:
    """A running marketmon: its pages, its processes, its database, and the exchanges it collects from."""

    url: str
    home: Path
    process: subprocess.Popen[bytes]
    sandbox: Sandbox

    def get(self, path: str) -> Any:
        return requests.get(self.url + path, timeout=10)

    def workers(self) -> dict[str, Any]:
        answer = self.get("/api/v1/market/workers/status")
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["workers"])

    def transports(self) -> dict[str, str]:
        """What each exchange's quotes come by now."""
        return {one["exchange"]: one["transport"] for one in self.get("/api/v1/workers/").json()["results"]}

    def pipelines(self) -> list[dict[str, Any]]:
        """The pipelines API's rows, asked with a key of the first run."""
        key = self.environment("demo_keys.env")["DEMO_KEY_BUSINESS"]
        answer = requests.get(f"{self.url}/v1/status/pipelines", headers={"X-API-Key": key}, timeout=10)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"])

    def moments(self, exchange: str, *, since: float) -> list[float]:
        """When something of an exchange was stored, ascending."""
        rows = self.sql(
            "SELECT DISTINCT extract(epoch FROM t.received_at)::float8 AS at FROM collectors_tick t "
            "JOIN exchanges_market m ON m.id = t.pipeline_id "
            "WHERE m.exchange_id = %s AND t.received_at > to_timestamp(%s) ORDER BY at",
            exchange,
            since,
        )
        return [at for (at,) in rows]

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        url = self.environment("runtime.env")["DATABASE_URL"]
        with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def environment(self, file: str) -> dict[str, str]:
        lines = (self.home / file).read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def pids(self, pattern: str) -> list[int]:
        """Children of the supervisor whose command line matches, parents before their own children."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # pool processes come and go
                if re.search(pattern, " ".join(child.cmdline())):
                    found.append(child.pid)
        return found

    def kill(self, pattern: str) -> None:
        pids = self.pids(pattern)
        assert pids, f"no process matches {pattern}"
        os.kill(pids[0], signal.SIGKILL)

    def verify(self) -> None:
        """`manage.py verify`: stored data do not contradict themselves."""
        done = subprocess.run(
            [sys.executable, "manage.py", "verify", "--hours", "1"], cwd=PROJECT, capture_output=True, text=True,
            env=clean_environment() | {"MARKETMON_HOME": str(self.home)}, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def admin(self) -> AdminSession:
        secrets = self.environment("secrets.env")
        return AdminSession(self.url, secrets["ADMIN_USERNAME"], secrets["ADMIN_PASSWORD"])

    def wait_until(self, is_so: Callable[[], bool], *, seconds: float, what: str) -> float:
        """Returns how long it took: `seconds` on a quiet machine, and a slow one gets five times that."""
        began = time.monotonic()
        while not is_so():
            assert time.monotonic() - began < seconds * SLOWEST_MACHINE, f"not within {seconds} s: {what}"
            time.sleep(0.1)
        return time.monotonic() - began

    def rows_since(self, exchange: str, moment: float) -> int:
        (count,) = self.sql(
            "SELECT count(*) FROM collectors_tick t JOIN exchanges_market m ON m.id = t.pipeline_id "
            "WHERE m.exchange_id = %s AND t.received_at > to_timestamp(%s)",
            exchange,
            moment,
        )[0]
        return int(count)

    def is_healthy(self) -> bool:
        try:
            workers = self.workers()
        except (requests.RequestException, AssertionError):
            return False
        return workers.keys() == SIMULATED.keys() and all(
            w["status"] == "running" and w["last_update"] for w in workers.values()
        )


class AdminSession(requests.Session):
    """A person's browser, signed in to the admin."""

    def __init__(self, url: str, username: str, password: str) -> None:
        super().__init__()
        self.base = url
        self.send_form("/admin/login/", username=username, password=password)

    def send_form(self, path: str, **fields: Any) -> requests.Response:
        """Opens the page for its token, then posts the fields to the same address."""
        self.get(self.base + path, timeout=10).raise_for_status()
        token = self.cookies.get("csrftoken", "")
        answer = self.post(
            self.base + path,
            data={"csrfmiddlewaretoken": token, **fields},
            headers={"Referer": self.base + path},
            timeout=15,
        )
        answer.raise_for_status()
        return answer


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in OF_THE_TESTS}


@pytest.fixture(scope="package")
def started_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    logs, port, sandbox_port = tmp_path_factory.mktemp("system"), free_port(), free_port()
    environment = clean_environment() | {
        "PORT": str(port),
        "SANDBOX_PORT": str(sandbox_port),
        "SANDBOX_MARKETS": "40",
        "POLL_INTERVAL_SECONDS": str(INTERVAL_SECONDS),
        "POLL_DEADLINE_SECONDS": str(INTERVAL_SECONDS - 0.1),
        "STREAM_LEASE_SECONDS": "5",
    }
    with system_home(keep_logs_in=logs) as home, (logs / "up.log").open("wb") as output:
        environment["MARKETMON_HOME"] = str(home)
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up"], cwd=PROJECT, env=environment, stdout=output, stderr=output
        )
        system = System(f"http://127.0.0.1:{port}", home, process, Sandbox(f"http://127.0.0.1:{sandbox_port}"))
        try:
            wait_for_http(f"{system.url}/ready", seconds=START_SECONDS)
            yield system
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=40) == 0


@pytest.fixture
def system(started_system: System) -> Iterator[System]:
    """The running system with every simulated exchange healthy."""
    started_system.sandbox.heal()
    started_system.wait_until(started_system.is_healthy, seconds=90, what="every simulated exchange is running")
    yield started_system
    started_system.sandbox.heal()
