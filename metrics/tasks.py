"""Celery tasks of metrics: each reads the clock once and makes one call."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from collectors import retention
from lib import clock, database_clock
from metrics import collection, grids, scheduled


@shared_task
def collect_candles(**_: Any) -> None:
    """Collects due candles, then judges each new bar. Twice is harmless: what is stored is not asked for."""
    scheduled.collect_candles(now=clock.now())


@shared_task
def follow_grids(**_: Any) -> None:
    """Counts fills on paper. Twice is harmless: each grid knows how far it was followed."""
    grids.follow_all(now=clock.now())


@shared_task
def forget(**_: Any) -> None:
    """Drops old snapshots. Twice is harmless: the second finds none."""
    now = database_clock.now()
    if retention.may_delete(now):
        collection.forget(now)
