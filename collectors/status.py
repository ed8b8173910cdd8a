"""The read path: `read(now)` gives the one snapshot, in a fixed number of queries."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import DatabaseError, InterfaceError

from collectors import freshness
from collectors.models import Worker
from collectors.snapshot import Snapshot, WorkerFacts


class CollectorAbsent(Exception):
    """Collection is switched off, or its state cannot be read: there is no honest answer but 503."""


def read(now: datetime) -> Snapshot:
    """All workers at `now`, sorted by exchange. One query. Raises CollectorAbsent."""
    if not settings.COLLECTION_ENABLED:
        raise CollectorAbsent("collection is switched off (COLLECTION_ENABLED)")
    try:
        workers = (
            Worker.objects.filter(exchange__removed_at__isnull=True).select_related("exchange").order_by("exchange_id")
        )
        views = tuple(freshness.view(facts(worker, now), now) for worker in workers)
    except (DatabaseError, InterfaceError) as error:
        raise CollectorAbsent("the collector's state cannot be read") from error
    return Snapshot(taken_at=now, workers=views)


def facts(worker: Worker, now: datetime) -> WorkerFacts:
    """The rules' view of a worker row."""
    exchange = worker.exchange
    return WorkerFacts(
        exchange=exchange.id,
        is_collected=exchange.is_collected,
        interval_seconds=exchange.poll_interval_seconds,
        error_count=worker.error_count,
        is_paused=worker.last_outcome == "denied" and worker.error_count > 0,
        resumed_at=worker.resumed_at,
        heartbeat_at=worker.heartbeat_at,
        stored_at=worker.stored_at,
        symbols_tracked=worker.symbols_tracked,
        last_error=worker.last_error,
    )
