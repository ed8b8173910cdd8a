"""Assigns exchanges to stream processes: a lease per exchange on PostgreSQL's clock, shared out evenly."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import redis
from django.db import connection

from collectors.models import Stream
from exchanges.models import Exchange, Transport
from feeds.base import FeedSpec
from feeds.streams import has_stream
from lib import clock
from lib.presence import Presence

PROCESSES = Presence("marketmon:stream-processes")

# A listener that vanished has written nothing down: whoever claims its exchange does, with the end of its lease.
CLAIM = """
WITH claimed AS (
    UPDATE collectors_stream SET holder = %(holder)s, is_delivering = false,
        since = CASE WHEN is_delivering THEN held_until ELSE since END,
        reason = CASE WHEN is_delivering THEN %(reason)s ELSE reason END,
        held_until = clock_timestamp() + make_interval(secs => %(seconds)s)
    WHERE exchange_id IN (
        SELECT exchange_id FROM collectors_stream
        WHERE exchange_id = ANY(%(wanted)s) AND (held_until IS NULL OR held_until NOT BETWEEN clock_timestamp()
                                                 AND clock_timestamp() + make_interval(secs => %(longest)s))
        ORDER BY exchange_id LIMIT %(most)s FOR UPDATE SKIP LOCKED
    )
    RETURNING exchange_id, old.is_delivering AS was_delivering, old.held_until AS ended_at
), noted AS (
    INSERT INTO collectors_switch (exchange_id, happened_at, to_transport, reason)
    SELECT c.exchange_id, c.ended_at, CASE WHEN e.transport = 'auto' THEN 'poll' ELSE 'none' END, %(reason)s
    FROM claimed AS c JOIN exchanges_exchange AS e ON e.id = c.exchange_id WHERE c.was_delivering
)
SELECT exchange_id FROM claimed
"""
RENEW = """
UPDATE collectors_stream SET held_until = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE holder = %(holder)s AND exchange_id = ANY(%(held)s) AND held_until IS NOT NULL
RETURNING exchange_id
"""
RELEASE = """
WITH released AS (
    UPDATE collectors_stream SET held_until = NULL, is_delivering = false,
        since = CASE WHEN is_delivering THEN clock_timestamp() ELSE since END,
        reason = CASE WHEN is_delivering OR %(has_failed)s THEN %(reason)s ELSE reason END
    WHERE holder = %(holder)s AND exchange_id = %(exchange)s
    RETURNING exchange_id, since, old.is_delivering AS was_delivering
)
INSERT INTO collectors_switch (exchange_id, happened_at, to_transport, reason)
SELECT r.exchange_id, r.since,
       CASE WHEN e.transport = 'stream' OR NOT e.is_collected THEN 'none' ELSE 'poll' END, %(reason)s
FROM released AS r JOIN exchanges_exchange AS e ON e.id = r.exchange_id WHERE r.was_delivering
"""
LONGEST_LEASE_SECONDS = 600.0  # one that ends later was given by a clock that has been set back since
VANISHED = "the process that listened is gone"


@dataclass(frozen=True, slots=True)
class StreamTarget:
    """An exchange that operators want listened to, as it stands now."""

    exchange_id: str
    spec: FeedSpec
    transport: str
    generation: int
    interval_seconds: float
    markets_version: int
    retry_at: datetime | None
    depth: Mapping[str, Any] = field(default_factory=dict)

    def is_same_session(self, other: StreamTarget) -> bool:
        """Says whether a session goes on: a restart, another address or transport ends it, a changed list does not."""
        mine = (self.generation, self.spec, self.transport, self.spec.credentials)
        return mine == (other.generation, other.spec, other.transport, other.spec.credentials)


def wishes() -> dict[str, StreamTarget]:
    """Returns all that a stream may listen to. Before its first market list an exchange is left to its polls."""
    wanted = Exchange.objects.collected().filter(
        transport__in=[Transport.STREAM, Transport.AUTO], worker__markets_loaded_at__isnull=False
    )
    return {
        exchange.id: StreamTarget(
            exchange_id=exchange.id,
            spec=exchange.feed_spec(),
            transport=exchange.transport,
            generation=exchange.worker.generation,
            interval_seconds=exchange.poll_interval_seconds,
            markets_version=exchange.worker.markets_version,
            retry_at=exchange.worker.retry_at,
            depth=exchange.depth,
        )
        for exchange in wanted.select_related("worker")
        if has_stream(exchange.id)
    }


def claim(holder: str, wanted: Collection[str], *, most: int, seconds: float) -> list[str]:
    """Claims up to `most` exchanges that nobody listens to; returns their ids."""
    if clock.state().is_far_off:
        return []
    Stream.objects.bulk_create([Stream(exchange_id=pk) for pk in sorted(wanted)], ignore_conflicts=True)
    with connection.cursor() as cursor:
        cursor.execute(
            CLAIM,
            {
                "holder": holder,
                "wanted": sorted(wanted),
                "most": most,
                "seconds": seconds,
                "longest": LONGEST_LEASE_SECONDS,
                "reason": VANISHED,
            },
        )
        return [row[0] for row in cursor.fetchall()]


def renew(holder: str, held: Collection[str], *, seconds: float) -> set[str]:
    """Returns those of `held` that are still this process's, renewed."""
    with connection.cursor() as cursor:
        cursor.execute(RENEW, {"holder": holder, "held": sorted(held), "seconds": seconds})
        return {row[0] for row in cursor.fetchall()}


def release(holder: str, exchange_id: str, *, reason: str, has_failed: bool = False) -> None:
    """Lets others listen, and writes down why this process no longer does. What nobody could hear ends without a word,
    unless the session `has_failed`."""
    told: dict[str, str | bool] = {
        "holder": holder,
        "exchange": exchange_id,
        "reason": reason,
        "has_failed": has_failed,
    }
    with connection.cursor() as cursor:
        cursor.execute(RELEASE, told)


def count_processes(holder: str, *, seconds: float) -> int:
    """Says that this process lives; returns how many do. Without Valkey each believes to be alone, sharing nothing."""
    try:
        return len(PROCESSES.say(holder, now=clock.unix(), seconds=seconds))
    except redis.RedisError:
        return 1


def leave(holder: str) -> None:
    with contextlib.suppress(redis.RedisError):  # it is counted only until its last word expires
        PROCESSES.leave(holder)
