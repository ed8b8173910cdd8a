"""POST /metrics/collect: one run at a time, one run per id, one transaction for all that it found.

A run holds an advisory lock of PostgreSQL's in a transaction: when its process dies, the lock goes with it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, connections, transaction

from collectors import retention
from collectors.retention import Kept
from lib import clock, valkey
from metrics import sources
from metrics.models import Collection
from metrics.sources import CollectedData, Failure, MetricsSource

log = structlog.get_logger(__name__)

LOCK = (5, 20_260_106)  # classid and objid: any two numbers, the same in every process
LOCK_NOT_AVAILABLE = "55P03"
PATIENCE = """
SELECT set_config('lock_timeout', %(wait)s, true), set_config('statement_timeout', '0', true),
       set_config('idle_in_transaction_session_timeout', %(held)s, true)
"""
WAIT_SECONDS = 30.0  # of a second call for a collection that runs: half of its usual budget
EXCHANGE_SECONDS = 10.0  # of the budget: one that hangs must leave the others their time
DASHBOARD_KEY = "marketmon:metrics:newest"
DATABASE_AWAY = (DatabaseError, InterfaceError)
KEPT = (
    Kept(
        "metrics_collection", "started_at", "METRICS_RETENTION_DAYS", retention.with_dependents(Collection, batch=100)
    ),
)

ADD_POINTS = """
INSERT INTO metrics_marketpoint (collection_id, market_id, last, bid, ask, volume_24h, received_at)
SELECT %(collection)s, p.market_id, p.last, p.bid, p.ask, p.base_volume, p.received_at
FROM collectors_pipeline AS p
JOIN exchanges_market AS m ON m.id = p.market_id
JOIN exchanges_exchange AS e ON e.id = m.exchange_id
WHERE m.is_collected AND e.is_collected
  AND p.received_at >= %(now)s - greatest(%(fresh)s, 3 * p.expected_seconds) * interval '1 second'
"""


class CollectionBusy(Exception):
    """Another collection has been running for as long as this one was willing to wait."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A caller's request to collect, in the caller's words."""

    source: str
    trigger_time: str | None
    collection_id: str | None


@dataclass(slots=True)
class TimeBudget:
    """The seconds that are left of a run; `exchange_seconds` of them for one exchange."""

    seconds: float
    exchange_seconds: float
    started: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        return max(0.0, self.seconds - (time.monotonic() - self.started))


def collect(trigger: Trigger, *, now: datetime, correlation_id: str = "") -> Collection:
    """Returns the outcome of this id: stored earlier, or by this very call. Raises CollectionBusy.

    Twenty calls with one id at a time make one run: the others wait for the lock and then find its row.
    """
    collection_id = trigger.collection_id or f"metrics_{now:%Y%m%d_%H%M%S}"
    settled = Collection.objects.filter(collection_id=collection_id, settled_at__isnull=False).first()
    if settled is not None:
        return settled
    with turn(WAIT_SECONDS):
        stored = Collection.objects.filter(collection_id=collection_id).first()
        if stored is not None:  # its process may have died after the commit
            return stored if stored.settled_at else settle(stored, dashboard_updated=False)
        return run(collection_id, trigger, now=clock.now(), correlation_id=correlation_id)


def run(collection_id: str, trigger: Trigger, *, now: datetime, correlation_id: str) -> Collection:
    """Asks every source, then stores all in one transaction. A source that fails is counted and costs only itself."""
    budget = TimeBudget(settings.METRICS_BUDGET_SECONDS, EXCHANGE_SECONDS)
    found, failures = CollectedData(), []
    for name, source in sources.SOURCES.items():
        failures += _ask(name, source, found, now=now, budget=budget)
    collection = Collection(
        collection_id=collection_id,
        started_at=now,
        trigger_source=trigger.source,
        trigger_time=trigger.trigger_time,
        status="success",
        storage_status="committed",
        failures=[failure.as_dict() for failure in failures],
        correlation_id=correlation_id,
    )
    collection.duration_ms = round((settings.METRICS_BUDGET_SECONDS - budget.left) * 1000)
    _store(collection, found, now=now)
    return settle(collection, dashboard_updated=show(collection))


def settle(collection: Collection, *, dashboard_updated: bool) -> Collection:
    collection.dashboard_updated = dashboard_updated
    collection.settled_at = clock.now()
    collection.save(update_fields=["dashboard_updated", "settled_at"])
    return collection


def show(collection: Collection) -> bool:
    """Tells the dashboard of the newest snapshot; returns False when it cannot be told."""
    summary = {
        "collection_id": collection.collection_id,
        "started_at": clock.milliseconds_z(collection.started_at),
        "data_points_collected": collection.data_points_collected,
        "failures": collection.failures,
    }
    try:
        valkey.client().set(DASHBOARD_KEY, orjson.dumps(summary))
    except redis.RedisError as error:
        log.warning("dashboard_not_updated", cause=str(error))
        return False
    return True


@contextmanager
def turn(wait_seconds: float) -> Iterator[None]:
    """Holds the lock that lets one run through at a time. Raises CollectionBusy.

    Its transaction is on a connection of its own that does nothing else, and ends with it, however this process ends.
    A lock of the session would stay with a pooler's connection, and so for ever.
    """
    holder = connections.create_connection("default")
    try:
        holder.set_autocommit(False)
        with holder.cursor() as cursor:
            cursor.execute(PATIENCE, {"wait": f"{wait_seconds}s", "held": f"{settings.METRICS_BUDGET_SECONDS + 60}s"})
            try:
                cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", LOCK)
            except OperationalError as error:
                if getattr(error.__cause__, "pgcode", "") != LOCK_NOT_AVAILABLE:
                    raise
                raise CollectionBusy(
                    f"another collection is running; it did not end within {wait_seconds:.0f} s"
                ) from error
        yield
    finally:
        holder.close()


def _ask(name: str, source: MetricsSource, found: CollectedData, *, now: datetime, budget: TimeBudget) -> list[Failure]:
    try:
        failures = source(found, now=now, budget=budget)
    except DATABASE_AWAY:
        raise
    except Exception as error:  # one source must not take the others along
        log.exception("metrics_source_failed", source=name)
        failures = [Failure(name, "", f"{type(error).__name__}: {error}")]
    for failure in failures:
        log.warning("metrics_source_incomplete", source=name, exchange=failure.exchange, cause=failure.reason)
    return failures


@transaction.atomic
def _store(collection: Collection, found: CollectedData, *, now: datetime) -> None:
    collection.save(force_insert=True)
    collection.data_points_collected = _add_points(collection, now) + sources.store(found, collection, now=now)
    collection.save(update_fields=["data_points_collected"])


def _add_points(collection: Collection, now: datetime) -> int:
    with connection.cursor() as cursor:
        values: dict[str, Any] = {
            "collection": collection.pk,
            "now": clock.now(),
            "fresh": settings.METRICS_FRESH_SECONDS,
        }
        cursor.execute(ADD_POINTS, values)
        return int(cursor.rowcount)


def forget(now: datetime) -> int:
    """Drops what the retention no longer keeps, a few snapshots at a time; returns how many rows."""
    return retention.prune(KEPT, now)["metrics_collection"]
