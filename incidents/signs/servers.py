"""Whether both servers store what they are given, and what in them stands in the way: each is asked itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis
from django.db import DatabaseError, InterfaceError, connection

from incidents.rules.verdict import Alarm, Tone
from lib.database import obstacles

PROBE_KEY = "marketmon:probe"
PROBE_SECONDS = 10
FEW_CONNECTIONS = 5  # a process that starts, and who comes to see what is wrong, need some
# Last: who has held for longer than ours wait for one a lock for which others wait, and how many they are.
STATE = """
SELECT current_setting('transaction_read_only')::boolean, pg_is_in_recovery(),
    (SELECT sum(numbackends)::integer FROM pg_stat_database),
    current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
        - current_setting('reserved_connections')::integer,
    held.*
FROM (SELECT) AS here
LEFT JOIN LATERAL (
    SELECT holder.pid, holder.application_name, holder.xact_start, count(*)
    FROM pg_stat_activity AS waiting
    CROSS JOIN LATERAL unnest(pg_blocking_pids(waiting.pid)) AS blocking (pid)
    JOIN pg_stat_activity AS holder ON holder.pid = blocking.pid
    WHERE waiting.datname = current_database() AND waiting.wait_event_type = 'Lock'
        AND coalesce(holder.xact_start, '-infinity') < clock_timestamp() - interval '3 seconds'
    GROUP BY 1, 2, 3 ORDER BY count(*) DESC, 3 LIMIT 1
) AS held ON true
"""
# Who has shut others out of a table, though nobody waits this moment: whoever did has given up.
SHUTS_OUT = """
SELECT holder.pid, holder.application_name, holder.xact_start, 0
FROM pg_locks JOIN pg_stat_activity AS holder USING (pid)
WHERE granted AND locktype = 'relation' AND mode = 'AccessExclusiveLock' AND holder.datname = current_database()
    AND holder.xact_start < clock_timestamp() - interval '3 seconds'
ORDER BY holder.xact_start LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class LockHolder:
    """A session of the database that holds what others wait for; `since` is None where we may not see it."""

    pid: int
    name: str
    since: datetime | None
    waiting: int


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """The state of PostgreSQL, as it says itself."""

    is_read_only: bool = False
    is_standby: bool = False
    connections: int = 0
    most_connections: int = 0
    holder: LockHolder | None = None

    @property
    def is_nearly_full(self) -> bool:
        return self.most_connections > 0 and self.connections > self.most_connections - FEW_CONNECTIONS


NOT_ASKED = DatabaseState()


def ask_database() -> DatabaseState:
    """Asks what no table has to be read for. Raises DatabaseError, InterfaceError."""
    with connection.cursor() as cursor:
        cursor.execute(STATE)
        is_read_only, is_standby, used, most, *held = cursor.fetchone()
    holder = LockHolder(*held) if held[0] is not None else None
    return DatabaseState(is_read_only, is_standby, used, most, holder)


def database_alarms(state: DatabaseState) -> list[Alarm]:
    """Returns what of it stops the storing, or is about to."""
    if state.is_read_only or state.is_standby:
        claim = "The database is a standby: nothing is stored" if state.is_standby else obstacles.READ_ONLY.what
        return [Alarm(claim, obstacles.READ_ONLY.do, cause="database")]
    if state.holder is not None:
        return [_of_lock(state.holder)]
    if state.is_nearly_full:
        claim = f"The database's connections are nearly used up: {state.connections} of {state.most_connections}"
        return [Alarm(claim, obstacles.FULL_HOUSE.do, tone=Tone.WARNING, cause="database")]
    return []


def _of_lock(holder: LockHolder) -> Alarm:
    name = f" of {holder.name}" if holder.name else ""
    waiting = {0: "statements wait", 1: "1 statement waits"}.get(holder.waiting, f"{holder.waiting} statements wait")
    return Alarm(
        f"A session{name} holds a lock in the database for which {waiting}",
        f"let it end, or end it: SELECT pg_terminate_backend({holder.pid})",
        holder.since,
        cause="database",
    )


def alarm_of(error: BaseException) -> Alarm:
    """Returns the alarm of a database that could not be read; where it still tells who holds a lock, with that."""
    obstacle = obstacles.of(error)
    if obstacle in (obstacles.LOCKED, obstacles.SLOW):
        try:
            if found := database_alarms(ask_database()) or _who_shuts_out():
                return found[0]
        except (DatabaseError, InterfaceError):
            pass  # the first error is what has to be told
    return Alarm(obstacle.what, obstacle.do, cause="database")


def _who_shuts_out() -> list[Alarm]:
    with connection.cursor() as cursor:
        cursor.execute(SHUTS_OUT)
        row = cursor.fetchone()
    return [_of_lock(LockHolder(*row))] if row else []


# --- Valkey -----------------------------------------------------------------------------------------------------


def ask_valkey_in(together: redis.client.Pipeline) -> None:
    """Adds a write to a pipeline; its answer is for `refusal_of`."""
    together.set(PROBE_KEY, 1, ex=PROBE_SECONDS)


def refusal_of(answer: Any) -> str:
    """Returns why Valkey does not store, in a few words; empty where it does, or does not answer at all."""
    if isinstance(answer, redis.exceptions.OutOfMemoryError):
        return "its memory is full"
    if isinstance(answer, redis.exceptions.ReadOnlyError):
        return "it is a read-only replica"
    if isinstance(answer, redis.exceptions.AuthenticationError | redis.exceptions.NoPermissionError):
        return "it does not take our password"
    if isinstance(answer, redis.exceptions.ResponseError):
        return "its disk cannot be written" if "MISCONF" in str(answer) else str(answer)[:100]
    return ""


WHAT_TO_DO = {
    "its memory is full": "raise its maxmemory; what fills it is seen by valkey-cli --bigkeys",
    "it is a read-only replica": "promote it, or let REDIS_URL name the primary",
    "it does not take our password": "correct REDIS_URL",
    "its disk cannot be written": "make room where it saves, or see its log",
}


def valkey_alarm(refusal: str) -> Alarm:
    claim = f"Valkey stores nothing ({refusal}): no poll can be sent"
    return Alarm(claim, WHAT_TO_DO.get(refusal, "see its log"), cause="valkey")
