"""What is wrong with PostgreSQL or Valkey is told by its cause, and what to do; while it is, nobody else is blamed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
import redis
from django.db import OperationalError, connection

from incidents.models import Incident
from incidents.signs import reading, servers
from lib import clock, valkey
from lib.database import obstacles
from marketmon import pulse

pytestmark = pytest.mark.django_db(transaction=True)


def told() -> list[str]:
    return [f"{alarm.cause}: {alarm.what}; {alarm.do}" for alarm in reading.read(clock.now()).alarms]


@contextmanager
def configured(name: str, value: str) -> Iterator[None]:
    client = valkey.client()
    before = client.config_get(name)[name]  # type: ignore[index]
    client.config_set(name, value)
    try:
        yield
    finally:
        client.config_set(name, before)


@contextmanager
def lock_held(table: str) -> Iterator[int]:
    """Holds it for longer than ours wait, in a session of another program."""
    params: dict[str, Any] = connection.get_connection_params()
    wanted = {name: params[name] for name in ("dbname", "user", "password", "host", "port") if name in params}
    other = psycopg2.connect(**wanted, application_name="psql")
    try:
        other.cursor().execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        time.sleep(3.2)
        yield other.get_backend_pid()
    finally:
        other.close()


def test_a_valkey_without_memory_is_named_and_no_worker_is_missed() -> None:
    with configured("maxmemory", "1"):
        found = told()

    assert [line for line in found if line.startswith("valkey: Valkey stores nothing (its memory is full)")]
    assert not [line for line in found if "No worker" in line]
    assert not [line for line in told() if line.startswith("valkey")]


def test_a_valkey_that_is_a_replica_is_named() -> None:
    valkey.client().replicaof("127.0.0.1", "1")
    try:
        found = told()
    finally:
        valkey.client().replicaof("NO", "ONE")

    assert [line for line in found if "it is a read-only replica" in line and "promote it" in line]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (redis.ResponseError("MISCONF Valkey is configured to save RDB snapshots"), "its disk cannot be written"),
        (redis.AuthenticationError("Authentication required."), "it does not take our password"),
        (redis.ConnectionError("refused"), ""),
        (True, ""),
    ],
)
def test_a_refusal_of_valkey_in_words(error: object, words: str) -> None:
    assert servers.refusal_of(error) == words


def test_a_read_only_database_is_named() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
        try:
            found = told()
        finally:
            cursor.execute("SET default_transaction_read_only = off")

    assert [line for line in found if line.startswith("database: The database is read-only")]


def test_a_lock_that_the_board_itself_waits_for_is_an_incident_with_its_holder() -> None:
    with lock_held("collectors_worker") as pid:
        assert pulse.read_signs(clock.now()) is None

    (found,) = Incident.objects.filter(cause="database")
    assert found.title.startswith("A session of psql holds a lock in the database for which ")
    assert f"pg_terminate_backend({pid})" in found.advice
    assert found.since < clock.now()


@pytest.mark.parametrize(
    ("words", "obstacle"),
    [
        ('connection to server on socket "x" failed: FATAL:  sorry, too many clients already', obstacles.FULL_HOUSE),
        ("FATAL:  remaining connection slots are reserved for roles with SUPERUSER", obstacles.FULL_HOUSE),
        ("FATAL:  the database system is starting up", obstacles.STARTING),
        ('could not translate host name "db" to address: Name or service not known', obstacles.NAMELESS),
        ("connection to server failed: Connection refused", obstacles.NOBODY_LISTENS),
        ('FATAL:  password authentication failed for user "marketmon"', obstacles.REFUSED),
        ("server closed the connection unexpectedly", obstacles.AWAY),
    ],
)
def test_a_database_that_cannot_be_reached_is_told_by_its_words(words: str, obstacle: obstacles.DatabaseObstacle):
    assert obstacles.of(OperationalError(words)) == obstacle


def test_few_connections_left_are_told_before_there_are_none() -> None:
    (alarm,) = servers.database_alarms(servers.DatabaseState(connections=96, most_connections=97))

    assert alarm.what == "The database's connections are nearly used up: 96 of 97"
    assert servers.database_alarms(servers.DatabaseState(connections=90, most_connections=97)) == []
