"""The whole system by its one command: started, wounded, refused, orphaned, started again, stopped."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib.home import PROJECT_DIR, read_env_file
from tests.embedded.processes import is_gone

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

UP_WITHIN_SECONDS = 240.0  # a ceiling, too
BACK_WITHIN_SECONDS = 90.0  # a ceiling for slow machines, no promise
CHILDREN = {"postgres", "valkey", "web", "worker", "beat", "pulse", "stream", "notify"}


class System:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        named_elsewhere = {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "ADMIN_API_KEY", "DJANGO_SETTINGS_MODULE"}
        self.environ = {name: value for name, value in os.environ.items() if name not in named_elsewhere} | {
            "MARKETMON_HOME": str(home),
            "PORT": str(self.port),
            "SANDBOX": "off",
            "WORKER_CONCURRENCY": "1",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def up(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "manage.py", "up"]
        with (self.home.parent / "screen").open("wb") as screen:
            self.process = subprocess.Popen(command, cwd=PROJECT_DIR, env=self.environ, stdout=screen)
        wait(lambda: "is running" in self.screen() or self.process.poll() is not None, UP_WITHIN_SECONDS)
        assert self.process.poll() is None, self.screen()
        return self.process

    def screen(self) -> str:
        return (self.home.parent / "screen").read_text()

    def pids(self) -> dict[str, int]:
        """Of every child as it was last started."""
        events = [json.loads(line) for line in (self.home / "logs" / "supervisor.log").read_text().splitlines()]
        return {event["child"]: event["pid"] for event in events if event["event"] == "child_started"}

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@pytest.fixture
def system() -> Iterator[System]:
    folder = Path(tempfile.mkdtemp(prefix="marketmon-up-"))
    folder.chmod(0o711)
    running = System(folder / "home")
    yield running
    if running.process and running.process.poll() is None:
        running.process.kill()
        running.process.wait()
        wait(lambda: all(is_gone(pid) for pid in running.pids().values()), BACK_WITHIN_SECONDS)
    shutil.rmtree(folder)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def test_the_system_survives_what_happens_to_it_and_stops_cleanly(system: System) -> None:
    system.up()
    secrets = read_env_file(system.home / "secrets.env")
    assert secrets["ADMIN_PASSWORD"] in system.screen(), "a first run shows the password"
    assert system.is_ready()

    first = system.pids()
    assert first.keys() >= CHILDREN
    for name in CHILDREN:
        os.kill(first[name], signal.SIGKILL)
    wait(lambda: all(system.pids()[name] != first[name] for name in CHILDREN), BACK_WITHIN_SECONDS)
    wait(system.is_ready, BACK_WITHIN_SECONDS)

    second_start = subprocess.run(
        [sys.executable, "manage.py", "up"], cwd=PROJECT_DIR, env=system.environ, capture_output=True, check=False
    )
    assert second_start.returncode == 1
    assert f"already running in {system.home} (pid {system.process.pid}) at http://127.0.0.1:{system.port}" in (
        second_start.stderr.decode()
    )

    orphans = system.pids()
    system.process.kill()
    system.process.wait()
    wait(lambda: all(is_gone(pid) for pid in orphans.values()), BACK_WITHIN_SECONDS)

    system.up()
    assert secrets["ADMIN_PASSWORD"] not in system.screen()
    assert f"password in {system.home}/secrets.env" in system.screen()
    assert read_env_file(system.home / "secrets.env") == secrets
    last = system.pids()
    system.process.send_signal(signal.SIGTERM)
    assert system.process.wait(30) == 0
    assert all(is_gone(pid) for pid in last.values())
    exits = [json.loads(line) for line in (system.home / "logs" / "supervisor.log").read_text().splitlines()]
    order = [event["child"] for event in exits if event["event"] == "child_exited"][-8:]
    assert set(order[:2]) == {"beat", "pulse"}
    assert set(order[2:4]) == {"worker", "stream"}
    assert set(order[4:6]) == {"web", "notify"}
    assert order[6:] == ["valkey", "postgres"]
    assert all(event["code"] in {0, -15} for event in exits[-8:])


def test_a_taken_port_is_named_before_anything_starts(system: System) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", system.port))
        listener.listen()
        refused = subprocess.run(
            [sys.executable, "manage.py", "up"], cwd=PROJECT_DIR, env=system.environ, capture_output=True, check=False
        )
    assert refused.returncode == 1
    assert f"port {system.port} on 127.0.0.1 is in use by another program" in refused.stderr.decode()
    assert "PORT=" in refused.stderr.decode()
    assert [entry.name for entry in system.home.iterdir()] == ["lock"]
