"""Children that die come back, with growing pauses; all of them stop in order."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded.child import Spec, next_pause
from embedded.output import Terminal
from embedded.process_group import ProcessGroup
from tests.embedded.processes import is_gone

PATIENCE_SECONDS = 60.0
SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = f"import signal; [signal.signal(n, signal.SIG_IGN) for n in (2, 15)]; {SLEEPER}"
PARENT = (
    f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]).pid, flush=True); {SLEEPER}"
)


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[ProcessGroup]:
    with ProcessGroup(tmp_path, Terminal()) as running:
        yield running


def python(name: str, code: str, **how: object) -> Spec:
    return Spec(name=name, command=[sys.executable, "-c", code], environ=os.environ, cwd=Path("/"), **how)  # type: ignore[arg-type]


def journal(folder: Path, event: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder / "supervisor.log").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


@pytest.mark.parametrize(
    ("last_pause", "ran_seconds", "expected"),
    [(0, 0.1, 0.5), (0.5, 0.1, 1), (1, 29.9, 2), (16, 1, 30), (30, 1, 30), (30, 30, 0.5), (4, 3600, 0.5)],
)
def test_pauses_double_until_a_child_has_been_healthy(last_pause: float, ran_seconds: float, expected: float) -> None:
    assert next_pause(last_pause, ran_seconds=ran_seconds, pause_max=30) == expected


def test_a_killed_child_comes_back_and_its_exit_is_explained(nursery: ProcessGroup, tmp_path: Path) -> None:
    child = nursery.start(python("worker", SLEEPER))
    first_pid = child.pid
    assert first_pid
    os.kill(first_pid, signal.SIGKILL)
    killed_at = time.monotonic()
    assert nursery.turn_until(lambda: child.starts == 2 and child.pid is not None, seconds=PATIENCE_SECONDS)
    assert time.monotonic() - killed_at < 2
    assert child.pid != first_pid
    (exit_line,) = journal(tmp_path, "child_exited")
    assert (exit_line["child"], exit_line["pid"], exit_line["code"]) == ("worker", first_pid, -9)
    assert exit_line["reason"] == "was killed by SIGKILL"
    assert exit_line["restart_in_seconds"] == 0.5


def test_a_child_that_cannot_live_is_not_started_in_a_loop(nursery: ProcessGroup, tmp_path: Path) -> None:
    child = nursery.start(python("web", "raise SystemExit(3)"))
    started_at = time.monotonic()
    assert nursery.turn_until(lambda: child.starts == 3, seconds=PATIENCE_SECONDS)
    assert time.monotonic() - started_at >= 1.5
    assert [line["restart_in_seconds"] for line in journal(tmp_path, "child_exited")][:2] == [0.5, 1.0]


def test_a_program_that_is_missing_does_not_take_the_supervisor_down(nursery: ProcessGroup, tmp_path: Path) -> None:
    child = nursery.start(Spec(name="gone", command=["/nonexistent/program"], environ={}, cwd=Path("/")))
    assert child.restart_at is not None
    assert journal(tmp_path, "child_exited")[0]["code"] == 127


def test_whatever_a_dead_child_left_behind_is_gone_too(nursery: ProcessGroup, tmp_path: Path) -> None:
    child = nursery.start(python("worker", PARENT))
    log = tmp_path / "worker.log"
    assert nursery.turn_until(lambda: "up" in log.read_text(), seconds=PATIENCE_SECONDS)
    grandchild = int(log.read_text().split()[0])
    assert child.pid
    os.kill(child.pid, signal.SIGKILL)
    assert nursery.turn_until(lambda: is_gone(grandchild), seconds=PATIENCE_SECONDS)


def test_output_reaches_the_log_also_without_a_last_newline(nursery: ProcessGroup, tmp_path: Path) -> None:
    child = nursery.start(python("once", "print('first'); print('last', end='')", restarts=False))
    assert nursery.finish(child) == 0
    assert (tmp_path / "once.log").read_text() == "first\nlast\n"


def test_children_stop_stage_by_stage(nursery: ProcessGroup, tmp_path: Path) -> None:
    for name in ("postgres", "web", "beat"):
        nursery.start(python(name, SLEEPER))
    nursery.stop(["beat"], ["web"], ["postgres"])
    assert [line["child"] for line in journal(tmp_path, "child_exited")] == ["beat", "web", "postgres"]
    assert {line["reason"] for line in journal(tmp_path, "child_exited")} == {"was killed by SIGTERM"}
    assert nursery.children == {}


def test_each_signal_has_its_time_and_then_the_child_is_killed(nursery: ProcessGroup, tmp_path: Path) -> None:
    nursery.start(python("worker", STUBBORN, stop=((signal.SIGTERM, 0.3), (signal.SIGINT, 0.3))))
    log = tmp_path / "worker.log"
    assert nursery.turn_until(lambda: "up" in log.read_text(), seconds=PATIENCE_SECONDS)
    asked_at = time.monotonic()
    nursery.stop(["worker"])
    assert 0.6 <= time.monotonic() - asked_at < 3
    assert journal(tmp_path, "child_exited")[0]["reason"] == "was killed by SIGKILL"


def test_a_second_request_takes_the_short_way(nursery: ProcessGroup, tmp_path: Path) -> None:
    nursery.start(python("worker", STUBBORN, stop=((signal.SIGTERM, 60),)))
    log = tmp_path / "worker.log"
    assert nursery.turn_until(lambda: "up" in log.read_text(), seconds=PATIENCE_SECONDS)
    os.kill(os.getpid(), signal.SIGINT)
    assert nursery.stop_requests == 1
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    former = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        asked_at = time.monotonic()
        nursery.stop(["worker"])
        assert time.monotonic() - asked_at < 5
    finally:
        signal.signal(signal.SIGALRM, former)


def test_a_signal_that_arrives_twice_at_once_is_one_wish(nursery: ProcessGroup) -> None:
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
    assert nursery.stop_requests == 1


def living(name: str, file: Path) -> Spec:
    """A child that touches the file ten times a second."""
    code = f"import pathlib, time\nwhile True: pathlib.Path({str(file)!r}).touch(); time.sleep(0.1)"
    return python(name, code, sign_of_life=file)


def test_a_child_that_is_stopped_is_replaced(
    nursery: ProcessGroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedded.child.NO_SIGN_SECONDS", 0.5)
    child = nursery.start(living("pulse", tmp_path / "alive"))
    assert nursery.turn_until(lambda: (tmp_path / "alive").exists(), seconds=PATIENCE_SECONDS)
    assert not nursery.turn_until(lambda: child.starts > 1, seconds=1)

    os.kill(child.pid or 0, signal.SIGSTOP)

    assert nursery.turn_until(lambda: child.starts == 2 and child.pid is not None, seconds=PATIENCE_SECONDS)
    assert [line["child"] for line in journal(tmp_path, "child_hung")][:1] == ["pulse"]


def test_a_child_that_has_not_begun_to_give_signs_is_waited_for(
    nursery: ProcessGroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedded.child.NO_SIGN_SECONDS", 0.1)
    (tmp_path / "alive").touch()  # its predecessor's
    child = nursery.start(python("web", SLEEPER, sign_of_life=tmp_path / "alive"))

    assert not nursery.turn_until(lambda: child.starts > 1, seconds=0.6)
