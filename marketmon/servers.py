"""Whether the two servers are ones that marketmon can work with, asked before a process starts.

A server that is away refuses nothing: every process waits for it.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

import redis
from django.db import DatabaseError, InterfaceError, connections

from lib import valkey
from lib.database.base import DatabaseWrapper, ServerRefused
from lib.database.limits import LIMITS, NOW

LEAST_REDIS = 7
LEAST_VALKEY = 8
CLUSTER = "REDIS_URL: Valkey in cluster mode cannot be used: queues need several keys at once. Name a single server"
# A session has the settings that were there when it began: the pooler shall begin new ones.
NOTICED_SECONDS = 10.0
END_POOLED = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE usename = current_user AND datname = current_database() AND (state = 'idle' OR pid = pg_backend_pid())
ORDER BY pid = pg_backend_pid()
"""


def require() -> None:
    """Ends the process, with a sentence for each server that cannot be used."""
    if refusals := [*refusal_of_postgres(), *refusal_of_valkey()]:
        raise SystemExit("\n".join(refusals))


def refusal_of_postgres(*, looks_at_limits: bool = True) -> list[str]:
    """Returns why PostgreSQL cannot be used, in a sentence; nothing while it can, or is away."""
    asked = _connection()
    asked.looks_at_limits = looks_at_limits
    try:
        asked.ensure_connection()
    except ServerRefused as error:
        return [f"DATABASE_URL: {error}"]
    except (DatabaseError, InterfaceError):
        return []
    finally:
        asked.close()
    return []


def refusal_of_valkey() -> list[str]:
    """Returns why Valkey cannot be used, in a sentence; nothing while it can, is away, or does not say."""
    try:
        said: dict[str, Any] = valkey.client().info("everything")
    except redis.RedisError:
        return []
    if said.get("cluster_enabled") or said.get("redis_mode") == "cluster":
        return [CLUSTER]
    name, least = ("Valkey", LEAST_VALKEY) if "valkey_version" in said else ("Redis", LEAST_REDIS)
    version = str(said.get("valkey_version") or said.get("redis_version", ""))
    major = version.partition(".")[0]
    if major.isdecimal() and int(major) < least:
        return [
            f"REDIS_URL: Valkey {LEAST_VALKEY} or Redis {LEAST_REDIS} and newer are needed; this is {name} {version}"
        ]
    return []


def settle_limits() -> bool:
    """Makes the limits of statements settings of the role, where a pooler passes none on. Returns True when it has."""
    asked = _connection()
    asked.looks_at_limits = False
    try:
        with asked.cursor() as cursor:
            if not asked.is_pooled or _limits(cursor) == LIMITS:
                return False
            cursor.execute("SELECT quote_ident(current_database())")
            database = cursor.fetchone()[0]
            for name, value in LIMITS.items():
                cursor.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {database} SET {name} = '{value}'")
            with contextlib.suppress(DatabaseError, InterfaceError):  # this very session ends, too
                cursor.execute(END_POOLED)
    finally:
        asked.close()
    _wait_for_new_sessions()
    return True


def _wait_for_new_sessions() -> None:
    """Waits until the pooler has noticed that its sessions have ended."""
    give_up_at = time.monotonic() + NOTICED_SECONDS
    while time.monotonic() < give_up_at:
        asked = _connection()
        try:
            asked.ensure_connection()
            return
        except (DatabaseError, InterfaceError):
            time.sleep(0.2)
        finally:
            asked.close()


def _limits(cursor: Any) -> dict[str, str]:
    cursor.execute(f"SELECT {NOW}")
    return dict(zip(LIMITS, cursor.fetchone(), strict=True))


def _connection() -> DatabaseWrapper:
    """Returns a connection of its own: what is found leaves no other one behind in a state."""
    made = connections.create_connection("default")
    assert isinstance(made, DatabaseWrapper)
    return made
