"""What every test may use: one sandbox for the whole run, healed before each test that asks for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any
from unittest.mock import AsyncMock

import pytest
from django.conf import settings
from django.db import connection
from django.test import TransactionTestCase, override_settings

from feeds import close_feeds
from feeds.ccxt import lean
from feeds.native.http import Pace
from lib import valkey
from tests.sandbox_client import Sandbox, running_sandbox
from tests.servers import OWN_DATABASE


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, and so would every process that tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# The same after every test, and slow to make again.
KEPT = ("django_content_type", "auth_permission", "django_migrations")
MANY_BYTES = 500_000  # above that, a new file is cheaper than deleting row by row
# Every table and partition that has been written to since its file was new; a deleted row keeps its place in it.
WRITTEN = """
SELECT quote_ident(relname), pg_relation_size(oid) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND pg_relation_size(oid) > 0 AND relname <> ALL(%s)
"""


def empty_tables(_: TransactionTestCase | None = None) -> None:
    """Empties what was written to, also tables that Django does not manage. Its own way empties every table and makes
    all content types and permissions anew after each test: a sixth of a run's time."""
    with connection.cursor() as cursor:
        cursor.execute(WRITTEN, [list(KEPT)])
        sizes = dict(cursor.fetchall())
        many = [name for name, size in sizes.items() if size > MANY_BYTES]
        few = [name for name in sizes if name not in many]
        truncate = [f"TRUNCATE {', '.join(many)} CASCADE"] if many else []
        # As a replica: foreign keys are not looked at, because all of their rows go.
        delete = ["SET session_replication_role = replica", *(f"DELETE FROM {name}" for name in few)]
        cursor.execute("; ".join([*truncate, *delete, "SET session_replication_role = origin"]))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_blocker: Any) -> None:
    """Lets the tests' database begin as a copy of one that was filled from the prepared tables, where the servers are
    the tests' own: to apply all migrations costs each process a dozen seconds."""
    from marketmon import prepared_tables

    if os.environ.get(OWN_DATABASE) != "1":
        return
    with django_db_blocker.unblock():
        prepared_tables.load_into_empty_database()
        connection.close()  # a template may have no reader
    connection.settings_dict["TEST"]["TEMPLATE"] = connection.settings_dict["NAME"]


# All tests come from one address; and retention drops what no test of the archive has archived.
MANY = {"PUBLIC_DATA_PER_MINUTE": 1_000_000, "ARCHIVE_URL": "off"}


@pytest.fixture(scope="session", autouse=True)
def _quick_tests() -> Iterator[None]:
    """A quick emptying of the database, and passwords that are no work: a real one costs half a second each.

    What is held for others for a second is not held here: the next request asks about another state.
    """
    from marketmon import health
    from metrics import exposition

    quick = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]
    with pytest.MonkeyPatch.context() as patch, override_settings(PASSWORD_HASHERS=quick, **MANY):
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty_tables)
        patch.setattr(exposition, "HELD_SECONDS", 0.0)
        for held in (health.USABLE, health.USEFUL):
            patch.setattr(held, "good_for_seconds", 0.0)
        yield


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_process: Sandbox, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """The sandbox without faults, known to the settings under its address; feeds start cold, and do not pace their
    requests: most exchanges are asked once a second, which a test would wait for."""
    settings.SANDBOX_URL = sandbox_process.url
    monkeypatch.setattr(lean, "BURST_SECONDS", 60.0)
    monkeypatch.setattr(Pace, "wait", AsyncMock())
    valkey.client().flushdb()
    sandbox_process.heal()
    yield sandbox_process
    sandbox_process.heal()
    close_feeds()
