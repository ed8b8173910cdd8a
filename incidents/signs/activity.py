"""Runs and rows by minute of the last hour. Minutes that are over are remembered; only the newest are read again."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import connection

MINUTES = 60
SPARK_MINUTES = 30
UNSETTLED_MINUTES = 3  # a run is committed up to a deadline after it began

RUNS = """
SELECT exchange_id, extract(epoch FROM date_trunc('minute', started_at))::bigint / 60, count(*),
       count(*) FILTER (WHERE outcome NOT IN ('stored', 'superseded', 'held_back')), sum(rows_stored),
       count(*) FILTER (WHERE started_at > %(lately)s AND outcome = 'stored'),
       coalesce(sum(rows_stored) FILTER (WHERE started_at > %(lately)s), 0)
FROM collectors_run WHERE started_at >= %(since)s GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Activity:
    """An exchange's last hour: share of failed runs, and the rows stored in each of the last finished minutes."""

    runs: int
    failed: int
    rows: tuple[int, ...]

    @property
    def error_percent(self) -> int | None:
        """Returns the percent of failed runs, at least 1 for any failure; None when nothing was asked."""
        if not self.runs:
            return None
        return max(1, round(100 * self.failed / self.runs)) if self.failed else 0


NO_ACTIVITY = Activity(0, 0, (0,) * SPARK_MINUTES)


@dataclass(frozen=True, slots=True)
class LastHour:
    """The last hour by exchange; and good runs and rows of the last minute over all."""

    exchanges: Mapping[str, Activity]
    runs_last_minute: int
    rows_last_minute: int


Minute = tuple[int, int, int]  # runs, failed, rows


@dataclass(slots=True)
class _Memory:
    """The settled figures: by minute number and exchange, for one database."""

    database: str = ""
    reached: int = 0
    minutes: dict[int, dict[str, Minute]] = field(default_factory=dict)


_memory = _Memory()
_lock = threading.Lock()


def read(now: datetime) -> LastHour:
    """Reads the last hour with one query, of only a few minutes after the first time."""
    this_minute = int(now.timestamp()) // 60
    with _lock:
        first = _first_to_read(this_minute)
        with connection.cursor() as cursor:
            since = datetime.fromtimestamp(first * 60, UTC)
            cursor.execute(RUNS, {"since": since, "lately": now - timedelta(minutes=1)})
            found = cursor.fetchall()
        _remember(found, first, this_minute)
        by_exchange = _by_exchange(this_minute)
    return LastHour(by_exchange, sum(int(row[5]) for row in found), sum(int(row[6]) for row in found))


def _first_to_read(this_minute: int) -> int:
    oldest = this_minute - MINUTES
    if _memory.database != connection.settings_dict["NAME"] or _memory.reached > this_minute:
        return oldest
    return max(oldest, _memory.reached - UNSETTLED_MINUTES)


def _remember(found: list[tuple[str, int, int, int, int, int, int]], first: int, this_minute: int) -> None:
    kept = {minute: rows for minute, rows in _memory.minutes.items() if this_minute - MINUTES <= minute < first}
    for exchange, minute, runs, failed, stored, *_ in found:
        kept.setdefault(minute, {})[exchange] = (runs, failed, int(stored))
    _memory.database, _memory.reached, _memory.minutes = connection.settings_dict["NAME"], this_minute, kept


def _by_exchange(this_minute: int) -> dict[str, Activity]:
    runs: dict[str, int] = {}
    failed: dict[str, int] = {}
    rows: dict[str, list[int]] = {}
    for minute, exchanges in _memory.minutes.items():
        place = minute - (this_minute - SPARK_MINUTES)
        for exchange, (run_count, failed_count, row_count) in exchanges.items():
            runs[exchange] = runs.get(exchange, 0) + run_count
            failed[exchange] = failed.get(exchange, 0) + failed_count
            series = rows.setdefault(exchange, [0] * SPARK_MINUTES)
            if 0 <= place < SPARK_MINUTES:  # the running minute is not finished
                series[place] = row_count
    return {exchange: Activity(runs[exchange], failed[exchange], tuple(rows[exchange])) for exchange in runs}
