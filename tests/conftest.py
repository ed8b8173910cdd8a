"""What every test may use: one sandbox for the whole run, healed before each test that asks for it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from django.db import connection
from django.test import TransactionTestCase

from feeds import close_feeds
from lib import valkey
from tests import promises
from tests.sandbox_client import Sandbox, running_sandbox


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, and so would every process that tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    promises.note(item, call)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.exitstatus = promises.exit_code(session, exitstatus)


KEPT = {"django_content_type", "auth_permission"}  # the same after every test, and slow to make again


def empty_tables(_: TransactionTestCase) -> None:
    """Django's own way makes all content types and permissions anew after each test: a sixth of a run's time."""
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(connection.ops.quote_name(name) for name in set(names) - KEPT)}")


@pytest.fixture(scope="session", autouse=True)
def _quick_emptying() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty_tables)
        yield


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_process: Sandbox, settings) -> Iterator[Sandbox]:
    """The sandbox without faults, known to the settings under its address; feeds start cold."""
    settings.SANDBOX_URL = sandbox_process.url
    valkey.client().flushdb()
    sandbox_process.heal()
    yield sandbox_process
    sandbox_process.heal()
    close_feeds()
