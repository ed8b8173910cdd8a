"""Throw-away PostgreSQL and Valkey that keep their promises: on disk, with the options `make run` gives them."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import django
import psutil
from django.core.management import call_command
from django.db import connection

from embedded import attended, postgres, site, valkey
from lib.valkey import client


@contextlib.contextmanager
def durable_servers() -> Iterator[dict[str, str]]:
    """The environment that names them to any process of ours. They die with this one, and their folder with them."""
    folder = Path(tempfile.mkdtemp(prefix="marketmon-bench-"))
    folder.chmod(0o711)  # the servers run as nobody when we are root
    place = site.settle(folder, elsewhere=folder.parent)
    if place.valkey is None or place.postgres is None:
        raise RuntimeError("the embedded servers are not installed: make bench installs them")
    try:
        with contextlib.ExitStack() as stack:
            cache = valkey.Valkey(place, place.valkey.binary, valkey.LAPTOP)
            cache.prepare()
            second = stack.enter_context(attended.running(cache.command(), place, signal.SIGTERM))
            attended.wait_for(cache.is_ready, second)
            database = postgres.Postgres(place, place.postgres.binary, postgres.LAPTOP)
            database.prepare()
            first = stack.enter_context(attended.running(database.command(), place, signal.SIGINT))
            attended.wait_for(lambda: database.is_ready(first.pid), first)
            yield _environ(folder, database.url, cache.url)
    finally:
        for used in {folder, place.folder}:
            shutil.rmtree(used, ignore_errors=True)


def prepare_django(environ: Mapping[str, str]) -> None:
    """This process is a Django process of these servers from here on, with empty tables."""
    os.environ.update(environ)
    django.setup()
    from marketmon import prepared_tables

    prepared_tables.load_into_empty_database()
    call_command("migrate", interactive=False, verbosity=0)


def process_ids() -> dict[str, int]:
    """Of the servers that this process is connected to, by name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        postgres_server = psutil.Process(cursor.fetchone()[0]).parent()
    assert postgres_server is not None
    return {"postgres": postgres_server.pid, "valkey": client().info("server")["process_id"]}


def _environ(folder: Path, database_url: str, redis_url: str) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "marketmon.settings",
        "MARKETMON_HOME": str(folder),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": secrets.token_urlsafe(64),
        "ADMIN_API_KEY": secrets.token_urlsafe(36),
        "LOG_LEVEL": "WARNING",
        "METRICS_WEBHOOK_OPEN": "1",
        "ALLOW_PRIVATE_EXCHANGE_URLS": "1",  # the simulated exchanges are on this machine
    }
