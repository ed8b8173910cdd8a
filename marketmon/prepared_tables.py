"""All tables as the migrations make them, in one file: an empty database is filled in a second, not migrated for ten.

The file may be older than the migrations: those that it does not name are applied to it as to any older database. So it
is written anew when that has become many (`manage.py tables --write`), and never edited.
"""

from __future__ import annotations

from pathlib import Path

from django.core.management import call_command
from django.db import connection, transaction

from marketmon.backup import databases

FILE = Path(__file__).with_name("prepared_tables.sql")
SCRATCH = "marketmon_tables"
LOCK = 4_210_533_617  # two that prepare one database at once
# Another schema than PostgreSQL's own default has an owner who knows why; what is there at all is somebody's.
IS_EMPTY = """
SELECT current_schema() = 'public'
  AND NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace)
"""
# Settings of the session that dumps, comments, and what psql alone understands.
LEFT_OUT = ("--", "SET ", "SELECT pg_catalog.set_config", "\\")


def load_into_empty_database() -> bool:
    """Makes all tables in a database that has none. Returns whether it was such a one."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        cursor.execute(IS_EMPTY)
        if not cursor.fetchone()[0]:
            return False
        cursor.execute(FILE.read_text(encoding="utf-8"))
        cursor.execute("UPDATE django_migrations SET applied = clock_timestamp()")
    return True


def write(path: Path) -> None:
    """Writes the file anew, from the migrations alone, in a database beside the current one."""
    with databases.scratch(SCRATCH):
        call_command("migrate", interactive=False, verbosity=0)
        dumped = path.with_suffix(".dump")
        databases.run("pg_dump", ["--no-owner", "--no-privileges", "--inserts", f"--file={dumped}"])
    text = "\n".join(
        line for line in dumped.read_text(encoding="utf-8").splitlines() if line and not line.startswith(LEFT_OUT)
    )
    dumped.unlink()
    path.write_text(f"{text}\n", encoding="utf-8")
