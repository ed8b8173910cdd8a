"""The database that a command is about: a running server's, or the one of a home that is stopped or new."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from embedded import attended, postgres, site
from embedded.lock import HomeLock, RefusedError
from lib import home
from lib.environment import FILE_SUFFIX
from marketmon.backup import databases


@contextlib.contextmanager
def database() -> Iterator[Path | None]:
    """Makes the database current until the block ends; yields the home whose server was started for it, if one was.

    A home without a running system gets its own PostgreSQL for the time: `make run` is not needed for a backup.
    """
    ours = "DATABASE_URL" not in os.environ or "DATABASE_URL" in home.names_from_files
    lock = _lock(home.home_dir()) if ours and not os.environ.get(f"DATABASE_URL{FILE_SUFFIX}") else None
    if lock is None:
        yield None
        return
    try:
        with _started(home.home_dir()):
            yield home.home_dir()
    finally:
        lock.release()


def _lock(folder: Path) -> HomeLock | None:
    """Returns the home's lock; None while a system runs there, which has the database up."""
    lock = HomeLock(site.make_home(folder))
    try:
        lock.acquire("a backup or restore")
    except RefusedError:
        return None
    return lock


@contextlib.contextmanager
def _started(folder: Path) -> Iterator[None]:
    place = site.settle(folder, with_valkey=False)
    data_lock = HomeLock(place.folder) if place.folder != folder else None
    if data_lock is not None:
        data_lock.acquire("a backup or restore")
    try:
        if place.postgres is None:
            raise RuntimeError("PostgreSQL's programs were not found")
        server = postgres.Postgres(place, place.postgres.binary, postgres.LAPTOP)
        server.prepare()
        server.clear_the_way()
        with attended.running(server.command(), place, signal.SIGINT) as process:
            attended.wait_for(lambda: server.is_ready(process.pid), process)
            where = {"NAME": postgres.NAME, "USER": postgres.NAME, "PASSWORD": "", "PORT": ""}
            with databases.reached_at({**where, "HOST": str(place.sockets)}):
                yield
    finally:
        if data_lock is not None:
            data_lock.release()
