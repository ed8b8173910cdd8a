"""Keeps the tables small: expired partitions and rows past their time, in batches that hold no lock for long."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection

from collectors.gaps import ledger, sweep
from collectors.history import coverage, partitions, rollups
from collectors.market_data import filling
from collectors.polling import market_list

BATCH = 20_000

# (table, the time it is ordered and kept by, the setting that says for how many days)
KEPT = (
    ("collectors_run", "started_at", "RUN_RETENTION_DAYS"),
    ("collectors_depthrun", "started_at", "RUN_RETENTION_DAYS"),
    ("collectors_gap", "ended_at", "GAP_RETENTION_DAYS"),
    ("collectors_tradehole", "started_at", "GAP_RETENTION_DAYS"),
    ("collectors_transition", "happened_at", "GAP_RETENTION_DAYS"),
    ("collectors_switch", "happened_at", "GAP_RETENTION_DAYS"),
)
# Each table has an index that begins with its time.
PRUNE = """
DELETE FROM {table}
WHERE id IN (SELECT id FROM {table} WHERE {time} < %(before)s ORDER BY {time} LIMIT %(batch)s)
"""
# Only the oldest rows are looked at, so that a call with nothing to do costs nothing.
PRUNE_CREDITS = """
DELETE FROM access_creditentry WHERE id IN (
    SELECT id FROM (SELECT id, charged_at FROM access_creditentry ORDER BY id LIMIT %(batch)s) AS oldest
    WHERE charged_at < %(before)s)
"""


def settle_gaps(now: datetime) -> None:
    """What sweeps leave: gaps without a mark, and gaps that are a day old."""
    ledger.end_orphans()
    sweep.forget_old_gaps(now)


def run(now: datetime) -> None:
    """Idempotent; called every minute, so a missed call costs nothing."""
    partitions.drop_expired(now)
    filling.expire(now)
    for table, time, days in KEPT:
        _prune(PRUNE.format(table=table, time=time), now - timedelta(days=getattr(settings, days)))
    _prune(PRUNE_CREDITS, now - timedelta(days=settings.CREDIT_RETENTION_DAYS))
    coverage.prune(now)


def _prune(statement: str, before: datetime) -> None:
    with connection.cursor() as cursor:
        while True:
            cursor.execute(statement, {"before": before, "batch": BATCH})
            if cursor.rowcount < BATCH:
                return


# Every minute's housekeeping, what collection depends on first.
PARTS = (partitions.ensure, rollups.run, market_list.follow_volumes, settle_gaps, run)
