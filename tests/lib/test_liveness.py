"""A process that goes round touches its file; without one nothing is written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery.utils.timer2 import Timer

from lib import liveness, liveness_check
from marketmon import pulse
from marketmon.celery import SignOfLife
from tests.sandbox_client import PROJECT


@pytest.fixture
def alive(tmp_path: Path, settings: Any) -> Path:
    settings.LIVENESS_FILE = str(tmp_path / "alive")
    return tmp_path / "alive"


def test_every_sign_is_newer_than_the_last(alive: Path) -> None:
    liveness.note()
    os.utime(alive, (0, 0))

    liveness.note()

    assert alive.stat().st_mtime > 0


def test_a_place_that_cannot_be_written_stops_nobody(settings: Any) -> None:
    settings.LIVENESS_FILE = "/dev/null/alive"

    liveness.note()

    assert not os.path.lexists("/dev/null/alive")


def test_the_pulse_shows_it_with_the_first_beat(alive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class StopNow(Exception):
        pass

    def beat_once() -> None:
        if alive.exists():
            raise StopNow

    monkeypatch.setattr(pulse, "tick", beat_once)
    monkeypatch.setattr(pulse.signal, "signal", lambda *_: None)
    monkeypatch.setattr(pulse.settings, "PULSE_SECONDS", 0.0)

    with pytest.raises(StopNow):
        pulse.run_forever()


def test_the_workers_loop_shows_it(alive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        timer = Timer()

    step = SignOfLife(Worker())
    monkeypatch.setattr("marketmon.celery.LIVENESS_SECONDS", 0.01)

    step.start(Worker())
    step.rounds()
    step.stop(Worker())

    assert alive.exists()


# --- a loop that stands still -----------------------------------------------------------------------------------


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that the process would have sent itself."""
    sent: list[int] = []
    monkeypatch.setattr(liveness.os, "kill", lambda _, number: sent.append(number))
    return sent


def stand_still(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(liveness, "_noted_at", time.monotonic() - seconds)


@pytest.mark.parametrize(("seconds", "ends"), [(1, False), (44, False), (46, True)])
def test_a_process_whose_loop_stands_still_ends_itself(
    killed: list[int], monkeypatch: pytest.MonkeyPatch, seconds: float, ends: bool
) -> None:
    stand_still(monkeypatch, seconds)

    liveness.look()

    assert killed == [signal.SIGKILL] * ends


def test_one_that_has_not_begun_is_waited_for(killed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "_noted_at", None)

    assert liveness.look() == 0
    assert not killed


def waiting_in(path: str, monkeypatch: pytest.MonkeyPatch, *, name: str = "execute") -> Callable[[], None]:
    """A call that looks as from a function of that file."""
    scope: dict[str, Any] = {"look": liveness.look}
    exec(compile(f"def {name}():\n    look()", path, "exec"), scope)
    return scope[name]


@pytest.mark.parametrize(
    ("path", "name", "ends"),
    [
        ("/venv/django/db/backends/utils.py", "execute", False),
        ("/app/board/drills/runner.py", "look_at_all", False),
        ("/venv/kombu/utils/functional.py", "retry_over_time", False),
        ("/app/collectors/gaps/sweep.py", "run", True),
    ],
    ids=["database", "drill", "broker", "own code"],
)
def test_one_that_waits_for_a_server_is_not_hung(
    alive: Path, killed: list[int], monkeypatch: pytest.MonkeyPatch, path: str, name: str, ends: bool
) -> None:
    stand_still(monkeypatch, 100)

    waiting_in(path, monkeypatch, name=name)()

    assert bool(killed) is ends
    assert alive.exists() is not ends  # and whoever looks from outside is told


def test_a_real_loop_that_hangs_is_ended(tmp_path: Path) -> None:
    program = (
        "import time, django; from django.conf import settings; settings.configure(LIVENESS_FILE=''); "
        "from lib import liveness; liveness.STILL_SECONDS = 0.3; liveness.LOOK_SECONDS = 0.1; "
        "liveness.watch(says=False); liveness.note(); time.sleep(30)"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, timeout=20, check=False, capture_output=True)

    assert done.returncode == -signal.SIGKILL
    assert b"its loop has stood still" in done.stderr + done.stdout


# --- a container's check ----------------------------------------------------------------------------------------


def check(file: Path) -> int:
    environ = {"LIVENESS_FILE": str(file), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-S", "lib/liveness_check.py"]
    return subprocess.run(command, cwd=PROJECT, env=environ, timeout=20, check=False).returncode


@pytest.mark.parametrize(("seconds", "code"), [(0, 0), (31, 1)], ids=["alive", "silent"])
def test_a_container_is_healthy_by_its_file(alive: Path, seconds: float, code: int) -> None:
    alive.touch()
    os.utime(alive, (time.time() - seconds,) * 2)

    assert check(alive) == code


@pytest.mark.parametrize("seconds", [61, -3600], ids=["silent for long", "silent since before a clock went back"])
def test_a_process_that_is_silent_for_long_is_ended_by_the_check(
    alive: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    alive.touch()
    os.utime(alive, (time.time() - seconds,) * 2)
    environ = {**os.environ, "LIVENESS_FILE": str(alive)}
    frozen = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=environ)
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(liveness_check, "SECOND_LOOK_SECONDS", 0.0)
    monkeypatch.setenv("LIVENESS_FILE", str(alive))

    liveness_check.end(alive)

    assert frozen.wait(10) == -signal.SIGKILL
    assert other.poll() is None
    other.kill()
    other.wait()


def test_one_that_touches_its_file_meanwhile_is_not_ended(alive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine slept: the first sign after it comes within a second."""
    alive.touch()
    os.utime(alive, (0, 0))
    monkeypatch.setenv("LIVENESS_FILE", str(alive))
    monkeypatch.setattr(liveness_check.time, "sleep", lambda _: alive.touch())
    monkeypatch.setattr(liveness_check, "end", lambda _: pytest.fail("ended"))

    liveness_check.main()
