"""Reads worker status: `read(now)` gives the one snapshot, in a fixed number of queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError

from collectors.models import Worker
from collectors.rules import worker_status
from collectors.rules.breaker import CERTAIN_AT_ONCE
from collectors.rules.snapshot import OldAnswer, Snapshot, WorkerFacts


class CollectorAbsent(Exception):
    """Collection is switched off, or its state cannot be read: no answer but 503 would be true."""


@contextmanager
def reading() -> Iterator[None]:
    """Turns a database error in any reading of state into CollectorAbsent."""
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        raise CollectorAbsent("the collector's state cannot be read") from error


def require_collection() -> None:
    if not settings.COLLECTION_ENABLED:
        raise CollectorAbsent("collection is switched off (COLLECTION_ENABLED)")


def read(now: datetime) -> Snapshot:
    """Returns all workers at `now`, sorted by exchange. One query. Raises CollectorAbsent."""
    require_collection()
    here = Worker.objects.filter(exchange__removed_at__isnull=True)
    with reading():
        workers = list(here.select_related("exchange").order_by("exchange_id"))
    return Snapshot(taken_at=now, workers=tuple(worker_status.view(facts(worker), now) for worker in workers))


def old_answers(stored: Any) -> Iterator[OldAnswer]:
    """Yields the old answers of one worker's row, by kind of market."""
    for kind, told in stored.items() if isinstance(stored, Mapping) else ():
        made_at, since = (datetime.fromtimestamp(told[name], UTC) for name in ("made_at", "old_since"))
        yield OldAnswer(kind, made_at, float(told["lag_seconds"]), since, str(told["reason"]))


def facts(worker: Worker) -> WorkerFacts:
    """Returns the rules' view of a worker row."""
    exchange = worker.exchange
    return WorkerFacts(
        exchange=exchange.id,
        is_collected=exchange.is_collected,
        interval_seconds=exchange.poll_interval_seconds,
        error_count=worker.error_count,
        is_paused=worker.last_outcome in CERTAIN_AT_ONCE and worker.error_count > 0,
        resumed_at=worker.resumed_at,
        heartbeat_at=worker.heartbeat_at,
        stored_at=worker.stored_at,
        symbols_tracked=worker.symbols_tracked,
        last_error=worker.last_error,
        missing_markets=worker.missing_markets,
        left_out_markets=worker.left_out_markets,
        old=tuple(old_answers(worker.old_answers)),
        is_all_old=set(worker.answers) == set(worker.old_answers),
    )
