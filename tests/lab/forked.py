"""Forks the system's own processes from one that has imported everything: a start costs milliseconds, a kill is real.

Reads one word a line from its input and answers with the number of the process that was forked for it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from tests.sandbox_client import PROJECT

CALM_INTERVAL = 86_400.0  # so seldom polled that nobody is missed while the test lasts


def notify() -> None:
    from incidents import notifier
    from lib import process

    process.begin("notifier")
    notifier.run_forever()


def pulse() -> None:
    from lib import process
    from marketmon import pulse

    process.begin("pulse")
    pulse.run_forever()


def world(count: str, receiver: str) -> None:
    """Makes exchanges whose workers are well, and a webhook that is told of everything."""
    from lib import clock
    from tests.incidents.conftest import make_channel, make_route
    from tests.world import add_exchange

    now = clock.now()
    well = {"status": "running", "stored_at": now, "heartbeat_at": now}
    for number in range(int(count)):
        since = now - timedelta(hours=1)
        add_exchange(f"x{number:04}", since=since, worker=well, poll_interval_seconds=CALM_INTERVAL)
    make_channel("ops", "webhook", receiver)
    make_route()


ROLES: Mapping[str, Callable[..., None]] = {"notify": notify, "pulse": pulse, "world": world}


def main() -> None:
    import django

    django.setup()
    from incidents import notifier  # noqa: F401  # what forked processes need is imported once
    from marketmon import pulse  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that are killed
    for line in sys.stdin:
        word, *values = line.split()
        number = os.fork()
        if number == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            status = 1
            try:
                ROLES[word](*values)
                status = 0
            finally:
                os._exit(status)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


@dataclass(slots=True)
class Forks:
    """The process that forks, and the numbers of what it has forked."""

    process: subprocess.Popen[str]

    def start(self, word: str, *values: str) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join((word, *values)) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@contextmanager
def forks(environ: Mapping[str, str], log: str) -> Iterator[Forks]:
    """Runs the process that forks; what it has forked ends with it, being in its group."""
    with open(log, "ab") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.forked"], cwd=PROJECT, env=dict(environ), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=said, text=True, start_new_session=True,
        )  # fmt: skip
    try:
        yield Forks(process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


if __name__ == "__main__":
    main()
