"""Throw-away PostgreSQL and Valkey that keep their promises: on disk, with the options `make run` gives them."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import django
from django.core.management import call_command

from embedded import attended, postgres, site, valkey


@dataclass(frozen=True, slots=True)
class Servers:
    """The environment that names them to any process of ours, and their process ids."""

    environ: dict[str, str]
    postgres_pid: int
    valkey_pid: int


@contextlib.contextmanager
def durable_servers() -> Iterator[Servers]:
    """They die with this process, and their folder with them."""
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
            yield Servers(_environ(folder, database.url, cache.url), first.pid, second.pid)
    finally:
        for used in {folder, place.folder}:
            shutil.rmtree(used, ignore_errors=True)


def prepare_django(servers: Servers) -> None:
    """This process is a Django process of these servers from here on, with empty tables."""
    os.environ.update(servers.environ)
    django.setup()
    call_command("migrate", interactive=False, verbosity=0)


def _environ(folder: Path, database_url: str, redis_url: str) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "marketmon.settings",
        "MARKETMON_HOME": str(folder),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": secrets.token_urlsafe(64),
        "ADMIN_API_KEY": secrets.token_urlsafe(36),
        "LOG_LEVEL": "WARNING",
    }
