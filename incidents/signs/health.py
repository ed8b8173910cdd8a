"""Proof that the system works: rows and runs of the last minute, queues, the scheduler, streams, the database."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import redis

from collectors.gaps.sweep import SWEPT_CURSOR
from collectors.history.rollups import CURSOR as ROLLED_UP
from collectors.models import Watermark, Worker
from collectors.status import backups
from collectors.status.backups import BackupTimes
from collectors.streaming.ownership import PROCESSES
from incidents.rules.verdict import OLD, Alarm, Tone
from incidents.signs.activity import LastHour
from lib import valkey
from lib.disk import DiskSpace, database_disk
from lib.queues import DEFAULT_QUEUE, POLL_QUEUE

BEAT_LATE_SECONDS, BEAT_DEAD_SECONDS = 10, 60  # /ready gives beat up after as much
PULSE_DEAD_SECONDS = 30  # it sweeps every second
PULSE_STEP_SECONDS = 5  # a moment that changes with every picture would be sent with every picture
ROUND_TRIPS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)  # steps: a figure that dances says nothing
SLOW_MS = 500
BUSY_QUEUE = 100
BEAT_CURSOR = "beat"
PROOF_OLD_SECONDS = 3 * 86_400  # one is made and proven each night
ROLLUPS_LATE_SECONDS = 900  # they follow by a minute and a half; after an outage half an hour a minute


@dataclass(frozen=True, slots=True)
class SystemHealth:
    """Proof of work. `None` is what could not be asked."""

    runs: int
    rows: int
    queues: tuple[tuple[str, int | None], ...]
    beat: str
    is_beat_late: bool
    is_beat_dead: bool
    pulse: str
    is_pulse_dead: bool
    stream_processes: int | None
    streamed: int
    round_trip_ms: int
    disk: DiskSpace | None
    backups: BackupTimes

    @property
    def is_queue_busy(self) -> bool:
        return any(depth is None or depth > BUSY_QUEUE for _, depth in self.queues)


@dataclass(frozen=True, slots=True)
class Seen:
    """The moments at which beat and pulse were last seen, and how far rollups have come."""

    beat_at: datetime | None
    pulse_at: datetime | None
    rolled_up_to: datetime | None
    backups: BackupTimes


def ask_processes() -> tuple[Seen, float]:
    """Returns when the processes were last seen, and how many milliseconds the database took to say so."""
    asked_at = time.perf_counter()
    marks = dict(
        Watermark.objects.filter(name__in=(BEAT_CURSOR, SWEPT_CURSOR, ROLLED_UP, *backups.CURSORS)).values_list(
            "name", "reached_at"
        )
    )
    seen = Seen(marks.get(BEAT_CURSOR), marks.get(SWEPT_CURSOR), marks.get(ROLLED_UP), backups.of_marks(marks))
    return seen, (time.perf_counter() - asked_at) * 1000


def newest(workers: Sequence[Worker], seen: Seen) -> dict[str, int]:
    found = {worker.exchange_id: int(worker.stored_at.timestamp()) for worker in workers if worker.stored_at}
    if found:
        found["*"] = max(found.values())
    if seen.beat_at is not None:
        found["beat"] = int(seen.beat_at.timestamp())
    if seen.backups.proven_at is not None:
        found["proven"] = int(seen.backups.proven_at.timestamp())
    if seen.pulse_at is not None:
        found["pulse"] = int(seen.pulse_at.timestamp()) // PULSE_STEP_SECONDS * PULSE_STEP_SECONDS
    return found


def assess(last_hour: LastHour, seen: Seen, round_trip_ms: float, *, streamed: int, now: datetime) -> SystemHealth:
    beat_lag, pulse_lag = _lag(seen.beat_at, now), _lag(seen.pulse_at, now)
    queues, processes = _queues(now)
    return SystemHealth(
        runs=last_hour.runs_last_minute,
        rows=last_hour.rows_last_minute,
        queues=queues,
        beat="never" if seen.beat_at is None else "seen",
        is_beat_late=beat_lag > BEAT_LATE_SECONDS,
        is_beat_dead=beat_lag > BEAT_DEAD_SECONDS,
        pulse="never" if seen.pulse_at is None else "seen",
        is_pulse_dead=pulse_lag > PULSE_DEAD_SECONDS,
        stream_processes=processes,
        streamed=streamed,
        disk=database_disk(),
        backups=seen.backups,
        round_trip_ms=next((step for step in ROUND_TRIPS_MS if round_trip_ms <= step), ROUND_TRIPS_MS[-1]),
    )


def alarms(health: SystemHealth, seen: Seen, now: datetime) -> list[Alarm]:
    """Returns alarms on what stops the collecting, or the noticing, and that no source can show yet."""
    found = []
    if health.is_pulse_dead:
        found.append(pulse_alarm(seen))
    if health.is_beat_dead:
        found.append(
            Alarm(
                "The scheduler does not run: no poll is sent",
                "read the log of beat, or start one",
                seen.beat_at,
                cause="beat",
            )
        )
    if any(depth is None for _, depth in health.queues):
        found.append(
            Alarm("Valkey does not answer: no poll can be sent", "check that it runs, and REDIS_URL", cause="valkey")
        )
    elif health.is_queue_busy:
        found.append(Alarm("Tasks wait in the queue", "check that a worker runs, or start more workers", cause="queue"))
    if health.streamed and health.stream_processes == 0:
        polled = "1 exchange is" if health.streamed == 1 else f"{health.streamed} exchanges are"
        found.append(
            Alarm(
                f"No stream process runs: {polled} polled, or not collected at all",
                "read its log, or start one: manage.py stream",
                tone=Tone.WARNING,
                cause="streams",
            )
        )
    if seen.rolled_up_to is not None and _lag(seen.rolled_up_to, now) > ROLLUPS_LATE_SECONDS:
        found.append(
            Alarm(
                "Minutes are not rolled up: raw rows stay on the disk, and are lost in the end",
                "read the workers' log of upkeep; see RAW_RETENTION_MOST_HOURS",
                seen.rolled_up_to,
                tone=Tone.WARNING,
                cause="rollups",
            )
        )
    if health.disk is not None and health.disk.is_low:
        found.append(
            Alarm(
                f"The database's disk is nearly full: {health.disk.words}; when it is full nothing is stored",
                "make room on it, or keep less: the settings of retention",
                tone=Tone.DANGER if health.disk.is_nearly_full else Tone.WARNING,
                cause="disk",
            )
        )
    found += _backup_alarms(seen.backups, now)
    if health.round_trip_ms >= SLOW_MS:
        found.append(
            Alarm(
                "The database answers slowly",
                "see pg_stat_activity for what it does",
                tone=Tone.WARNING,
                cause="database",
            )
        )
    return [replace(each, is_old=each.since is not None and now - each.since > OLD) for each in found]


def pulse_alarm(seen: Seen) -> Alarm:
    return Alarm(
        "The pulse does not run: no gap is opened and no silent worker is noticed",
        "read its log, or start one: manage.py pulse",
        seen.pulse_at,
        cause="pulse",
    )


def _backup_alarms(times: BackupTimes, now: datetime) -> list[Alarm]:
    if not times.are_expected or _lag(times.proven_at, now) < PROOF_OLD_SECONDS:
        return []
    claim = "The newest backup could not be restored" if times.has_failed else "No backup has been proven for days"
    advice = "read the log of backup; see docs/backup.md"
    return [Alarm(claim, advice, times.proven_at, tone=Tone.WARNING, cause="backup")]


def _lag(moment: datetime | None, now: datetime) -> float:
    return math.inf if moment is None else (now - moment).total_seconds()


def _queues(now: datetime) -> tuple[tuple[tuple[str, int | None], ...], int | None]:
    """Returns how many tasks wait, and how many stream processes live. One round trip to Valkey."""
    names = (POLL_QUEUE, DEFAULT_QUEUE)
    try:
        with valkey.client().pipeline(transaction=False) as together:
            for name in names:
                together.llen(name)
            PROCESSES.count_in(together, now=now.timestamp())
            *depths, processes = together.execute()
    except redis.RedisError:
        return tuple((name, None) for name in names), None
    return tuple((name, int(depth)) for name, depth in zip(names, depths, strict=True)), int(processes)
