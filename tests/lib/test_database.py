"""PostgreSQL's limits and version, and sessions behind a pooler."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import pytest
from django.db import OperationalError, connection, connections
from django.db.backends.postgresql import base as plain

from lib.database.base import DatabaseWrapper, LimitsMissing, ServerRefused, require_version
from lib.database.limits import LIMITS, NOW
from marketmon import servers

pytestmark = pytest.mark.django_db(transaction=True)
POOLER_SAYS = "connection to server failed: FATAL:  unsupported startup parameter: options\n"


@pytest.fixture
def pooler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuses options, as pgbouncer does by default."""
    connect = plain.DatabaseWrapper.get_new_connection

    def refuse_options(self: DatabaseWrapper, parameters: dict[str, object]) -> object:
        if parameters.get("options"):
            raise psycopg2.OperationalError(POOLER_SAYS)
        return connect(self, parameters)

    monkeypatch.setattr(plain.DatabaseWrapper, "get_new_connection", refuse_options)
    monkeypatch.setattr(DatabaseWrapper, "_without_options", set())
    yield
    monkeypatch.undo()
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {connection.settings_dict['NAME']} RESET ALL")


def opened() -> DatabaseWrapper:
    made = connections.create_connection("default")
    made.ensure_connection()
    assert isinstance(made, DatabaseWrapper)
    return made


def limits_of(asked: DatabaseWrapper) -> list[str]:
    with asked.cursor() as cursor:
        cursor.execute(f"SELECT {NOW}")
        return list(cursor.fetchone())


def test_each_session_has_its_limits() -> None:
    asked = opened()

    assert limits_of(asked) == list(LIMITS.values())
    assert not asked.is_pooled
    asked.close()


def test_a_pooler_s_session_without_limits_is_refused_until_they_are_the_role_s(pooler: None) -> None:
    with pytest.raises(LimitsMissing, match="run `manage"):
        opened()
    assert servers.refusal_of_postgres()[0].startswith("DATABASE_URL: the pooler of DATABASE_URL gives sessions")

    assert [servers.settle_limits(), servers.settle_limits()] == [True, False]

    asked = opened()
    assert limits_of(asked) == list(LIMITS.values())
    assert asked.is_pooled
    asked.close()
    assert servers.refusal_of_postgres() == []


def test_what_was_refused_leaves_no_connection_behind(pooler: None) -> None:
    made = connections.create_connection("default")
    for _ in range(2):
        with pytest.raises(LimitsMissing):
            made.ensure_connection()

    assert made.connection is None


@pytest.mark.parametrize(("number", "words"), [(150_013, "this is 15"), (90_624, "this is 9"), (170_010, "this is 17")])
def test_an_old_server_is_refused(number: int, words: str) -> None:
    with pytest.raises(ServerRefused, match=f"PostgreSQL 18 or newer is needed; {words}"):
        require_version(number)


@pytest.mark.parametrize("number", [180_000, 180_004, 190_001])
def test_a_newer_server_is_not(number: int) -> None:
    require_version(number)


def test_a_server_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> object:
        raise OperationalError("connection refused")

    monkeypatch.setattr(DatabaseWrapper, "get_new_connection", away)

    assert servers.refusal_of_postgres() == []


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"cluster_enabled": 1, "valkey_version": "9.0.0"}, "cluster mode"),
        ({"redis_mode": "cluster", "redis_version": "7.2.4"}, "cluster mode"),
        ({"cluster_enabled": 0, "redis_version": "6.2.1"}, "this is Redis 6.2.1"),
        ({"valkey_version": "7.2.4", "redis_version": "7.2.4"}, "this is Valkey 7.2.4"),
        ({"valkey_version": "9.0.1", "redis_version": "7.2.4"}, None),
        ({"redis_version": "8.0.0"}, None),
        ({}, None),
    ],
)
def test_a_valkey_that_cannot_hold_queues_is_refused(
    monkeypatch: pytest.MonkeyPatch, said: dict[str, object], words: str | None
) -> None:
    monkeypatch.setattr(servers.valkey, "client", lambda: type("Said", (), {"info": lambda *_: said}))

    found = servers.refusal_of_valkey()

    assert (len(found), words or "") == (int(words is not None), words or "")
    assert words is None or words in found[0]
