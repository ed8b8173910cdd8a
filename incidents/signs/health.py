"""Proof that the system works: rows and runs of the last minute, queues, the scheduler, streams, the database."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import redis

from collectors.gaps.misdated import TAKEN_BACK_CURSOR
from collectors.gaps.sweep import SWEPT_CURSOR
from collectors.history import archive_times
from collectors.history.archive_times import ArchiveTimes
from collectors.history.rollups import CURSOR as ROLLED_UP
from collectors.models import Watermark, Worker
from collectors.polling import schedule
from collectors.polling.schedule import BEAT_CURSOR, BEAT_SILENCE, SENT_CURSOR, SENT_SILENCE
from collectors.status import backups
from collectors.status.backups import BackupTimes
from collectors.streaming.ownership import PROCESSES
from incidents.rules.conditions import OLD
from incidents.rules.verdict import Alarm, Tone
from incidents.signs import archived, servers
from incidents.signs.activity import LastHour
from incidents.signs.servers import NOT_ASKED, DatabaseState
from lib import clock, processes, queues, valkey
from lib.disk import DiskSpace, database_disk
from lib.processes import LiveProcess

BEAT_LATE_SECONDS = 10
SENT_LATE_SECONDS = 40  # two of its jobs are sent every half minute
PULSE_DEAD_SECONDS = 30  # it sweeps every second
PULSE_STEP_SECONDS = 5  # a moment that changes with every picture would be sent with every picture
ROUND_TRIPS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)  # steps: a figure that dances says nothing
SLOW_MS = 500
PROOF_OLD_SECONDS = 3 * 86_400  # one is made and proven each night
TAKEN_BACK_SECONDS = 3600  # so long it is said that stamps lay in the future
NAMED_PROCESSES = 3
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
    worker_processes: int | None = None
    exchanges: int = 0
    wrong_clocks: tuple[str, ...] = ()
    all_differ_alike: bool = False
    leapt_seconds: int = 0
    valkey_refusal: str = ""
    database: DatabaseState = NOT_ASKED

    @property
    def is_queue_busy(self) -> bool:
        return any(depth is None or queues.is_busy(depth, self.exchanges) for _, depth in self.queues)


@dataclass(frozen=True, slots=True)
class Seen:
    """The moments at which beat and pulse were last seen, how far rollups have come, and what is not sent."""

    beat_at: datetime | None
    pulse_at: datetime | None
    rolled_up_to: datetime | None
    backups: BackupTimes
    archive: ArchiveTimes
    taken_back_at: datetime | None = None
    sent_at: datetime | None = None
    switched_off: tuple[str, ...] = ()  # rows of the schedule that the system needs
    database: DatabaseState = NOT_ASKED


def ask_processes() -> tuple[Seen, float]:
    """Returns when the processes were last seen, and how many milliseconds the database took to say so."""
    asked_at = time.perf_counter()
    names = (
        BEAT_CURSOR,
        SWEPT_CURSOR,
        ROLLED_UP,
        TAKEN_BACK_CURSOR,
        SENT_CURSOR,
        *backups.CURSORS,
        *archive_times.CURSORS,
    )
    marks = dict(Watermark.objects.filter(name__in=names).values_list("name", "reached_at"))
    round_trip_ms = (time.perf_counter() - asked_at) * 1000
    seen = Seen(
        marks.get(BEAT_CURSOR),
        marks.get(SWEPT_CURSOR),
        marks.get(ROLLED_UP),
        backups.of_marks(marks),
        archive_times.of_marks(marks),
        marks.get(TAKEN_BACK_CURSOR),
        marks.get(SENT_CURSOR),
        tuple(schedule.switched_off_jobs()),
        servers.ask_database(),
    )
    return seen, round_trip_ms


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


def assess(
    last_hour: LastHour, seen: Seen, round_trip_ms: float, *, exchanges: int, streamed: int, now: datetime
) -> SystemHealth:
    beat_lag, pulse_lag = _lag(seen.beat_at, now), _lag(seen.pulse_at, now)
    depths, streams, live, refusal = _ask_valkey(now)
    wrong = [each for each in live or () if each.is_clock_off or each.is_clock_held]
    return SystemHealth(
        runs=last_hour.runs_last_minute,
        rows=last_hour.rows_last_minute,
        queues=depths,
        beat="never" if seen.beat_at is None else "seen",
        is_beat_late=beat_lag > BEAT_LATE_SECONDS,
        is_beat_dead=beat_lag > BEAT_SILENCE.total_seconds(),
        pulse="never" if seen.pulse_at is None else "seen",
        is_pulse_dead=pulse_lag > PULSE_DEAD_SECONDS,
        stream_processes=streams,
        streamed=streamed,
        disk=database_disk(),
        backups=seen.backups,
        round_trip_ms=next((step for step in ROUND_TRIPS_MS if round_trip_ms <= step), ROUND_TRIPS_MS[-1]),
        worker_processes=None if live is None else processes.count(live, "worker"),
        exchanges=exchanges,
        wrong_clocks=tuple(_clock_in_words(each) for each in wrong),
        all_differ_alike=bool(wrong) and all(each.all_differ_alike for each in wrong),
        valkey_refusal=refusal,
        database=seen.database,
        leapt_seconds=round(max((each.leapt_seconds for each in live or ()), default=0.0)),
    )


def _clock_in_words(process: LiveProcess) -> str:
    ahead = process.ahead_seconds or 0.0
    return f"{process.kind} on {process.host}, {abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}"


def is_beat_late(seen: Seen, now: datetime) -> bool:
    """Says whether the scheduler has given no sign, or sent nothing, for longer than usual; an alarm waits longer."""
    is_idle = seen.sent_at is not None and _lag(seen.sent_at, now) > SENT_LATE_SECONDS
    return is_idle or (seen.beat_at is not None and _lag(seen.beat_at, now) > BEAT_LATE_SECONDS)


def schedule_alarms(health: SystemHealth, seen: Seen, now: datetime) -> list[Alarm]:
    """Returns alarms on a scheduler that does not run, or that runs and sends nothing, or not all."""
    found = []
    if health.is_beat_dead:
        dead = "The scheduler does not run: no poll is sent"
        found.append(Alarm(dead, "read the log of beat, or start one", seen.beat_at, cause="beat"))
    elif seen.sent_at is not None and now - seen.sent_at > SENT_SILENCE:
        idle = "The scheduler runs and sends nothing"
        found.append(Alarm(idle, "read the log of beat; see Periodic tasks", seen.sent_at, cause="beat"))
    if seen.switched_off:
        off = f"Switched off in the schedule: {', '.join(seen.switched_off)}"
        advice = "nothing: beat switches it on again within a minute; to rest an exchange, switch off the exchange"
        found.append(Alarm(off, advice, tone=Tone.WARNING, cause="schedule"))
    return found


def alarms(health: SystemHealth, seen: Seen, now: datetime) -> list[Alarm]:
    """Returns alarms on what stops the collecting, or the noticing, and that no source can show yet."""
    found = [
        *([pulse_alarm(seen)] if health.is_pulse_dead else []),
        *schedule_alarms(health, seen, now),
        *_queue_alarms(health),
        *_clock_alarms(health, seen, now),
        *_stream_alarms(health),
        *_database_alarms(health, seen, now),
    ]
    return [replace(each, is_old=each.since is not None and now - each.since > OLD) for each in found]


def _queue_alarms(health: SystemHealth) -> list[Alarm]:
    """Returns the first of: nobody can be sent a poll, nobody takes one, too few take them."""
    if health.valkey_refusal:
        return [servers.valkey_alarm(health.valkey_refusal)]
    if any(depth is None for _, depth in health.queues):
        away = "Valkey does not answer: no poll can be sent"
        return [Alarm(away, "check that it runs, and REDIS_URL", cause="valkey")]
    if health.worker_processes == 0:
        gone = f"No worker runs: nobody takes the polls of {_exchanges(health.exchanges)}"
        return [Alarm(gone, "read its log, or start one: it may be gone, or hang", cause="worker")]
    if health.is_queue_busy:
        return [Alarm("Tasks wait in the queue", "start more workers, or look at their log", cause="queue")]
    return []


def _stream_alarms(health: SystemHealth) -> list[Alarm]:
    if not health.streamed or health.stream_processes != 0:
        return []
    polled = f"{_exchanges(health.streamed)} {'is' if health.streamed == 1 else 'are'}"
    claim = f"No stream process runs: {polled} polled, or not collected at all"
    return [Alarm(claim, "read its log, or start one: manage.py stream", tone=Tone.WARNING, cause="streams")]


def _database_alarms(health: SystemHealth, seen: Seen, now: datetime) -> list[Alarm]:
    """Returns alarms on rollups that do not come, a disk that fills, backups that fail, and slow answers."""
    found = []
    if seen.rolled_up_to is not None and _lag(seen.rolled_up_to, now) > ROLLUPS_LATE_SECONDS:
        claim = "Minutes are not rolled up: raw rows stay on the disk, and are lost in the end"
        advice = "read the workers' log of upkeep; see RAW_RETENTION_MOST_HOURS"
        found.append(Alarm(claim, advice, seen.rolled_up_to, tone=Tone.WARNING, cause="rollups"))
    if health.disk is not None and health.disk.is_low:
        claim = f"The database's disk is nearly full: {health.disk.words}; when it is full nothing is stored"
        advice = "make room on it, or keep less: the settings of retention"
        tone = Tone.DANGER if health.disk.is_nearly_full else Tone.WARNING
        found.append(Alarm(claim, advice, tone=tone, cause="disk"))
    found += _backup_alarms(seen.backups, now)
    found += archived.alarms(seen.archive, now)
    if of_server := servers.database_alarms(health.database):
        found += of_server
    elif health.round_trip_ms >= SLOW_MS:
        advice = "see pg_stat_activity for what it does"
        found.append(Alarm("The database answers slowly", advice, tone=Tone.WARNING, cause="database"))
    return found


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


def _exchanges(count: int) -> str:
    return "1 exchange" if count == 1 else f"{count} exchanges"


def _clock_alarms(health: SystemHealth, seen: Seen, now: datetime) -> list[Alarm]:
    found = []
    if health.wrong_clocks and health.all_differ_alike:
        found.append(
            Alarm(
                f"PostgreSQL's clock differs from every process's, as {health.wrong_clocks[0]}: nothing is deleted",
                "set the clock of PostgreSQL's host right, if it is not the others' that are wrong",
                cause="clock",
            )
        )
    elif health.wrong_clocks:
        named = "; ".join(health.wrong_clocks[:NAMED_PROCESSES])
        found.append(
            Alarm(
                f"A clock differs from PostgreSQL's ({named}): rows are stamped by PostgreSQL's, and a process that "
                "is more than a minute off takes no work",
                "set that host's clock right: see its time synchronisation",
                cause="clock",
            )
        )
    if health.leapt_seconds:
        found.append(
            Alarm(
                f"PostgreSQL's clock has leapt ahead by {_about(health.leapt_seconds)}: nothing is deleted for an hour",
                "see that the time of its host is right",
                tone=Tone.WARNING,
                cause="clock leapt",
            )
        )
    if seen.taken_back_at is not None and _lag(seen.taken_back_at, now) < TAKEN_BACK_SECONDS:
        found.append(
            Alarm(
                "Rows were stamped in the future by a clock that ran ahead: they are kept, and count for nothing",
                "see which host's clock was wrong",
                seen.taken_back_at,
                tone=Tone.WARNING,
                cause="stamps in the future",
            )
        )
    return found


def _about(seconds: float) -> str:
    """Returns a span in the largest unit of which it has two or more, cut."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min" if seconds < 7200 else f"{seconds // 3600:.0f} h"


def _lag(moment: datetime | None, now: datetime) -> float:
    """Returns the seconds since then; infinite for never, and for what a clock that ran ahead has written."""
    seconds = math.inf if moment is None else (now - moment).total_seconds()
    return math.inf if seconds < -clock.FUTURE_SECONDS else seconds


def _ask_valkey(
    now: datetime,
) -> tuple[tuple[tuple[str, int | None], ...], int | None, tuple[LiveProcess, ...] | None, str]:
    """Returns how many tasks wait, how many stream processes live, all live processes, and why nothing is stored. One
    round trip."""
    unknown = tuple((name, None) for name in queues.QUEUES)
    try:
        with valkey.client().pipeline(transaction=False) as together:
            servers.ask_valkey_in(together)
            queues.ask_in(together)
            PROCESSES.count_in(together, now=now.timestamp())
            processes.ask_in(together)
            stored, *depths, streams, moment, fields = together.execute(raise_on_error=False)
    except redis.RedisError as error:
        return unknown, None, None, servers.refusal_of(error)
    refusal = servers.refusal_of(stored)
    if refusal:  # without writing no process can say that it lives
        return tuple(queues.answered(depths).items()), None, None, refusal
    counted = streams if isinstance(streams, int) else 0
    return tuple(queues.answered(depths).items()), counted, processes.answered(moment, fields), ""
