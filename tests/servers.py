"""Boots throw-away PostgreSQL and Valkey before pytest-django reads the settings (by `-p tests.servers`: a conftest
would be too late). Servers that are named in DATABASE_URL or REDIS_URL are used as they are.

The servers die with this process, however it ends; a folder that a killed run left behind goes with the next run.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from embedded import attended, postgres, site, valkey

MEMORY = Path("/dev/shm")
MEMORY_WANTED_BYTES = 600_000_000
OWN_DATABASE = "TESTS_OWN_DATABASE"  # in the environment: 1 where the database server is the tests' own
NAME = re.compile(r"marketmon-tests-(\d+)-.*")


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    """A wrapper comes before every plain hook, and so before pytest-django's, which imports the settings."""
    missing = {name for name in ("DATABASE_URL", "REDIS_URL") if not os.environ.get(name)}
    os.environ[OWN_DATABASE] = "1" if "DATABASE_URL" in missing else "0"
    os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(64))
    os.environ.setdefault("ADMIN_API_KEY", secrets.token_urlsafe(36))
    os.environ.setdefault("METRICS_WEBHOOK_OPEN", "on")  # servers from outside mean production, and a token
    if missing:
        stack = contextlib.ExitStack()
        early_config.add_cleanup(stack.close)
        folder = stack.enter_context(_folder())
        os.environ["MARKETMON_HOME"] = str(folder)  # not the developer's own
        (folder / "static").mkdir(mode=0o755)  # whitenoise looks for it at every start of a web process
        os.environ.update(stack.enter_context(throwaway_servers(folder, missing)))
    return (yield)


@contextlib.contextmanager
def throwaway_servers(folder: Path, names: set[str]) -> Iterator[dict[str, str]]:
    """URLs of fresh servers, for each of DATABASE_URL and REDIS_URL that is named."""
    place = site.settle(
        folder, with_postgres="DATABASE_URL" in names, with_valkey="REDIS_URL" in names, elsewhere=folder.parent
    )
    urls = {}
    with contextlib.ExitStack() as stack:
        if place.valkey:
            cache = valkey.Valkey(place, place.valkey.binary, valkey.THROWAWAY)
            cache.prepare()
            stack.enter_context(attended.running(cache.command(), place, signal.SIGTERM))
            urls["REDIS_URL"] = cache.url
        if place.postgres:
            database = postgres.Postgres(place, place.postgres.binary, postgres.THROWAWAY)
            database.prepare()
            server = stack.enter_context(attended.running(database.command(), place, signal.SIGINT))
            attended.wait_for(lambda: database.is_ready(server.pid), server)
            urls["DATABASE_URL"] = database.url
        yield urls
    if place.folder != folder:
        shutil.rmtree(place.folder, ignore_errors=True)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """In memory when there is room for it."""
    parent = MEMORY if _free_bytes(MEMORY) > MEMORY_WANTED_BYTES else Path(tempfile.gettempdir())
    for old in parent.glob("marketmon-tests-*"):
        found = NAME.fullmatch(old.name)
        if found and not Path("/proc", found[1]).exists() and old.stat().st_uid == os.geteuid():
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"marketmon-tests-{os.getpid()}-", dir=parent))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def system_home(keep_logs_in: Path) -> Iterator[Path]:
    """For a system with servers of its own, which may run as another user. Not in pytest's folder: every test run that
    begins on this machine closes that one to others, also under a system that is running."""
    folder = Path(tempfile.mkdtemp(prefix=f"marketmon-tests-{os.getpid()}-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        if (folder / "logs").exists():
            shutil.copytree(folder / "logs", keep_logs_in / "logs")
        shutil.rmtree(folder)


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free if os.access(folder, os.W_OK) else 0
