"""A process whose clock is wrong runs beside the others, while an exchange is really down."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.lab.conftest import Program
from tests.sandbox_client import PROJECT
from tests.system.conftest import System, clean_environment

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
CELERY = [sys.executable, "-m", "celery", "-A", "marketmon"]
WORKER = ["worker", "--pool", "prefork", "--concurrency", "2", "--queues", "poll,default"]
COMMANDS = {
    "stream": [sys.executable, "manage.py", "stream"],
    "worker": [*CELERY, *WORKER, "--without-gossip", "--without-mingle"],
    "beat": [*CELERY, "beat", "--pidfile="],
    "pulse": [sys.executable, "manage.py", "pulse"],
}
DAY = 86_400
TOGETHER_SECONDS = 40.0
DOWN = "luno"  # polled
START_SECONDS = 60.0


@contextlib.contextmanager
def wrong_clock(system: System, kind: str, seconds: int, faketime: str, log: Path) -> Iterator[None]:
    environ = clean_environment() | system.environment("runtime.env")
    # Either way Python waits wrongly somewhere: by `time.sleep`, or by an event, as the pulse does.
    environ |= {"MARKETMON_HOME": str(system.home), "FAKETIME_DONT_FAKE_MONOTONIC": "1" if kind == "pulse" else "0"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [faketime, "-f", f"{seconds:+d}s", *COMMANDS[kind]], cwd=PROJECT, env=environ,
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def parts(system: System) -> dict[str, str]:
    found: dict[str, str] = requests.get(f"{system.url}/ready", timeout=5).json()["services"]
    return found


def in_future(system: System) -> int:
    (count,) = system.sql(
        "SELECT (SELECT count(*) FROM collectors_tick WHERE received_at > clock_timestamp() + interval '5 seconds') + "
        "(SELECT count(*) FROM collectors_tick WHERE origin = 3) + "
        "(SELECT count(*) FROM collectors_pipeline WHERE received_at > clock_timestamp() + interval '5 seconds') + "
        "(SELECT count(*) FROM collectors_cursor WHERE reached_at > clock_timestamp() + interval '5 seconds')"
    )[0]
    return int(count)


def false_healthy(system: System, since: float) -> bool:
    """Whether the exchange that has been down for some time is called running, or has a new row."""
    worker = system.workers()[DOWN]
    is_long = time.time() - since > 40
    return system.rows_since(DOWN, since) > 0 or (is_long and worker["status"] == "running")


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [
        ("stream", 3600),
        *[("stream", each) for each in (-3600, 10 * DAY, -10 * DAY, 10, -10)],
        *[("worker", each) for each in (3600, -3600, 10 * DAY, -10 * DAY, 10, -10)],
        *[("pulse", each) for each in (3600, 10 * DAY, -10 * DAY)],
        *[("beat", each) for each in (3600, -10 * DAY)],
    ],
)
def test_one_wrong_clock_neither_lies_nor_destroys(
    system: System, debian: Program, tmp_path: Path, kind: str, seconds: int
) -> None:
    faketime = debian("faketime", "faketime")
    rows = "SELECT count(*) FROM collectors_tick"
    (before,) = system.sql(rows)[0]
    system.sandbox.fault(DOWN, "status")
    time.sleep(6)  # what was under way has ended
    down_since = time.time()

    with wrong_clock(system, kind, seconds, faketime, tmp_path / "wrong.log"):
        system.wait_until(lambda: parts(system)["clock"] == "not ready", seconds=START_SECONDS, what="it is named")
        end = time.monotonic() + TOGETHER_SECONDS
        while time.monotonic() < end:
            assert in_future(system) == 0
            assert not false_healthy(system, down_since)
            time.sleep(1)
        others = [name for name in system.workers() if name != DOWN]
        stored_since = time.time() - 30
        assert [name for name in others if not system.rows_since(name, stored_since)] == []

    (after,) = system.sql(rows)[0]
    assert after > before
    system.wait_until(lambda: parts(system)["clock"] == "ready", seconds=20, what="all clocks agree again")
    system.sandbox.heal()
    system.wait_until(lambda: system.rows_since(DOWN, down_since) > 0, seconds=90, what="it is collected again")
    system.verify()
