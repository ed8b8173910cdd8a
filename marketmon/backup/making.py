"""Writes a backup of the running system: one snapshot of the database, by pg_dump, and the sealed keys."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder

from collectors.history import rollups
from collectors.models import Watermark
from collectors.status import backups
from lib.disk import in_words
from marketmon import __version__
from marketmon.backup import archive, databases, sealing
from marketmon.backup.archive import Manifest

# What is large, short-lived, and has left its rollups. Ticks that no rollup has counted go along all the same.
RAW = ("collectors_tick", "collectors_orderbook", "collectors_trade")
NEVER = ("django_session",)  # a restored system asks everybody to sign in
COUNTED_MOST = 5_000_000  # rows of a table that are counted one by one
TAIL_SINCE = "(SELECT coalesce(max(reached_at), '-infinity') FROM collectors_cursor WHERE name = %s)"
# By what PostgreSQL believes of their size, so that a table of rollups is not read to the end.
SMALL_TABLES = """
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND NOT relispartition
    AND reltuples < %s AND relname <> ALL(%s) ORDER BY 1
"""
TAKEN_BYTES = """
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class AS c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND NOT EXISTS (
    SELECT 1 FROM pg_inherits AS i WHERE i.inhrelid = c.oid AND i.inhparent::regclass::text = ANY(%s))
"""


class CannotBackUp(Exception):
    """A refusal to begin: what is missing, or too little."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A backup that is to be made in `folder`; no passphrase: without the keys."""

    folder: Path
    passphrase: str | None
    with_history: bool = False


def make(wish: Wish, *, now: datetime) -> Path:
    """Returns the folder of a new backup. Raises CannotBackUp, ProgramFailed, OSError."""
    wish.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = wish.folder / archive.name_at(now)
    if path.exists():
        raise CannotBackUp(f"{path} is there already")
    draft = wish.folder / f".{path.name}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    try:
        _fill(draft, wish, now)
        archive.publish(draft, path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    Watermark.objects.update_or_create(name=backups.MADE, defaults={"reached_at": now})
    return path


def _fill(draft: Path, wish: Wish, now: datetime) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
        if _value(cursor, "SELECT to_regclass('collectors_cursor')", []) is None:
            raise CannotBackUp(f"the database {databases.name()} holds nothing of marketmon's")
        left_out = () if wish.with_history else RAW
        taken = _value(cursor, TAKEN_BYTES, [list(left_out)])
        _require_room(wish.folder, taken)
        rows = _counts(cursor, left_out)
        _dump(draft / archive.DUMP, _value(cursor, "SELECT pg_export_snapshot()", []), left_out)
        tail_rows = 0 if wish.with_history else _copy_tail(cursor, draft / archive.TAIL)
        version = _value(cursor, "SHOW server_version", [])
        applied = sorted(f"{app}.{name}" for app, name in MigrationRecorder(connection).applied_migrations())
    if wish.passphrase is not None:
        box = sealing.seal(sealing.keys_in_effect(), wish.passphrase)
        archive.write_private(draft / archive.KEYS, json.dumps(box, indent=1))
    files = {path.name: archive.describe(path) for path in sorted(draft.iterdir())}
    archive.write_manifest(
        draft,
        Manifest(
            made_at=now.isoformat(), version=__version__, postgres=version, with_history=wish.with_history,
            database_bytes=taken, rows=rows, tail_rows=tail_rows, migrations=applied, files=files,
        ),
    )  # fmt: skip


def _require_room(folder: Path, taken: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < taken:  # the dump is packed, so that this is far more than it takes
        raise CannotBackUp(
            f"{folder} has {in_words(free)} of room; the database that is to be kept there takes {in_words(taken)}"
        )


def _counts(cursor: Any, left_out: tuple[str, ...]) -> dict[str, int]:
    cursor.execute(SMALL_TABLES, [COUNTED_MOST, [*left_out, *NEVER]])
    tables = [name for (name,) in cursor.fetchall()]
    return {name: _value(cursor, f"SELECT count(*) FROM {connection.ops.quote_name(name)}", []) for name in tables}


def _dump(path: Path, snapshot: str, left_out: tuple[str, ...]) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    without = [f"--exclude-table-data-and-children={name}" for name in (*left_out, *NEVER)]
    options = ["--format=custom", "--no-owner", "--no-privileges", "--schema=public", f"--snapshot={snapshot}"]
    databases.run("pg_dump", [*options, *without, f"--file={path}"])


def _copy_tail(cursor: Any, path: Path) -> int:
    """Copies the ticks that no rollup has counted, which would be lost without a trace; returns how many."""
    select = f"SELECT * FROM collectors_tick WHERE received_at >= {TAIL_SINCE}"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        statement = cursor.mogrify(select, [rollups.CURSOR]).decode()
        cursor.copy_expert(f"COPY ({statement}) TO STDOUT (FORMAT binary)", file)
    return int(cursor.rowcount)


def _value(cursor: Any, statement: str, values: list[Any]) -> Any:
    cursor.execute(statement, values)
    return cursor.fetchone()[0]
