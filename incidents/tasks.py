"""Celery tasks of incidents: what takes longer than a pulse or a notifier may."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from incidents.objectives import counting, reports
from lib import database_clock


@shared_task
def count_objectives(**_: Any) -> None:
    """Counts objectives, and computes a month's report when it is due. Twice is harmless: it finds the same."""
    now = database_clock.now()
    counting.run(now)
    reports.run(now)
