"""Keeps the tables small: each table that grows has one entry that says how long it is kept and how it is pruned.

KEPT has the tables of collection, of API credits, sessions and logs, pruned every minute by `run`. The snapshots of
`metrics`, whose package is above this one, have theirs in `metrics/collection.py`, pruned by its own task. A gap or a
hole of trades that is too old to be filled is first given up (`backfill.plan`, `filling.expire`), which is no pruning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import connection, models, transaction

from archive import switch
from archive.datasets import Dataset
from collectors.gaps import ledger, sweep
from collectors.history import partitions, quality, rollups
from collectors.history.archived_kinds import OF_TABLE
from collectors.market_data import filling
from collectors.models import Watermark
from collectors.polling import market_list
from lib import clock

log = structlog.get_logger(__name__)

BATCH = 20_000
EXPIRED = timedelta(days=1)  # a session is of no use from the moment that it has expired
COVERAGE_DAYS = 100  # the status page shows 90; the rest is for its first day in every time zone, and for a late prune


@dataclass(frozen=True, slots=True)
class Kept:
    """A table whose rows are kept until `time` is older than `keep`: a time, or a setting named in HOURS or DAYS.

    `prune` drops them, in steps that hold no lock for long, and returns how many rows or partitions went.
    """

    table: str
    time: str
    keep: timedelta | str
    prune: Callable[[Kept, datetime], int]

    def limit(self, now: datetime) -> datetime:
        """Returns the moment from which rows are kept."""
        if isinstance(self.keep, timedelta):
            return now - self.keep
        unit = self.keep.rpartition("_")[2].lower()
        return now - timedelta(**{unit: getattr(settings, self.keep)})


# --- how rows are dropped ---------------------------------------------------------------------------------------


def by_days(kept: Kept, now: datetime) -> int:
    """Drops day partitions whose last moment is too old."""
    return len(partitions.drop_expired(kept.table, kept.limit(now)))


def by_days_rolled_up(kept: Kept, now: datetime) -> int:
    """Drops day partitions that are too old and all rolled up; others stay for RAW_RETENTION_MOST_HOURS."""
    return len(partitions.drop_rolled_up(kept.table, kept.limit(now), at_most=_at_most(now)))


def _at_most(now: datetime) -> datetime:
    return now - timedelta(hours=settings.RAW_RETENTION_MOST_HOURS)


# The table has an index that begins with its time.
BY_TIME = """
DELETE FROM {table}
WHERE id IN (SELECT id FROM {table} WHERE {time} < %(before)s ORDER BY {time} LIMIT %(batch)s)
"""
# Django's sessions, which have no id.
SESSIONS = """
DELETE FROM {table} WHERE session_key IN (
    SELECT session_key FROM {table} WHERE {time} < %(before)s ORDER BY {time} LIMIT %(batch)s)
"""
# The table has no index on its time, but is written in its order: only the oldest rows are looked at.
OLDEST = """
DELETE FROM {table} WHERE id IN (
    SELECT id FROM (SELECT id, {time} FROM {table} ORDER BY id LIMIT %(batch)s) AS oldest WHERE {time} < %(before)s)
"""
# The table's key is an exchange and its time: a search by time alone would read all of it.
BY_EXCHANGE = """
DELETE FROM {table} AS kept USING (
    SELECT e.id, old.{time} FROM exchanges_exchange AS e CROSS JOIN LATERAL (
        SELECT {time} FROM {table} WHERE exchange_id = e.id AND {time} < %(before)s
        ORDER BY {time} LIMIT 1000) AS old
    LIMIT %(batch)s
) AS expired WHERE kept.exchange_id = expired.id AND kept.{time} = expired.{time}
"""
# The key begins with the day.
BY_DAY = """
DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {time} < %(before)s::date LIMIT %(batch)s))
"""


def by_batches(statement: str) -> Callable[[Kept, datetime], int]:
    """Drops rows by one of the statements above, again and again until a batch is not full."""

    def prune(kept: Kept, now: datetime) -> int:
        sql, before = statement.format(table=kept.table, time=kept.time), kept.limit(now)
        dropped = 0
        with connection.cursor() as cursor:
            while True:
                cursor.execute(sql, {"before": before, "batch": BATCH})
                count = int(cursor.rowcount)
                dropped += count
                if count < BATCH:
                    return dropped

    return prune


def with_dependents(model: type[models.Model], *, batch: int) -> Callable[[Kept, datetime], int]:
    """Drops rows of a model and what refers to them, the oldest first, at most `batch` a call."""

    def prune(kept: Kept, now: datetime) -> int:
        old = model._default_manager.filter(**{f"{kept.time}__lt": kept.limit(now)})
        return sum(row.delete()[0] for row in old.order_by(kept.time)[:batch])

    return prune


# --- what is kept -----------------------------------------------------------------------------------------------

KEPT = (
    Kept("collectors_tick", "received_at", "RAW_RETENTION_HOURS", by_days_rolled_up),
    Kept("collectors_rollup", "minute_at", "ROLLUP_RETENTION_DAYS", by_days),
    Kept("collectors_rolluprevision", "minute_at", "ROLLUP_RETENTION_DAYS", by_days),
    Kept("collectors_minutecandle", "opened_at", "ROLLUP_RETENTION_DAYS", by_days),
    Kept("collectors_pipelineday", "day", timedelta(days=quality.KEPT_DAYS), by_batches(BY_DAY)),
    Kept("collectors_orderbook", "received_at", "ORDERBOOK_RETENTION_DAYS", by_days),
    Kept("collectors_trade", "traded_at", "TRADE_RETENTION_DAYS", by_days),
    Kept("collectors_funding", "received_at", "FUNDING_RETENTION_DAYS", by_days),
    Kept("collectors_run", "started_at", "RUN_RETENTION_DAYS", by_batches(BY_TIME)),
    Kept("collectors_depthrun", "started_at", "RUN_RETENTION_DAYS", by_batches(BY_TIME)),
    Kept("collectors_partoutage", "started_at", "GAP_RETENTION_DAYS", by_batches(BY_TIME)),
    Kept("collectors_gap", "ended_at", "GAP_RETENTION_DAYS", by_batches(BY_TIME)),
    Kept("collectors_historyimport", "requested_at", "GAP_RETENTION_DAYS", by_batches(BY_TIME)),
    Kept("collectors_tradehole", "started_at", "GAP_RETENTION_DAYS", by_batches(BY_TIME)),
    Kept("collectors_transition", "happened_at", "GAP_RETENTION_DAYS", by_batches(BY_TIME)),
    Kept("collectors_switch", "happened_at", "GAP_RETENTION_DAYS", by_batches(BY_TIME)),
    Kept("collectors_coverage", "quarter_at", timedelta(days=COVERAGE_DAYS), by_batches(BY_EXCHANGE)),
    Kept("board_drill", "started_at", "GAP_RETENTION_DAYS", by_batches(BY_TIME)),
    Kept("exchanges_auditentry", "happened_at", "AUDIT_RETENTION_DAYS", by_batches(BY_TIME)),
    Kept("auditlog_logentry", "timestamp", "AUDIT_RETENTION_DAYS", by_batches(OLDEST)),
    Kept("django_admin_log", "action_time", "AUDIT_RETENTION_DAYS", by_batches(OLDEST)),
    Kept("django_session", "expire_date", EXPIRED, by_batches(SESSIONS)),
    Kept("access_creditentry", "charged_at", "CREDIT_RETENTION_DAYS", by_batches(OLDEST)),
)


@dataclass(frozen=True, slots=True)
class PastPartition:
    """A partition that is past its time; `may_be_lost`: on a disk that is nearly full also while it is not archived."""

    dataset: Dataset
    name: str
    may_be_lost: bool


def past_partitions(now: datetime) -> list[PastPartition]:
    """Returns what retention would drop of the tables that are archived."""
    found = []
    for kept in KEPT:
        if (dataset := OF_TABLE.get(kept.table)) is not None:
            limit, at_most = kept.limit(now), _at_most(now)
            if kept.prune is by_days_rolled_up:
                limit = partitions.rolled_up_limit(kept.table, limit, at_most=at_most)
            lost = set(partitions.expired(kept.table, min(limit, at_most)))
            found += [PastPartition(dataset, name, name in lost) for name in partitions.expired(kept.table, limit)]
    return found


def prune(entries: Iterable[Kept], now: datetime) -> dict[str, int]:
    """Drops what is past its time; returns how many rows or partitions, by table. Twice is harmless."""
    return {kept.table: kept.prune(kept, now) for kept in entries}


# --- whether the time is believed -------------------------------------------------------------------------------

HOUSEKEEPING_CURSOR = "housekeeping"  # when it ran last
DELETING_CURSOR = "delete_after"
DOUBT = timedelta(hours=1)
TOLERATED = timedelta(seconds=clock.FUTURE_SECONDS)


def may_delete(now: datetime) -> bool:
    """Says whether something may be deleted by this moment of PostgreSQL's clock.

    Not by a host whose clock differs, nor while all hosts differ alike, nor for an hour after the time has leapt, or
    went back, since the last housekeeping: a clock that was set wrong may be set right again, rows do not come back.
    """
    held = Watermark.objects.filter(pk=DELETING_CURSOR, reached_at__gt=now, reached_at__lte=now + DOUBT)
    return clock.state().may_delete and not held.exists()


@transaction.atomic
def look_at_the_time(now: datetime) -> None:
    """Notes when housekeeping ran, and holds deletions where the time cannot simply have passed since it last did."""
    cursor_row, _ = Watermark.objects.select_for_update().get_or_create(
        name=HOUSEKEEPING_CURSOR, defaults={"reached_at": now}
    )
    passed = now - cursor_row.reached_at
    if not -TOLERATED <= passed <= DOUBT:
        log.warning("deletions_held", hours=round(passed.total_seconds() / 3600, 1), until=(now + DOUBT).isoformat())
        Watermark.objects.update_or_create(name=DELETING_CURSOR, defaults={"reached_at": now + DOUBT})
    Watermark.objects.filter(pk=HOUSEKEEPING_CURSOR).update(reached_at=now)


# --- every minute's housekeeping --------------------------------------------------------------------------------


def settle_gaps(now: datetime) -> None:
    """Corrects what sweeps leave: gaps without a mark, and the count of gaps that are a day old."""
    ledger.end_orphans()
    sweep.forget_old_gaps(now)


def run(now: datetime) -> None:
    """Gives up old holes and prunes KEPT. Idempotent; called every minute, so a missed call costs nothing.

    Where there is an archive, what is archived is dropped by its task (`archive_round`), which asks the ledger.
    """
    filling.expire(now)
    prune([kept for kept in KEPT if not (switch.is_on() and kept.table in OF_TABLE)], now)


def run_where_believed(now: datetime) -> None:
    """Deletes what is past its time, where the time is believed."""
    look_at_the_time(now)
    if may_delete(now):
        run(now)


# What collection depends on comes first.
PARTS = (partitions.ensure, rollups.run, quality.run, market_list.follow_volumes, settle_gaps, run_where_believed)
