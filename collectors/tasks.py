"""Celery's door to collection: each task reads the clock once and makes one call. Unknown arguments of other
releases are tolerated, so that a deploy loses no slot."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from collectors import ingest, markets, rollups, schedule, sweep, upkeep
from marketmon.lib import clock


@shared_task(bind=True)
def collect_exchange(self: Any, /, *, exchange_id: str, **_: Any) -> str:
    """One poll. Twice is harmless: the lease lets one through, and not twice in a slot."""
    return ingest.collect_once(exchange_id, now=clock.now(), correlation_id=self.request.id or "")


@shared_task
def refresh_markets(*, exchange_id: str, **_: Any) -> str:
    """Reloads one market list. Twice is harmless: the second finds the same."""
    return ingest.refresh_markets(exchange_id, now=clock.now())


@shared_task
def keep_up(**_: Any) -> None:
    """Rollups, gap counters, partitions, pruning. Twice is harmless: cursors move in the work's transaction."""
    now = clock.now()
    rollups.run(now)
    markets.follow_volumes(now)
    sweep.forget_old_gaps(now)
    upkeep.run(now)


@shared_task
def sync_schedule(**_: Any) -> None:
    """Catches edits that went round the verbs. Twice is harmless: only differences are saved."""
    schedule.sync(now=clock.now())
