"""Keeps beat's rows in step with the exchanges that operators want; touches only rows whose names it owns.

An operator may edit a poll's interval in beat's own admin page or on the exchange: the side that was changed since
the last sync (Worker.scheduled_seconds remembers it) wins, and the other follows.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
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
    "job:backfill": ("collectors.tasks.plan_backfill", 30.0),
    "job:habits": ("collectors.tasks.learn_habits", 60.0),
    "job:markets": ("exchanges.tasks.judge_markets", 60.0),
    "job:candles": ("metrics.tasks.collect_candles", 60.0),
    "job:grids": ("metrics.tasks.follow_grids", 30.0),
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


def sync(*, now: datetime, exchange_ids: Iterable[str] | None = None) -> list[str]:
    """Brings all rows (or those of some exchanges) up to date; returns the names of what it changed. Idempotent."""
    exchanges = Exchange.objects.order_by("pk").values_list("pk", flat=True)
    if exchange_ids is not None:
        exchanges = exchanges.filter(pk__in=list(exchange_ids))
    changed = [name for exchange_id in list(exchanges) for name in _sync_exchange(exchange_id, now)]
    if exchange_ids is None:
        changed += _sync_jobs(now)
        changed += _delete_strays()
    return changed


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
    task, seconds = JOBS[SYNC_JOB]
    return bool(_put(SYNC_JOB, task, seconds=seconds, enabled=True, kwargs={}, now=now))


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
    poll_name = f"poll:{exchange.id}"
    poll = PeriodicTask.objects.select_related("interval").filter(name=poll_name).first()
    seconds = _agreed_seconds(exchange, worker, poll)
    is_on = exchange.is_collected and settings.COLLECTION_ENABLED
    if worker.scheduled_seconds != seconds:
        _remember(exchange, seconds)
    arguments = {"exchange_id": exchange.id}
    every_hour = market_list.REFRESH_SECONDS
    return [
        *_put(
            poll_name, POLL_TASK, seconds=seconds, enabled=is_on, kwargs=arguments, now=now, priority=exchange.priority
        ),
        *_put(f"markets:{exchange.id}", MARKETS_TASK, seconds=every_hour, enabled=is_on, kwargs=arguments, now=now),
        *_put_depth(exchange, is_on=is_on, now=now),
    ]


def _put_depth(exchange: Exchange, *, is_on: bool, now: datetime) -> list[str]:
    """Puts the row as often as the most frequent of what is wanted besides tickers. An exchange that never had any has
    no row."""
    name, wanted = f"depth:{exchange.id}", depth_settings.parse(exchange.depth)
    if not wanted and not PeriodicTask.objects.filter(name=name).exists():
        return []
    seconds = min((each.seconds for each in wanted), default=DEPTH_OFF_SECONDS)
    return _put(
        name,
        DEPTH_TASK,
        seconds=seconds,
        enabled=is_on and bool(wanted),
        kwargs={"exchange_id": exchange.id},
        now=now,
    )


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
    return [
        name
        for job, (task, seconds) in JOBS.items()
        for name in _put(job, task, seconds=seconds, enabled=True, kwargs={}, now=now)
    ]


def _delete_strays() -> list[str]:
    """Deletes our rows whose exchange or job is gone, and returns their names."""
    wanted = set(JOBS) | {
        f"{kind}{pk}" for pk in Exchange.objects.values_list("pk", flat=True) for kind in OF_EXCHANGES
    }
    owned = [task for prefix in OWNED for task in PeriodicTask.objects.filter(name__startswith=prefix)]
    strays = [task for task in owned if task.name not in wanted]
    for stray in strays:
        stray.delete()  # one by one: deletion in bulk would not tell beat
    return [stray.name for stray in strays]


def _put(
    name: str,
    task: str,
    *,
    seconds: float,
    enabled: bool,
    kwargs: dict[str, Any],
    now: datetime,
    priority: int | None = None,
) -> list[str]:
    """Creates the row, or saves it if anything differs: every save makes beat read its whole schedule again."""
    wanted = {
        "task": task,
        "interval": _interval(seconds),
        "enabled": enabled,
        "kwargs": json.dumps(kwargs),
        "expire_seconds": max(1, int(seconds)),
        "priority": priority,
    }
    row = PeriodicTask.objects.filter(name=name).first()
    if row is None:
        PeriodicTask.objects.create(name=name, last_run_at=_spread(name, seconds, now), **wanted)
        return [name]
    different = {field: value for field, value in wanted.items() if getattr(row, field) != value}
    if not different:
        return []
    for field, value in different.items():
        setattr(row, field, value)
    row.save()
    return [name]


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
