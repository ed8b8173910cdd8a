"""Keeps the tables small: expired partitions, old runs and old gaps, in batches that hold no lock for long."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection

from collectors import coverage, markets, partitions, rollups, sweep
from collectors.depth import filling

BATCH = 20_000

PRUNE_RUNS = """
DELETE FROM collectors_run
WHERE id IN (SELECT id FROM collectors_run WHERE started_at < %(before)s ORDER BY started_at LIMIT %(batch)s)
"""
PRUNE_GAPS = """
DELETE FROM collectors_gap
WHERE id IN (SELECT id FROM collectors_gap WHERE ended_at < %(before)s ORDER BY ended_at LIMIT %(batch)s)
"""
PRUNE_DEPTH_RUNS = """
DELETE FROM collectors_depthrun
WHERE id IN (SELECT id FROM collectors_depthrun WHERE started_at < %(before)s ORDER BY started_at LIMIT %(batch)s)
"""
PRUNE_HOLES = """
DELETE FROM collectors_tradehole
WHERE id IN (SELECT id FROM collectors_tradehole WHERE started_at < %(before)s ORDER BY started_at LIMIT %(batch)s)
"""
# Only the oldest rows are looked at, so that a call with nothing to do costs nothing.
PRUNE_CREDITS = """
DELETE FROM access_creditentry WHERE id IN (
    SELECT id FROM (SELECT id, charged_at FROM access_creditentry ORDER BY id LIMIT %(batch)s) AS oldest
    WHERE charged_at < %(before)s)
"""


def settle_gaps(now: datetime) -> None:
    """What sweeps leave: gaps without a mark, and gaps that are a day old."""
    sweep.end_orphans()
    sweep.forget_old_gaps(now)


def run(now: datetime) -> None:
    """Idempotent; called every minute, so a missed call costs nothing."""
    partitions.drop_expired(now)
    filling.expire(now)
    _prune(PRUNE_DEPTH_RUNS, now - timedelta(days=settings.RUN_RETENTION_DAYS))
    _prune(PRUNE_HOLES, now - timedelta(days=settings.GAP_RETENTION_DAYS))
    _prune(PRUNE_RUNS, now - timedelta(days=settings.RUN_RETENTION_DAYS))
    _prune(PRUNE_GAPS, now - timedelta(days=settings.GAP_RETENTION_DAYS))
    _prune(PRUNE_CREDITS, now - timedelta(days=settings.CREDIT_RETENTION_DAYS))
    coverage.prune(now)


def _prune(statement: str, before: datetime) -> None:
    with connection.cursor() as cursor:
        while True:
            cursor.execute(statement, {"before": before, "batch": BATCH})
            if cursor.rowcount < BATCH:
                return


# Every minute's housekeeping, what collection depends on first.
PARTS = (partitions.ensure, rollups.run, markets.follow_volumes, settle_gaps, run)
