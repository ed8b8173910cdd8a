"""The release before collects, its database is brought up to this one, and nothing of it is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from lib.home import PROJECT_DIR
from marketmon.backup import databases

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.system, pytest.mark.timeout(600)]
BEFORE_TAGS = "caa39ec"  # a commit that could be upgraded from when this test was written
WRITE = """
from collectors.history import partitions
from collectors.models import Tick
from exchanges.models import Exchange
from lib import clock
from operations import commands
partitions.ensure(clock.now())
for name in ("kraken", "luno"):
    commands.create(name, by="the release before", now=clock.now())
print(Exchange.objects.count())
"""


def release_before() -> str:
    """The newest tag before this commit; without tags one that is known."""
    for words in (("describe", "--tags", "--abbrev=0", "HEAD^"), ("rev-parse", "--verify", "-q", BEFORE_TAGS)):
        found = subprocess.run(["git", *words], cwd=PROJECT_DIR, capture_output=True, text=True)
        if found.returncode == 0:
            return found.stdout.strip()
    pytest.skip("the history has no release before this one")


@pytest.fixture
def old_tree() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="marketmon-before-") as folder:
        packed = subprocess.run(
            ["git", "archive", release_before()], cwd=PROJECT_DIR, capture_output=True, check=True
        ).stdout
        subprocess.run(["tar", "-xf", "-"], cwd=folder, input=packed, check=True)
        yield Path(folder)


def manage(tree: Path, database: str, *words: str) -> str:
    environ = {**os.environ, "DATABASE_URL": database, "LOG_LEVEL": "ERROR", "SANDBOX_URL": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "manage.py", *words],
        cwd=tree, env=environ, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_this_release_takes_over_what_the_one_before_has_collected(transactional_db: None, old_tree: Path) -> None:
    name = f"{settings.DATABASES['default']['NAME']}_before"
    with databases.scratch(name):
        url = os.environ["DATABASE_URL"].replace("/marketmon?", f"/{name}?")
        assert name in url
        manage(old_tree, url, "prepare")
        assert manage(old_tree, url, "shell", "-v", "0", "-c", WRITE).split()[-1] == "2"
        before = counts()

        manage(PROJECT_DIR, url, "prepare")

        after = counts()
        assert {table: rows for table, rows in before.items() if after.get(table, 0) < rows} == {}
        assert "NOT" not in subprocess.run(
            [sys.executable, "-W", "ignore", "manage.py", "verify"],
            cwd=PROJECT_DIR, env={**os.environ, "DATABASE_URL": url}, capture_output=True, text=True, timeout=300,
        ).stdout  # fmt: skip
        manage(old_tree, url, "shell", "-v", "0", "-c", "from collectors.status import workers; print(1)")


def counts() -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' "
            "AND NOT relispartition"
        )
        tables = [table for (table,) in cursor.fetchall()]
        found = {}
        for table in tables:
            cursor.execute(f"SELECT count(*) FROM {connection.ops.quote_name(table)}")
            found[table] = cursor.fetchone()[0]
    connection.close()
    return found
