"""The real PostgreSQL and Valkey under the supervisor: private, durable, back within seconds."""

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
import redis

from embedded import postgres, site, valkey
from embedded.child import Child
from embedded.output import Terminal
from embedded.process_group import ProcessGroup
from embedded.supervisor import postgres_spec, valkey_spec

PATIENCE_SECONDS = 60.0
BACK_WITHIN_SECONDS = 60.0  # a ceiling for slow machines
OPTIONS = {**postgres.LAPTOP, "shared_buffers": "32MB"}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own, which nobody but its user may enter."""
    made = Path(tempfile.mkdtemp(prefix="marketmon-embedded-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@dataclass
class Running:
    nursery: ProcessGroup
    database: postgres.Postgres
    cache: valkey.Valkey
    postgres_child: Child
    valkey_child: Child

    def wait(self, condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
        return self.nursery.turn_until(condition, seconds=seconds)


@contextlib.contextmanager
def running(home: Path) -> Iterator[Running]:
    settled = site.settle(site.make_home(home))
    assert settled.postgres
    assert settled.valkey
    database = postgres.Postgres(settled, settled.postgres.binary, OPTIONS)
    cache = valkey.Valkey(settled, settled.valkey.binary, valkey.LAPTOP)
    logs = home / "logs"
    logs.mkdir(exist_ok=True)
    with ProcessGroup(logs, Terminal()) as nursery:
        cache.prepare()
        database.prepare()
        children = (nursery.start(postgres_spec(database)), nursery.start(valkey_spec(cache)))
        system = Running(nursery, database, cache, *children)
        assert system.wait(lambda: answers(database) and cache.is_ready())
        yield system


def connect(database: postgres.Postgres) -> "psycopg2.extensions.connection":
    connection = psycopg2.connect(host=str(database.site.sockets), user=postgres.NAME, dbname=postgres.NAME)
    connection.autocommit = True
    return connection


def answers(database: postgres.Postgres) -> bool:
    try:
        connect(database).close()
    except psycopg2.OperationalError:
        return False
    return True


def ask(database: postgres.Postgres, sql: str) -> object:
    with contextlib.closing(connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def test_both_are_back_after_kill_9_with_everything_acknowledged(folder: Path) -> None:
    with running(folder / "home") as system:
        ask(system.database, "CREATE TABLE tick AS SELECT generate_series(1, 1000) AS id")
        queue = redis.Redis.from_url(system.cache.url)
        queue.rpush("poll", "kraken")
        time.sleep(1.1)  # the append-only file reaches the disk once a second
        busy = connect(system.database)
        for child, is_back in (
            (system.postgres_child, lambda: answers(system.database)),
            (system.valkey_child, system.cache.is_ready),
        ):
            assert child.pid
            os.kill(child.pid, signal.SIGKILL)
            killed_at = time.monotonic()
            assert system.wait(lambda: child.starts == 2 and is_back())  # noqa: B023
            assert time.monotonic() - killed_at < BACK_WITHIN_SECONDS
        busy.close()
        assert ask(system.database, "SELECT count(*) FROM tick") == 1000
        assert queue.lrange("poll", 0, -1) == [b"kraken"]
        assert queue.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_only_their_own_user_gets_in_and_no_port_is_open(folder: Path) -> None:
    with running(folder / "home") as system:
        for path in (system.database.data, system.database.site.sockets, system.cache.data):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE(system.cache.socket_path.stat().st_mode) == 0o700
        assert ask(system.database, "SHOW listen_addresses") == ""
        assert redis.Redis.from_url(system.cache.url).config_get("port") == {"port": "0"}
        assert ask(system.database, "SHOW server_encoding") == "UTF8"
        assert ask(system.database, "SELECT lower('ÄÖÜ')") == "äöü"


def test_data_stays_across_a_stop_and_a_path_of_120_characters_is_no_problem(folder: Path) -> None:
    home = folder / ("deep-" * 30)[: 119 - len(str(folder))]
    assert len(str(home)) == 120
    with running(home) as system:
        ask(system.database, "CREATE TABLE kept (id int)")
        sockets = system.database.site.sockets
        assert not sockets.is_relative_to(home)
    with running(home) as system:
        assert ask(system.database, "SELECT count(*) FROM kept") == 0
    log = (home / "logs" / "postgres.log").read_text()
    assert "not properly shut down" not in log
    sockets.rmdir()


def test_a_pid_file_that_names_a_stranger_does_not_stop_the_start(folder: Path) -> None:
    home = folder / "home"
    with running(home) as system:
        data = system.database.data
    (data / "postmaster.pid").write_text(f"{os.getppid()}\n{data}\n")
    with running(home) as system:
        assert ask(system.database, "SELECT 1") == 1


def test_a_server_that_outlived_its_supervisor_is_stopped_first(folder: Path) -> None:
    home = folder / "home"
    with running(home) as system:
        database = system.database
    account = database.site.account
    owner = f"user={account.uid}, group={account.gid}" if account else ""
    launcher = f"import subprocess, sys; subprocess.Popen(sys.argv[1:], cwd='/', stderr=-3, {owner})"
    subprocess.run([sys.executable, "-c", launcher, *database.command()], check=True, env=dict(postgres.ENVIRON))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not answers(database):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    orphan = int((database.data / "postmaster.pid").read_text().split()[0])

    with running(home) as system:
        assert system.postgres_child.starts == 1
        assert system.postgres_child.pid != orphan
        assert ask(system.database, "SELECT 1") == 1


def test_data_of_another_release_is_refused_with_the_way_out(folder: Path) -> None:
    home = folder / "home"
    with running(home) as system:
        database = system.database
    (database.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(RuntimeError, match="written by PostgreSQL 17"):
        database.prepare()
