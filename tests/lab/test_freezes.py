"""A process that is stopped is named within seconds, and replaced within a minute; a stopped beat has a standby."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
import requests

from tests.sandbox_client import PROJECT
from tests.system.conftest import System, clean_environment
from tests.system.test_running_system import SEEDED

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
NAMED_SECONDS, REPLACED_SECONDS = 15, 75
PATTERNS = {
    "worker": r"celery.* worker",
    "beat": r"celery.* beat",
    "pulse": r"manage.py pulse",
    "stream": r"manage.py stream",
    "web": r"granian",
}


def services(system: System) -> dict[str, str]:
    found: dict[str, str] = requests.get(f"{system.url}/ready", timeout=5).json()["services"]
    return found


def everyone_stores_since(system: System, moment: float) -> bool:
    return all(system.rows_since(exchange, moment) for exchange in SEEDED)


@pytest.mark.parametrize("kind", list(PATTERNS))
def test_a_stopped_process_is_replaced(system: System, kind: str) -> None:
    stopped = system.pids(PATTERNS[kind])
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)

    if kind == "worker":
        system.wait_until(
            lambda: services(system)["worker"] == "not ready", seconds=NAMED_SECONDS, what="it is said that none runs"
        )
    system.wait_until(
        lambda: bool(set(system.pids(PATTERNS[kind])) - set(stopped)), seconds=REPLACED_SECONDS, what="a new one"
    )
    back_at = time.time()

    system.wait_until(lambda: everyone_stores_since(system, back_at), seconds=60, what="rows of every exchange")
    assert not set(system.pids(PATTERNS[kind])) & set(stopped)
    system.verify()


def test_a_standby_beat_leads_when_the_leader_stands_still(system: System) -> None:
    environ = clean_environment() | system.environment("runtime.env") | {"MARKETMON_HOME": str(system.home)}
    command = [f"{PROJECT}/.venv/bin/celery", "-A", "marketmon", "beat", "--pidfile="]
    standby = subprocess.Popen(command, cwd=PROJECT, env=environ, stderr=subprocess.DEVNULL)
    try:
        time.sleep(15)  # it has started
        (leader,) = system.sql("SELECT holder FROM collectors_processlease WHERE name = 'beat'")[0]
        assert f":{standby.pid}:" not in leader
        for pid in system.pids(PATTERNS["beat"]):
            os.kill(pid, signal.SIGSTOP)
        stopped_at = time.monotonic()

        system.wait_until(
            lambda: f":{standby.pid}:" in system.sql("SELECT holder FROM collectors_processlease")[0][0],
            seconds=15,
            what="the standby leads",
        )
        assert time.monotonic() - stopped_at > 5  # not before the leader's lease had run out
    finally:
        standby.terminate()
        standby.wait(30)
