"""What people and machines do to a supervisor at its edges."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from embedded import programs
from embedded.child import Spec
from embedded.lock import RefusedError
from embedded.output import Terminal
from embedded.process_group import ProcessGroup
from embedded.programs import Programs, copied, find_postgres, find_valkey
from embedded.settings import read_settings
from lib.home import PROJECT_DIR

CHATTERBOX = "import os\nwhile True: os.write(1, b'word\\n' * 10_000)"
SLEEPER = "import time; time.sleep(600)"


def python(name: str, code: str) -> Spec:
    return Spec(name=name, command=[sys.executable, "-c", code], environ=os.environ, cwd=Path("/"))


def test_a_child_that_never_stops_talking_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    """Its output was read to the end, which never came: Ctrl-C did nothing, and whoever died stayed dead."""
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    with ProcessGroup(tmp_path, Terminal()) as nursery:
        nursery.start(python("chatterbox", CHATTERBOX))
        quiet = nursery.start(python("quiet", SLEEPER))
        timer.start()
        began = time.monotonic()
        watchdog = threading.Timer(10.0, nursery.children["chatterbox"].kill)  # as nothing else would end it
        watchdog.start()

        nursery.turn_until(lambda: nursery.stop_requests > 0, seconds=9)
        nursery.stop(["quiet"], ["chatterbox"])

        watchdog.cancel()
        assert time.monotonic() - began < 9
        assert quiet.returncode == -signal.SIGTERM


@pytest.mark.parametrize("find", [find_postgres, find_valkey])
def test_a_copy_of_programs_that_was_interrupted_is_made_again(
    find: Callable[[], Programs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk or a kill in the middle left a folder that every later start took for the programs."""
    found = find()

    def interrupted(source: Path, target: Path) -> None:
        if source.name.endswith(".libs"):
            return real(source, target)
        raise OSError(28, "No space left on device", str(target))

    real = programs.account.copy_for_others
    monkeypatch.setattr(programs.account, "copy_for_others", interrupted)
    with pytest.raises(OSError, match="No space"):
        copied(found, tmp_path)
    monkeypatch.undo()

    again = copied(found, tmp_path)

    assert os.popen(f"{again.binary} --version").read()
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize(
    "changes", [{"PORT": "9100"}, {"SANDBOX_PORT": "8000"}, {"PORT": "4711", "SANDBOX_PORT": "4711"}]
)
def test_one_port_for_two_servers_is_refused(changes: dict[str, str], tmp_path: Path) -> None:
    """Both were free, so both were tried: the web process was started again and again."""
    environ = {"MARKETMON_HOME": str(tmp_path), **changes}

    with pytest.raises(RefusedError, match=r"PORT and SANDBOX_PORT are both \d+"):
        read_settings(environ, with_sandbox=True)
    assert read_settings(environ, with_sandbox=False).sandbox_port is None


@pytest.mark.parametrize("name", ["PORT", "SANDBOX_PORT", "WORKER_CONCURRENCY"])
def test_digits_that_are_no_number_are_refused_with_their_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=f"{name}='²'"):
        read_settings({"MARKETMON_HOME": str(tmp_path), name: "²"}, with_sandbox=True)


def test_ctrl_c_before_anything_was_started_is_no_error(tmp_path: Path) -> None:
    """After a kill the ports are waited for, up to 15 s: a Ctrl-C meanwhile answered with a traceback."""
    (tmp_path / "lock").write_text("1 http://127.0.0.1:1\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environ = {**os.environ, "MARKETMON_HOME": str(tmp_path), "PORT": str(taken.getsockname()[1])}
        running = subprocess.Popen(
            [sys.executable, "-m", "embedded", "--no-sandbox"],
            cwd=PROJECT_DIR, env=environ, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while str(running.pid) not in (tmp_path / "lock").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)

        running.send_signal(signal.SIGINT)

        _, complaints = running.communicate(timeout=10)
    assert (running.returncode, complaints) == (130, "")
    assert (tmp_path / "lock").read_text() == ""


@pytest.mark.parametrize(("how", "requests"), [(signal.SIG_IGN, 0), (signal.SIG_DFL, 1)], ids=["nohup", "a terminal"])
def test_a_hang_up_stops_unless_whoever_started_us_asked_for_none(
    how: signal.Handlers, requests: int, tmp_path: Path
) -> None:
    """`nohup make run` ended with its terminal."""
    before = signal.signal(signal.SIGHUP, how)
    try:
        with ProcessGroup(tmp_path, Terminal()) as nursery:
            os.kill(os.getpid(), signal.SIGHUP)
            nursery.turn(0.05)
            assert nursery.stop_requests == requests
    finally:
        signal.signal(signal.SIGHUP, before)
