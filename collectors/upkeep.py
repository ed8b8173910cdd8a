"""Keeps the tables small: expired partitions, old runs and old gaps, in batches that hold no lock for long."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection

from collectors import partitions

BATCH = 20_000

PRUNE_RUNS = """
DELETE FROM collectors_run
WHERE id IN (SELECT id FROM collectors_run WHERE started_at < %s ORDER BY started_at LIMIT %s)
"""
PRUNE_GAPS = """
DELETE FROM collectors_gap
WHERE id IN (SELECT id FROM collectors_gap WHERE ended_at < %s ORDER BY ended_at LIMIT %s)
"""


def run(now: datetime) -> None:
    """Idempotent; called every few minutes, so a missed call costs nothing."""
    partitions.ensure(now)
    partitions.drop_expired(now)
    _prune(PRUNE_RUNS, now - timedelta(days=settings.RUN_RETENTION_DAYS))
    _prune(PRUNE_GAPS, now - timedelta(days=settings.GAP_RETENTION_DAYS))


def _prune(statement: str, before: datetime) -> None:
    with connection.cursor() as cursor:
        while True:
            cursor.execute(statement, [before, BATCH])
            if cursor.rowcount < BATCH:
                return
