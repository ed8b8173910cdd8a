"""Makes day partitions of history ahead, and drops them whole when their retention (`collectors/retention.py`) is over.

Ticks wait for the rollups that are made of them: a day that is not yet rolled up stays, within a bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta

import structlog
from django.db import OperationalError, connection, transaction

from collectors.history import rollups

log = structlog.get_logger(__name__)

DAYS_AHEAD = 7  # a week of a dead maintenance task costs nothing
QUOTES = ("collectors_tick", "collectors_rollup", "collectors_rolluprevision", "collectors_minutecandle")
DEPTH = ("collectors_orderbook", "collectors_trade", "collectors_funding")
LOCK_PATIENCE_SECONDS = 0.2  # a poll notices no more than that
LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL's code for a lock that was not to be had in time
NAME = re.compile(r"_(\d{4})(\d{2})(\d{2})$")


def ensure(now: datetime) -> None:
    """Makes every partition from yesterday to DAYS_AHEAD that is not there yet."""
    _ensure((*QUOTES, *DEPTH), now.date() - timedelta(days=1), now.date() + timedelta(days=DAYS_AHEAD))


def ensure_since(start: datetime, now: datetime, *, tables: Sequence[str] = QUOTES) -> None:
    """Makes the partitions of past days, on which nothing may have run here, for rows that are fetched later."""
    _ensure(tables, start.date(), now.date())


def ensure_days(tables: Sequence[str], days: Iterable[date]) -> None:
    """Makes the partitions of some past days alone, for what is fetched of them."""
    for day in sorted(set(days)):
        _ensure(tables, day, day)


def _ensure(tables: Sequence[str], first: date, last: date) -> None:
    for table in tables:
        present = set(names(table))
        for offset in range((last - first).days + 1):
            day = first + timedelta(days=offset)
            if _name(table, day) not in present:
                _create(table, day)


def drop_expired(table: str, limit: datetime) -> list[str]:
    """Drops a table's partitions whose last moment is not after a limit, except those in use; returns their names."""
    return [name for name in expired(table, limit) if _drop(name)]


def drop_rolled_up(table: str, limit: datetime, *, at_most: datetime) -> list[str]:
    """Drops expired partitions of ticks, but days with minutes not yet rolled up only when they ended before `at_most`.

    Raw rows are kept for as long as nothing else remains of them, but not until the disk is full.
    """
    return drop_expired(table, rolled_up_limit(table, limit, at_most=at_most))


def rolled_up_limit(table: str, limit: datetime, *, at_most: datetime) -> datetime:
    """Returns the moment before which days may go; logs those that have to wait, or go all the same."""
    at_most = min(limit, at_most)
    rolled_up = rollups.reached() or at_most
    for name in names(table):
        if rolled_up < _end(name) <= limit:
            event = "raw_rows_lost" if _end(name) <= at_most else "raw_rows_kept"
            log.warning(event, partition=name, rolled_up_to=rolled_up.isoformat())
    return max(at_most, min(limit, rolled_up))


def _drop(name: str) -> bool:
    """Drops a partition; returns False while somebody reads it, and the next call tries again.

    Dropping locks the whole table, and everybody who stores waits behind one who waits for that lock.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = %s", [f"{LOCK_PATIENCE_SECONDS * 1000:.0f}ms"])
            cursor.execute(f"DROP TABLE IF EXISTS {connection.ops.quote_name(name)}")
    except OperationalError as error:
        if getattr(error.__cause__, "pgcode", None) != LOCK_NOT_AVAILABLE:
            raise
        log.info("partition_in_use", partition=name)
        return False
    return True


def names(table: str) -> Sequence[str]:
    """Returns the names of a table's partitions."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = %s::regclass",
            [table],
        )
        return [name for (name,) in cursor.fetchall()]


def _create(table: str, day: date) -> None:
    start = datetime.combine(day, time(), UTC)
    with transaction.atomic(), connection.cursor() as cursor:
        # IF NOT EXISTS looks before it waits for the table: of two at once the second would fail.
        cursor.execute(f"LOCK TABLE {connection.ops.quote_name(table)} IN SHARE UPDATE EXCLUSIVE MODE")
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS {connection.ops.quote_name(_name(table, day))} "
            f"PARTITION OF {connection.ops.quote_name(table)} FOR VALUES FROM (%s) TO (%s)",
            [start, start + timedelta(days=1)],
        )


def _name(table: str, day: date) -> str:
    return f"{table}_{day:%Y%m%d}"


def day_of(name: str) -> date | None:
    """Returns the day that a partition holds; None for one that is not ours."""
    found = NAME.search(name)
    return date(*map(int, found.groups())) if found else None


def _end(name: str) -> datetime:
    day = day_of(name)
    if day is None:
        return datetime.max.replace(tzinfo=UTC)  # not one of ours: never expires
    return datetime.combine(day, time(), UTC) + timedelta(days=1)


def expired(table: str, limit: datetime) -> list[str]:
    """Returns the names of a table's partitions whose last moment is not after a limit, the oldest first."""
    return sorted(name for name in names(table) if _end(name) <= limit)
