"""Proof that the system works: rows and cycles of the last minute, queues, the scheduler, streams, the database."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import redis

from board.activity import LastHour
from collectors.models import Cursor, Worker
from collectors.streaming.ownership import PRESENCE
from marketmon.celery import DEFAULT_QUEUE, POLL_QUEUE
from marketmon.lib import valkey

BEAT_LATE_SECONDS, BEAT_DEAD_SECONDS = 10, 60  # /ready gives beat up after as much
ROUND_TRIPS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)  # steps: a figure that dances says nothing
BUSY_QUEUE = 100


@dataclass(frozen=True, slots=True)
class Health:
    """Proof of work. `None` is what could not be asked."""

    cycles: int
    rows: int
    queues: tuple[tuple[str, int | None], ...]
    beat: str
    is_beat_late: bool
    is_beat_dead: bool
    stream_processes: int | None
    streamed: int
    round_trip_ms: int

    @property
    def is_queue_busy(self) -> bool:
        return any(depth is None or depth > BUSY_QUEUE for _, depth in self.queues)


def ask_beat() -> tuple[datetime | None, float]:
    """When beat was last seen, and how long the database took to say so."""
    asked_at = time.perf_counter()
    beat_at = Cursor.objects.filter(name="beat").values_list("reached_at", flat=True).first()
    return beat_at, (time.perf_counter() - asked_at) * 1000


def newest(workers: Sequence[Worker], beat_at: datetime | None) -> dict[str, int]:
    found = {worker.exchange_id: int(worker.stored_at.timestamp()) for worker in workers if worker.stored_at}
    if found:
        found["*"] = max(found.values())
    if beat_at is not None:
        found["beat"] = int(beat_at.timestamp())
    return found


def assess(
    last_hour: LastHour, beat_at: datetime | None, round_trip_ms: float, *, streamed: int, now: datetime
) -> Health:
    lag = (now - beat_at).total_seconds() if beat_at else None
    queues, processes = _queues(now)
    return Health(
        cycles=last_hour.cycles_last_minute,
        rows=last_hour.rows_last_minute,
        queues=queues,
        beat="never" if lag is None else "seen",
        is_beat_late=lag is None or lag > BEAT_LATE_SECONDS,
        is_beat_dead=lag is None or lag > BEAT_DEAD_SECONDS,
        stream_processes=processes,
        streamed=streamed,
        round_trip_ms=next((step for step in ROUND_TRIPS_MS if round_trip_ms <= step), ROUND_TRIPS_MS[-1]),
    )


def _queues(now: datetime) -> tuple[tuple[tuple[str, int | None], ...], int | None]:
    """How many tasks wait, and how many stream processes live. One trip to Valkey."""
    names = (POLL_QUEUE, DEFAULT_QUEUE)
    try:
        with valkey.client().pipeline(transaction=False) as together:
            for name in names:
                together.llen(name)
            together.zcount(PRESENCE, now.timestamp(), "+inf")
            *depths, processes = together.execute()
    except redis.RedisError:
        return tuple((name, None) for name in names), None
    return tuple((name, int(depth)) for name, depth in zip(names, depths, strict=True)), int(processes)
