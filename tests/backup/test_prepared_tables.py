"""A new database gets its tables from one file, and has then what the migrations would have made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection

from marketmon import prepared_tables
from marketmon.backup import databases

pytestmark = pytest.mark.django_db(transaction=True)
# PostgreSQL writes a list of words back in another way than it read it.
WRITING = re.compile(r"::(character varying|text)(\[\])?|[()]")
ROWS = """
SELECT app_label || '.' || codename FROM auth_permission JOIN django_content_type AS t ON t.id = content_type_id
UNION ALL SELECT g.name || ' may ' || p.codename FROM auth_group AS g
JOIN auth_group_permissions AS gp ON gp.group_id = g.id JOIN auth_permission AS p ON p.id = gp.permission_id
UNION ALL SELECT 'plan ' || name FROM access_tier
UNION ALL SELECT app || '.' || name FROM django_migrations
ORDER BY 1
"""


@pytest.fixture
def beside() -> Iterator[str]:
    name = f"{databases.name()}_tables"
    databases.drop(name)
    databases.create(name)
    yield name
    databases.drop(name)


def tables(tmp_path: Path) -> list[str]:
    """Every definition of the current database, but for the days' own partitions."""
    path = tmp_path / "dump"
    leave = [f"--exclude-table={name}" for name in days()]
    databases.run("pg_dump", ["--schema-only", "--no-owner", "--no-privileges", *leave, f"--file={path}"])
    return [WRITING.sub("", line) for line in path.read_text().splitlines() if not line.startswith(("--", "\\"))]


def days() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")
        return [name for (name,) in cursor.fetchall()]


def rows() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(ROWS)
        return [row for (row,) in cursor.fetchall()]


def test_a_new_database_has_the_tables_that_the_migrations_make(beside: str, tmp_path: Path) -> None:
    with databases.chosen(beside):
        call_command("migrate", interactive=False, verbosity=0)
        migrated, applied = tables(tmp_path), [row for row in rows() if re.search(r"\.\d{4}_", row)]
    databases.drop(beside)
    databases.create(beside)

    with databases.chosen(beside):
        assert prepared_tables.load_into_empty_database()
        call_command("migrate", interactive=False, verbosity=0)

        assert tables(tmp_path) == migrated
        found = rows()
        call_command("check", database=["default"])
        assert not prepared_tables.load_into_empty_database()  # it is somebody's now

    assert set(applied) <= set(found)
    assert "plan free" in found
    assert len([row for row in found if " may " in row]) > 50


def test_a_database_with_anything_in_it_is_left_as_it_is(beside: str) -> None:
    with databases.chosen(beside), connection.cursor() as cursor:
        cursor.execute("CREATE TABLE somebodys (id integer)")

        assert not prepared_tables.load_into_empty_database()
        cursor.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        assert cursor.fetchone()[0] == 1
