"""Everything through pgbouncer, which gives a session of the server to a client for a transaction, or for its stay."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg2
import pytest
import requests
from django.conf import settings
from django.db import connection

from collectors.history import partitions
from collectors.models import Run, Tick
from lib import clock
from lib.database.limits import LIMITS, NOW
from metrics.models import Collection
from tests.lab.conftest import Program
from tests.sandbox_client import PROJECT, Sandbox, free_port
from tests.status.running import Web, web
from tests.world import onboard

pytestmark = pytest.mark.django_db(transaction=True)
CONFIGURATION = """
[databases]
{name} = host={host} dbname={name} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
ignore_startup_parameters = extra_float_digits{ignored}
logfile = {folder}/pgbouncer.log
pidfile = {folder}/pgbouncer.pid
"""
POLLS = "import tests.world as w; print(*(w.poll('kraken') for _ in range({count})))"


@pytest.fixture(params=["session", pytest.param("transaction", marks=pytest.mark.smoke), "transaction, ignoring"])
def pooled(request: pytest.FixtureRequest, debian: Program) -> Iterator[str]:
    """The test database's URL through a pgbouncer of its own: as it is shipped, and as guides set it up."""
    mode, _, ignoring = request.param.partition(", ")
    program, port = debian("pgbouncer", "pgbouncer"), free_port()
    parts, name = urlsplit(os.environ["DATABASE_URL"]), settings.DATABASES["default"]["NAME"]
    [host] = parse_qs(parts.query)["host"]
    # Neither PostgreSQL nor pgbouncer runs as root, and sockets are for the server's own user.
    account = pwd.getpwuid(Path(host).stat().st_uid).pw_name
    with tempfile.TemporaryDirectory(prefix="marketmon-pooler-") as folder:
        file = Path(folder, "pgbouncer.ini")
        file.write_text(
            CONFIGURATION.format(
                name=name,
                host=host,
                user=parts.username,
                port=port,
                folder=folder,
                mode=mode,
                size=8 if mode == "session" else 3,  # a session keeps its connection: the seventh would wait
                ignored=",options" if ignoring else "",
            )
        )
        for path in (Path(folder), file):
            os.chmod(path, 0o777)
        user = {"user": account} if os.geteuid() == 0 else {}
        running = subprocess.Popen([program, "-q", str(file)], **user)  # type: ignore[call-overload]
        url = f"postgres://{parts.username}@127.0.0.1:{port}/{name}"
        try:
            wait_for(url, running)
            yield url
        finally:
            running.terminate()
            running.wait(10)


def wait_for(url: str, running: subprocess.Popen[bytes]) -> None:
    give_up_at = clock.now().timestamp() + 10
    while True:
        try:
            psycopg2.connect(url, connect_timeout=2).close()
            return
        except psycopg2.OperationalError:
            assert running.poll() is None, "pgbouncer has ended"
            assert clock.now().timestamp() < give_up_at


@pytest.fixture
def roles_own() -> Iterator[None]:
    """Takes the role's limits back: they would be every later test's."""
    yield
    connection.close()  # what the pooler's sessions were ended with may have ended this one
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {connection.settings_dict['NAME']} RESET ALL")


def run(url: str, sandbox: Sandbox, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "DATABASE_URL": url, "SANDBOX_URL": sandbox.url, "LOG_LEVEL": "ERROR", "PGPORT": "1"}
    return subprocess.run(
        [sys.executable, "manage.py", *words], cwd=PROJECT, env=environ, capture_output=True, text=True, timeout=110
    )  # fmt: skip


@pytest.mark.timeout(300)
def test_all_works_through_a_pooler_once_it_is_prepared(
    sandbox: Sandbox, transactional_db: None, pooled: str, roles_own: None
) -> None:
    partitions.ensure(clock.now())
    onboard("kraken")

    refused = run(pooled, sandbox, "shell", "-v", "0", "-c", POLLS.format(count=1))
    prepared = run(pooled, sandbox, "prepare")
    connection.close()  # it was idle, and may have been ended with the pooler's sessions
    done = run(pooled, sandbox, "shell", "-v", "0", "-c", POLLS.format(count=3))

    assert "run `manage.py prepare`" in refused.stderr
    assert (prepared.returncode, "settings of the role now" in prepared.stdout) == (0, True), prepared.stderr[-2000:]
    assert "PGPORT in the environment has no effect" in prepared.stdout
    assert done.stdout.split() == ["stored"] * 3, done.stderr[-2000:]
    assert list(Run.objects.values_list("outcome", flat=True)) == ["stored"] * 3
    assert Tick.objects.count() == sum(Run.objects.values_list("rows_stored", flat=True)) > 0
    assert limits_at(pooled, sessions=6) == {tuple(LIMITS.values())}


def limits_at(url: str, *, sessions: int) -> set[tuple[str, ...]]:
    """What as many clients at once are given."""
    clients = [psycopg2.connect(url) for _ in range(sessions)]
    found = set()
    for client in clients:
        with client, client.cursor() as cursor:
            cursor.execute(f"SELECT {NOW}")
            found.add(cursor.fetchone())
    for client in clients:
        client.close()
    return found


@pytest.mark.timeout(300)
def test_collections_exclude_each_other_through_a_pooler_and_end(
    sandbox: Sandbox, transactional_db: None, pooled: str, roles_own: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock of the session stayed with the pooler's: the first call was the last that was answered."""
    assert run(pooled, sandbox, "prepare").returncode == 0
    connection.close()
    monkeypatch.setenv("DATABASE_URL", pooled)
    with web() as running:
        answers = [collect(running, f"one-{number}") for number in range(6)]
        with ThreadPoolExecutor(6) as pool:
            answers += pool.map(lambda _: collect(running, "all at once"), range(6))

    assert answers == [(200, "success")] * 12
    assert Collection.objects.count() == 7


def collect(running: Web, name: str) -> tuple[int, str]:
    answer = requests.post(f"{running.url}/metrics/collect", json={"collection_id": name}, timeout=60)
    return answer.status_code, answer.json()["status"]
