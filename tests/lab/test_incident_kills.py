"""No message is lost: notifiers, pulses and the database are killed at random points, a thousand times, while incidents
open and end. Valkey is away all the time: telling needs PostgreSQL and nothing else."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from embedded import attended, postgres, site
from tests.incidents.receivers import HttpReceiver, http_receiver
from tests.lab.forked import Forks, forks
from tests.sandbox_client import PROJECT
from tests.servers import system_home
from tests.system.conftest import clean_environment

EXCHANGES = 400
WELL = 40  # never fail, so that the others have no common cause
OFTEN = {"notify": 0.5, "pulse": 0.4, "database": 0.1}
PATIENCE_SECONDS = 300.0

FAIL = (
    "UPDATE collectors_worker SET error_count = 5, status = 'error', last_outcome = 'unreachable', "
    "last_error = 'connection refused' WHERE exchange_id = %s"
)
HEAL = (
    "UPDATE collectors_worker SET error_count = 0, status = 'running', last_outcome = 'stored', stored_at = now(), "
    "heartbeat_at = now() WHERE exchange_id = %s"
)
WAITING = "SELECT count(*) FROM incidents_delivery WHERE state IN ('queued', 'claimed')"
OPEN = "SELECT count(*) FROM incidents_incident WHERE kind = 'exchange' AND ended_at IS NULL"
OPENED = "SELECT substr(key, 10) FROM incidents_incident WHERE kind = 'exchange'"
SENT = (
    "SELECT substr(i.key, 10) FROM incidents_incident i JOIN incidents_delivery d ON d.incident_id = i.id "
    "WHERE i.kind = 'exchange' AND d.event = %s AND d.state IN ('sent', 'unconfirmed')"
)
TOLD = """
SELECT d.event, d.state, d.message_id::text, d.is_repeat, d.sent_at
FROM incidents_incident AS i JOIN incidents_delivery AS d ON d.incident_id = i.id WHERE i.kind = 'exchange'
"""


@dataclass
class Storm:
    """A database, the processes that tell, and everything that was done to them."""

    server: postgres.Postgres
    database: subprocess.Popen[bytes]
    forks: Forks
    receiver: HttpReceiver
    chance: random.Random
    alive: dict[str, list[int]] = field(default_factory=lambda: {"notify": [], "pulse": []})
    kills: Counter[str] = field(default_factory=Counter)
    failed_at: dict[str, float] = field(default_factory=dict)
    healed: set[str] = field(default_factory=set)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Asks again until a database that is coming back answers."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                connection = psycopg2.connect(self.server.url)
                try:
                    with connection, connection.cursor() as cursor:
                        cursor.execute(statement, values)
                        return list(cursor.fetchall()) if cursor.description else []
                finally:
                    connection.close()
            except psycopg2.Error:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def kill_one(self) -> None:
        victim = self.chance.choices(list(OFTEN), weights=list(OFTEN.values()))[0]
        self.kills[victim] += 1
        if victim == "database":
            self._kill_a_backend()
            return
        pids = self.alive[victim]
        pid = pids.pop(self.chance.randrange(len(pids)))
        os.kill(pid, signal.SIGKILL)
        pids.append(self.forks.start(victim))

    def _kill_a_backend(self) -> None:
        """As when the kernel kills it for want of memory: PostgreSQL throws everybody out, and recovers."""
        backends = psutil.Process(self.database.pid).children()
        if backends:
            with suppress(psutil.NoSuchProcess):
                self.chance.choice(backends).kill()

    def move(self) -> None:
        """Lets another exchange fail, and those that failed long enough ago recover."""
        number = len(self.failed_at) + WELL
        if number < EXCHANGES:
            name = f"x{number:04}"
            self.sql(FAIL, name)
            self.failed_at[name] = time.monotonic()
        self.heal()

    def heal(self) -> None:
        """Lets those recover that were told: what is over before it is told may be told to nobody."""
        for name in self.told("opened") - self.healed:
            self.sql(HEAL, name)
            self.healed.add(name)

    def opened(self) -> set[str]:
        """Returns the exchanges that have an incident."""
        return {name for (name,) in self.sql(OPENED)}

    def told(self, event: str) -> set[str]:
        """Returns the exchanges whose incident's event was sent, by the outbox's own word."""
        return {name for (name,) in self.sql(SENT, event)}

    def wait_for(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:.0f} s: {what}"
            time.sleep(0.5)


@pytest.fixture
def storm(tmp_path: Path) -> Iterator[Storm]:
    """One database with its log on, two notifiers, two pulses, and a receiver that is slow by chance."""
    with system_home(keep_logs_in=tmp_path) as folder, http_receiver() as receiver:
        place = site.settle(folder, with_postgres=True, with_valkey=False, elsewhere=folder.parent)
        assert place.postgres is not None
        # The throw-away's only risk is a machine that loses its power: nobody here does that.
        options = {**postgres.THROWAWAY, "synchronous_commit": "on"}
        server = postgres.Postgres(place, place.postgres.binary, options)
        server.prepare()
        with attended.running(server.command(), place, signal.SIGINT) as database:
            attended.wait_for(lambda: server.is_ready(database.pid), database)
            environ = clean_environment() | {
                "DATABASE_URL": server.url, "REDIS_URL": f"unix://{folder}/nobody.sock", "SECRET_KEY": "s" * 64,
                "ADMIN_API_KEY": "a" * 48, "ALLOW_PRIVATE_ALERT_URLS": "1", "MARKETMON_HOME": str(folder),
                "METRICS_WEBHOOK_OPEN": "on", "DJANGO_SETTINGS_MODULE": "marketmon.settings",
            }  # fmt: skip
            subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=PROJECT, env=environ, check=True)
            with forks(environ, str(tmp_path / "forked.log")) as started:
                yield Storm(server, database, started, receiver, random.Random(20261201))


def begin(storm: Storm) -> None:
    storm.forks.start("world", str(EXCHANGES), storm.receiver.url)
    storm.wait_for(lambda: storm.sql("SELECT count(*) FROM incidents_alertroute") == [(1,)], "a world")
    for word, pids in storm.alive.items():
        pids += [storm.forks.start(word) for _ in range(2)]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("count", [40, 1000])
def test_no_message_is_lost_however_often_something_is_killed(
    storm: Storm, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(storm)
    began = time.monotonic()
    fails_every = max(1, count // (EXCHANGES - WELL))
    for number in range(count):
        storm.receiver.seconds = storm.chance.choice([0, 0.05, 0.3, 1.0])
        if number % fails_every == 0:
            storm.move()
        storm.kill_one()
        time.sleep(storm.chance.uniform(0.0, 0.4))
    storm.receiver.seconds = 0
    seconds = time.monotonic() - began
    storm.wait_for(lambda: storm.opened() == set(storm.failed_at), "an incident for each failure")
    storm.wait_for(lambda: storm.told("opened") == set(storm.failed_at), "all that opened is told")
    storm.heal()
    storm.wait_for(lambda: storm.sql(OPEN) == [(0,)] and storm.sql(WAITING) == [(0,)], "all is over and told")

    rows = storm.sql(TOLD)
    arrived = Counter(each.headers["webhook-id"] for each in storm.receiver.got)
    by_event = Counter(event for event, *_ in rows)
    lost = [row for row in rows if row[2] not in arrived]
    repeated = [row for row in rows if arrived[row[2]] > 1]
    unmarked = [row for row in repeated if not row[3]]
    said = (
        f"{sum(storm.kills.values())} kills {dict(storm.kills)} in {seconds:.0f} s; {len(storm.failed_at)} failures, "
        f"{dict(by_event)} messages: {len(lost)} lost, {len(repeated)} arrived again, {len(unmarked)} of them unmarked"
    )
    with capsys.disabled():
        sys.stdout.write(f"\n{said}\n")
    assert lost == []
    assert unmarked == []
    assert {state for _, state, *_ in rows} <= {"sent", "unconfirmed"}
    assert by_event["opened"] == len(storm.failed_at)
    assert by_event["healed"] == len(storm.failed_at)
    assert b"Valkey does not answer" in b"".join(each.body for each in storm.receiver.got)
