"""What may befall a home while it is in use, or left behind: none of it ends the supervisor, none of it is a riddle."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded import postgres, site, valkey
from embedded.output import LogFile
from lib.home import PROJECT_DIR
from tests.embedded.processes import is_gone

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def place(tmp_path: Path) -> site.Site:
    """Where servers would be, without any."""
    sockets = tmp_path / "run"
    sockets.mkdir()
    return site.Site(tmp_path, sockets, None, None, None)


@pytest.fixture
def left_behind(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A server of an earlier supervisor, that was started before the home was renamed: its command line is of then."""
    data = tmp_path / "postgres"
    data.mkdir()
    running = subprocess.Popen([sys.executable, "-c", SLEEPER], cwd=data, stdout=subprocess.PIPE)
    assert running.stdout
    running.stdout.readline()
    waiter = threading.Thread(target=running.wait)  # as init would, who adopts it
    waiter.start()
    yield running
    running.kill()
    waiter.join()


def test_a_log_whose_folder_is_gone_ends_nobody_and_goes_on_when_it_is_back(tmp_path: Path) -> None:
    """It did: after a rotation that failed, the next line met a closed file."""
    folder = tmp_path / "logs"
    folder.mkdir()
    log = LogFile(folder / "web.log", max_bytes=10)
    shutil.rmtree(folder)

    for _ in range(3):
        log.write(b"12345678\n")
    folder.mkdir()
    log.write(b"back\n")

    assert (folder / "web.log").read_bytes() == b"back\n"


@pytest.mark.parametrize("home", ["/dev/null/home", "/proc/home"])
def test_a_home_that_cannot_be_made_is_told_in_a_sentence(home: str) -> None:
    environ = {**os.environ, "MARKETMON_HOME": home}

    done = subprocess.run(
        [sys.executable, "-m", "embedded", "--no-sandbox"],
        cwd=PROJECT_DIR, env=environ, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert home in done.stderr
    assert "MARKETMON_HOME" in done.stderr


def test_a_database_left_behind_in_a_renamed_home_is_stopped(
    place: site.Site, left_behind: "subprocess.Popen[bytes]"
) -> None:
    """Its pid file was dropped as a stranger's: two servers on the same data would have followed."""
    pid_file = place.folder / "postgres" / "postmaster.pid"
    pid_file.write_text(f"{left_behind.pid}\n")

    postgres.Postgres(place, Path("/nonexistent"), {}).clear_the_way()

    assert is_gone(left_behind.pid)
    assert pid_file.exists()


def test_a_valkey_left_behind_is_stopped_before_another_takes_its_socket(place: site.Site) -> None:
    """Both would append to the same file, and the old one would take the new one's socket with it when it ends."""
    server = valkey.Valkey(place, Path("/nonexistent"), {})
    code = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n"
        "print('up', flush=True)\n"
        "while True: s.accept()"
    )
    running = subprocess.Popen([sys.executable, "-c", code, str(server.socket_path)], stdout=subprocess.PIPE)
    assert running.stdout
    running.stdout.readline()
    waiter = threading.Thread(target=running.wait)
    waiter.start()

    server.clear_the_way()

    waiter.join(timeout=5)
    assert running.returncode == -signal.SIGTERM


def test_nobody_at_the_socket_is_nobody_to_stop(place: site.Site) -> None:
    server = valkey.Valkey(place, Path("/nonexistent"), {})
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(server.socket_path))
    assert server._listener() is None

    server.clear_the_way()

    assert server.socket_path.exists()  # the new server replaces it


def test_a_wrong_setting_stops_the_start_with_its_name_and_a_hint() -> None:
    """It let every worker die and be started again."""
    environ = {**os.environ, "CREDENTIALS_KEY": "nonsense", "SECRET_KEY": "x" * 60}

    done = subprocess.run(
        [sys.executable, "manage.py", "prepare"],
        cwd=PROJECT_DIR, env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: CREDENTIALS_KEY holds something that is no Fernet key. Make one with")
