"""Collection through pgbouncer, which gives a server connection to a client for as long as its session."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg2
import pytest
from django.conf import settings

from collectors.history import partitions
from collectors.models import Run, Tick
from lib import clock
from tests.lab.conftest import Program
from tests.sandbox_client import PROJECT, Sandbox, free_port
from tests.world import onboard

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.smoke]
CONFIGURATION = """
[databases]
{name} = host={host} dbname={name} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = session
default_pool_size = 10
ignore_startup_parameters = extra_float_digits,options
logfile = {folder}/pgbouncer.log
pidfile = {folder}/pgbouncer.pid
"""
POLLS = "import tests.world as w; print(*(w.poll('kraken') for _ in range({count})))"


@pytest.fixture
def pooled(debian: Program) -> Iterator[str]:
    """The test database's URL through a pgbouncer of its own."""
    program, port = debian("pgbouncer", "pgbouncer"), free_port()
    parts, name = urlsplit(os.environ["DATABASE_URL"]), settings.DATABASES["default"]["NAME"]
    [host] = parse_qs(parts.query)["host"]
    # Neither PostgreSQL nor pgbouncer runs as root, and sockets are for the server's own user.
    account = pwd.getpwuid(Path(host).stat().st_uid).pw_name
    with tempfile.TemporaryDirectory(prefix="marketmon-pooler-") as folder:
        file = Path(folder, "pgbouncer.ini")
        file.write_text(CONFIGURATION.format(name=name, host=host, user=parts.username, port=port, folder=folder))
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


def test_polls_are_stored_through_a_pooler(sandbox: Sandbox, transactional_db: None, pooled: str) -> None:
    partitions.ensure(clock.now())
    onboard("kraken")

    environ = {**os.environ, "DATABASE_URL": pooled, "SANDBOX_URL": sandbox.url, "LOG_LEVEL": "ERROR"}
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", POLLS.format(count=3)],
        cwd=PROJECT, env=environ, capture_output=True, text=True, timeout=110,
    )  # fmt: skip

    assert done.stdout.split() == ["stored"] * 3, done.stderr[-2000:]
    assert list(Run.objects.values_list("outcome", flat=True)) == ["stored"] * 3
    assert Tick.objects.count() == sum(Run.objects.values_list("rows_stored", flat=True)) > 0
