"""Keeps beat's rows in step with the exchanges that operators want; touches only rows whose names it owns.

An operator may edit a poll's interval in beat's own admin page or on the exchange: the side that was changed since
the last sync (Worker.scheduled_seconds remembers it) wins, and the other follows.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from collectors.models import Worker
from collectors.polling import market_list
from exchanges import depth_settings
from exchanges.models import Exchange

OWNED = ("poll:", "markets:", "depth:", "job:")
OF_EXCHANGES = OWNED[:3]
POLL_TASK = "collectors.tasks.collect_exchange"
MARKETS_TASK = "collectors.tasks.refresh_markets"
DEPTH_TASK = "collectors.tasks.collect_depth"
BEAT_CURSOR, SENT_CURSOR = "beat", "beat:sent"  # watermarks: when beat led last, and when it last sent a task
BEAT_SILENCE = timedelta(seconds=60)  # it moves its mark every few seconds
SENT_SILENCE = timedelta(seconds=150)  # one job at least is sent each minute
SYNC_JOB = "job:sync"
JOBS = {
    "job:upkeep": ("collectors.tasks.keep_up", 60.0),
    SYNC_JOB: ("collectors.tasks.sync_schedule", 60.0),
    "job:archive": ("collectors.tasks.archive", 60.0),
    "job:backfill": ("collectors.tasks.plan_backfill", 30.0),
    "job:habits": ("collectors.tasks.learn_habits", 60.0),
    "job:markets": ("exchanges.tasks.judge_markets", 60.0),
    "job:candles": ("metrics.tasks.collect_candles", 60.0),
    "job:grids": ("metrics.tasks.follow_grids", 30.0),
    "job:objectives": ("incidents.tasks.count_objectives", 60.0),
    "job:forget": ("metrics.tasks.forget", 3600.0),
}

DEPTH_OFF_SECONDS = 60.0

SET_EXPECTED = """
UPDATE collectors_pipeline AS p SET expected_seconds = %(seconds)s
FROM (SELECT q.market_id FROM collectors_pipeline AS q JOIN exchanges_market AS m ON m.id = q.market_id
      WHERE m.exchange_id = %(exchange)s AND q.expected_seconds <> %(seconds)s
      ORDER BY q.market_id FOR UPDATE OF q) AS changed
WHERE p.market_id = changed.market_id
"""


@dataclass(frozen=True, slots=True)
class WantedRow:
    """What one of beat's rows shall say."""

    name: str
    task: str
    seconds: float
    enabled: bool
    kwargs: dict[str, str] = field(default_factory=dict)
    priority: int | None = None

    def differences(self, row: PeriodicTask) -> dict[str, Any]:
        """Returns the fields of the row that say something else, with what they shall say."""
        wanted = self.fields()
        different = {name: value for name, value in wanted.items() if getattr(row, name) != value}
        if row.interval is None or interval_seconds(row.interval) != self.seconds:
            different["interval"] = _interval(self.seconds)
        return different

    def fields(self) -> dict[str, Any]:
        """Returns all fields but the interval, which is a row of its own."""
        return {
            "task": self.task,
            "enabled": self.enabled,
            "kwargs": json.dumps(self.kwargs),
            "expire_seconds": max(1, int(self.seconds)),
            "priority": self.priority,
        }


def sync(*, now: datetime, exchange_ids: Iterable[str] | None = None) -> list[str]:
    """Brings all rows (or those of some exchanges) up to date; returns the names of what it changed. Idempotent."""
    exchanges = Exchange.objects.order_by("pk")
    if exchange_ids is not None:
        exchanges = exchanges.filter(pk__in=list(exchange_ids))
    changed = [name for exchange_id in _differing(exchanges) for name in _sync_exchange(exchange_id, now)]
    if exchange_ids is None:
        changed += _sync_jobs(now)
        changed += _delete_strays()
    return changed


def _differing(exchanges: QuerySet[Exchange]) -> list[str]:
    """Returns the exchanges whose rows are not as wanted: nearly always none, so that three statements are the cost of
    the sync of all, and not a dozen and two locks for each."""
    workers = {worker.pk: worker for worker in Worker.objects.all()}
    rows = _owned_rows()
    return [
        exchange.pk
        for exchange in exchanges
        if (worker := workers.get(exchange.pk)) is not None and _is_different(exchange, worker, rows)
    ]


def _is_different(exchange: Exchange, worker: Worker, rows: Mapping[str, PeriodicTask]) -> bool:
    seconds = _agreed_seconds(exchange, worker, rows.get(f"poll:{exchange.id}"))
    return worker.scheduled_seconds != seconds or any(
        (row := rows.get(wanted.name)) is None or bool(wanted.differences(row))
        for wanted in _wanted_rows(exchange, seconds, rows)
    )


def _owned_rows(*names: str) -> dict[str, PeriodicTask]:
    """Returns the rows of those names, or all of ours, by name."""
    tasks = PeriodicTask.objects.select_related("interval")
    named = Q(name__in=names) if names else reduce(or_, (Q(name__startswith=prefix) for prefix in OWNED))
    return {task.name: task for task in tasks.filter(named)}


def switched_off_jobs() -> list[str]:
    """Returns the names of the rows that the system needs and that somebody has switched off."""
    return sorted(PeriodicTask.objects.filter(enabled=False, name__in=JOBS).values_list("name", flat=True))


def jobs_not_sent() -> list[str]:
    """Returns the names of the rows that the system needs and that are switched off, or missing."""
    names = PeriodicTask.objects.filter(enabled=True, name__in=JOBS).values_list("name", flat=True)
    return sorted(set(JOBS) - set(names))


def keep_syncing(*, now: datetime) -> bool:
    """Puts the one row right that brings all others back; says whether somebody had switched it off or deleted it, as
    one does who disables all rows."""
    return bool(_put(_wanted_job(SYNC_JOB), _owned_rows(SYNC_JOB), now=now))


def interval_seconds(interval: IntervalSchedule) -> float:
    return float(timedelta(**{interval.period: interval.every}).total_seconds())


@transaction.atomic
def _sync_exchange(exchange_id: str, now: datetime) -> list[str]:
    # When two syncs run at once (a verb's, the reconciler's), the second would go by what the first has changed. The
    # order of the locks is that of operators' verbs.
    exchange = Exchange.objects.select_for_update(no_key=True).filter(pk=exchange_id).first()
    worker = Worker.objects.select_for_update(no_key=True).filter(pk=exchange_id).first()
    if exchange is None or worker is None:
        return []
    rows = _owned_rows(*(f"{kind}{exchange.id}" for kind in OF_EXCHANGES))
    seconds = _agreed_seconds(exchange, worker, rows.get(f"poll:{exchange.id}"))
    if worker.scheduled_seconds != seconds:
        _remember(exchange, seconds)
    return [name for wanted in _wanted_rows(exchange, seconds, rows) for name in _put(wanted, rows, now=now)]


def _wanted_rows(exchange: Exchange, seconds: float, rows: Mapping[str, PeriodicTask]) -> list[WantedRow]:
    """Returns what beat shall do for an exchange that is polled every `seconds`."""
    is_on = exchange.is_collected and settings.COLLECTION_ENABLED
    arguments = {"exchange_id": exchange.id}
    every_hour = market_list.REFRESH_SECONDS
    return [
        WantedRow(f"poll:{exchange.id}", POLL_TASK, seconds, is_on, arguments, exchange.priority),
        WantedRow(f"markets:{exchange.id}", MARKETS_TASK, every_hour, is_on, arguments),
        *_wanted_depth(exchange, is_on=is_on, is_there=f"depth:{exchange.id}" in rows),
    ]


def _wanted_depth(exchange: Exchange, *, is_on: bool, is_there: bool) -> list[WantedRow]:
    """Returns a row as often as the most frequent of what is wanted besides tickers. An exchange that never had any has
    no row."""
    wanted = depth_settings.parse(exchange.depth)
    if not wanted and not is_there:
        return []
    seconds = min((each.seconds for each in wanted), default=DEPTH_OFF_SECONDS)
    name, arguments = f"depth:{exchange.id}", {"exchange_id": exchange.id}
    return [WantedRow(name, DEPTH_TASK, seconds, is_on and bool(wanted), arguments)]


def _agreed_seconds(exchange: Exchange, worker: Worker, poll: PeriodicTask | None) -> float:
    """Returns the interval that counts: beat's when only it was edited since the last sync, else the exchange's."""
    wanted = exchange.poll_interval_seconds
    if poll is None or poll.interval is None or worker.scheduled_seconds is None:
        return wanted
    was_edited_in_beat = interval_seconds(poll.interval) != worker.scheduled_seconds
    return interval_seconds(poll.interval) if was_edited_in_beat and wanted == worker.scheduled_seconds else wanted


def _remember(exchange: Exchange, seconds: float) -> None:
    Worker.objects.filter(pk=exchange.pk).update(scheduled_seconds=seconds)
    Exchange.objects.filter(pk=exchange.pk).update(poll_interval_seconds=seconds)
    with connection.cursor() as cursor:
        cursor.execute(SET_EXPECTED, {"exchange": exchange.id, "seconds": seconds})


def _sync_jobs(now: datetime) -> list[str]:
    rows = _owned_rows(*JOBS)
    return [name for job in JOBS for name in _put(_wanted_job(job), rows, now=now)]


def _wanted_job(name: str) -> WantedRow:
    task, seconds = JOBS[name]
    return WantedRow(name, task, seconds, enabled=True)


def _delete_strays() -> list[str]:
    """Deletes our rows whose exchange or job is gone, and returns their names."""
    wanted = set(JOBS) | {
        f"{kind}{pk}" for pk in Exchange.objects.values_list("pk", flat=True) for kind in OF_EXCHANGES
    }
    strays = [task for name, task in _owned_rows().items() if name not in wanted]
    for stray in strays:
        stray.delete()  # one by one: deletion in bulk would not tell beat
    return [stray.name for stray in strays]


def _put(wanted: WantedRow, rows: Mapping[str, PeriodicTask], *, now: datetime) -> list[str]:
    """Creates the row, or saves it if anything differs: every save makes beat read its whole schedule again."""
    row = rows.get(wanted.name)
    if row is None:
        PeriodicTask.objects.create(
            name=wanted.name,
            last_run_at=_spread(wanted.name, wanted.seconds, now),
            interval=_interval(wanted.seconds),
            **wanted.fields(),
        )
        return [wanted.name]
    different = wanted.differences(row)
    if not different:
        return []
    for name, value in different.items():
        setattr(row, name, value)
    row.save()
    return [wanted.name]


def _interval(seconds: float) -> IntervalSchedule:
    if seconds == int(seconds):
        every, period = int(seconds), IntervalSchedule.SECONDS
    else:
        every, period = round(seconds * 1_000_000), IntervalSchedule.MICROSECONDS
    interval = IntervalSchedule.objects.filter(every=every, period=period).order_by("pk").first()
    return interval or IntervalSchedule.objects.create(every=every, period=period)


def _spread(name: str, seconds: float, now: datetime) -> datetime:
    """Returns a last run in the past interval, a different part for each name, so that polls do not start together."""
    share = zlib.crc32(name.encode()) / 2**32
    return now - timedelta(seconds=seconds * share)
