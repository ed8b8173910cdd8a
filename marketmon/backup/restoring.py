"""Fills an empty database from a backup, brings it up to this release, and proves that everything arrived."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.models import F

from collectors.gaps import invariants
from collectors.history import partitions
from collectors.models import Stream, Worker
from marketmon.backup import archive, databases
from marketmon.backup.archive import Manifest

GENERATIONS = 1000  # more than operators have raised since any backup, so that no run of before can store anything
# What the migrations of a newer release may add to.
GROWS = frozenset({"django_migrations", "django_content_type", "auth_permission", "auth_group_permissions"})
TABLES = """
SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
"""
OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
ALIVE = """
SELECT (SELECT count(*) FROM collectors_worker WHERE lease_until > clock_timestamp()),
       (SELECT count(*) FROM collectors_cursor
        WHERE name = 'beat' AND reached_at > clock_timestamp() - interval '1 minute')
"""


class CannotRestore(Exception):
    """A refusal that has changed nothing; the message says why."""


class NotProven(Exception):
    """A restored database that is not what the backup says."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was compared in a restored database, and what could not be judged."""

    tables: int
    rows: int
    unjudged: tuple[str, ...]


def restore(folder: Path, manifest: Manifest, *, now: datetime) -> None:
    """Fills the current database. Raises CannotRestore before anything is written, ProgramFailed."""
    refuse_newer(manifest)
    refuse_unless_empty()
    connection.close()
    options = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", "--schema=public"]
    databases.run("pg_restore", [*options, str(folder / archive.DUMP)])
    if not manifest.with_history:
        _take_tail(folder / archive.TAIL, manifest, now)
    call_command("migrate", interactive=False, verbosity=0)
    partitions.ensure(now)


def refuse_newer(manifest: Manifest) -> None:
    known = {f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations}
    unknown = sorted(set(manifest.migrations) - known)
    if unknown:
        raise CannotRestore(
            f"the backup was made by release {manifest.version}, which has {len(unknown)} migrations that this one "
            f"does not know ({unknown[0]}): restore it with that release"
        )


def refuse_unless_empty() -> None:
    """Refuses a database that holds anything, or that somebody uses. Raises CannotRestore."""
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
        [tables] = cursor.fetchone()
        cursor.execute(OTHERS)
        [others] = cursor.fetchone()
    if tables:
        raise CannotRestore(
            f"the database {databases.name()} is not empty ({tables} tables and sequences{_alive()}): nothing was "
            "changed. --into another-name makes a new one"
        )
    if others:
        raise CannotRestore(
            f"{others} other sessions are in the database {databases.name()}: stop web, worker, beat, pulse and "
            "stream first; nothing was changed"
        )


def _alive() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('collectors_worker') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return ""
        cursor.execute(ALIVE)
        leases, beats = cursor.fetchone()
    living = [f"{leases} leases are held"] * bool(leases) + ["beat runs"] * bool(beats)
    return f"; {' and '.join(living)}" if living else ""


def _take_tail(path: Path, manifest: Manifest, now: datetime) -> None:
    partitions.ensure_since(manifest.moment - timedelta(days=1), now)
    with transaction.atomic(), connection.cursor() as cursor, path.open("rb") as file:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.copy_expert("COPY collectors_tick FROM STDIN (FORMAT binary)", file)


def begin_anew() -> None:
    """Raises every generation and ends every lease: what still runs under an older one can store nothing here."""
    with transaction.atomic():
        Worker.objects.update(
            generation=F("generation") + GENERATIONS, lease_token=None, lease_until=None, cycle_started_at=None
        )
        Stream.objects.update(holder="", held_until=None, is_delivering=False)


def prove(manifest: Manifest) -> Proof:
    """Compares what was restored with what the backup says of it, and judges every promise. Raises NotProven."""
    wrong = _wrong_counts(manifest)
    unjudged = []
    for result in invariants.check(since=manifest.moment - timedelta(days=1)):
        if result.offences:
            wrong.append(f"{result.offences} x NOT {result.promise} ({', '.join(result.examples)})")
        elif result.unjudged:
            unjudged.append(f"{result.promise}: {result.unjudged}")
    if wrong:
        raise NotProven("; ".join(wrong))
    return Proof(len(manifest.rows), sum(manifest.rows.values()), tuple(unjudged))


def _wrong_counts(manifest: Manifest) -> list[str]:
    wrong = []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        for table, rows in manifest.rows.items():
            cursor.execute(f"SELECT count(*) FROM {connection.ops.quote_name(table)}")
            [found] = cursor.fetchone()
            if found < rows or (found > rows and table not in GROWS):
                wrong.append(f"{table} has {found} rows instead of {rows}")
    return wrong
