"""Beat with one leader: any number may run, one sends.

The leader holds a lease that runs out, so another leads seconds after its host has vanished. Beyond that it repairs two
faults of django-celery-beat 2.9: after a failed sync it re-sends what it has sent (fixed upstream by pull request 1040,
unreleased), and after the wall clock jumps back it stays silent.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from datetime import datetime, timedelta
from typing import Any

import redis
import structlog
from celery.schedules import schedstate
from django.db import DatabaseError, InterfaceError, close_old_connections, connection
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from collectors import process_lease
from collectors.models import Watermark
from collectors.polling import schedule
from collectors.polling.schedule import BEAT_CURSOR, SENT_CURSOR
from lib import clock, liveness, queues
from lib.queues import POLL_QUEUE

log = structlog.get_logger(__name__)

STANDBY_SECONDS = 1.0
LEASE_SECONDS = 8.0  # renewed every second; another leads after it
MUTE_SECONDS = 10.0  # a leader that reaches no Valkey for so long lets another try
HEARTBEAT_SECONDS = 5.0
CLOCK_JUMP = timedelta(seconds=60)


class Leadership:
    """A lease that runs out seconds after its holder was last heard, on PostgreSQL's clock.

    Held only as long as the database has just said so: a leader that stood still asks again before it sends.
    """

    def __init__(self) -> None:
        self._holder = f"{socket.gethostname()[:60]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._may_lead = False

    def is_held(self) -> bool:
        """Takes or renews the lease. Says False where the database does not answer."""
        try:
            self._may_lead = process_lease.take(BEAT_CURSOR, self._holder, seconds=LEASE_SECONDS)
        except (DatabaseError, InterfaceError):
            connection.close()
            self._may_lead = False
        return self._may_lead

    def release(self) -> None:
        """Lets another lead at once; where the database does not answer, in seconds."""
        if not self._may_lead:
            return
        self._may_lead = False
        try:
            process_lease.release(BEAT_CURSOR, self._holder)
        except (DatabaseError, InterfaceError):
            connection.close()


class TimedEntry(ModelEntry):
    """An entry that is due by our clock."""

    def __init__(self, model: Any, app: Any = None) -> None:
        super().__init__(model, app)
        self.schedule.nowfun = clock.now

    def _default_now(self) -> datetime:
        return clock.now()


class LeaderScheduler(DatabaseScheduler):
    """A DatabaseScheduler that sends only while it leads."""

    Entry = TimedEntry

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._leadership = Leadership()
        self._leads = False
        self._checked_at = float("-inf")
        self._heartbeat_at = float("-inf")
        self._muted_at: float | None = None
        self._backlog = 0
        self._has_sent = False
        self._clock_offset = clock.unix() - time.monotonic()
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        """Sets up no entries of Celery's own: there are no results to clean up."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        liveness.note()
        if time.monotonic() - self._checked_at >= STANDBY_SECONDS:
            self._check()
        if not self._leads:
            return STANDBY_SECONDS
        return min(float(super().tick(*args, **kwargs)), STANDBY_SECONDS)

    def all_as_schedule(self) -> dict[str, Any]:
        """Returns what the database says, but never an earlier last run than the one that we know of."""
        entries: dict[str, Any] = super().all_as_schedule()
        known_entries: dict[str, Any] = self._schedule or {}
        limit = clock.now() + CLOCK_JUMP
        for name, entry in entries.items():
            known = known_entries.get(name)
            if known is not None and entry.last_run_at < known.last_run_at <= limit:
                entry.last_run_at = entry.model.last_run_at = known.last_run_at
            if entry.last_run_at > limit:
                entry.last_run_at = entry.model.last_run_at = clock.now()
        return entries

    def is_due(self, entry: Any) -> Any:
        """Says whether the entry is due. The next slot counts from when this one was: lateness does not add up."""
        is_due, seconds = super().is_due(entry)
        return schedstate(is_due, max(seconds - self._late_seconds(entry), 0.0) if is_due else seconds)

    def reserve(self, entry: Any) -> Any:
        late_seconds = self._late_seconds(entry)
        following = super().reserve(entry)
        following.last_run_at = following.model.last_run_at = following.last_run_at - timedelta(seconds=late_seconds)
        return following

    def sync(self) -> None:
        """Stores all entries in one statement: saved one by one, a hundred cost a second in which nothing is sent."""
        entries: dict[str, Any] = self._schedule or {}
        names: set[str] = self._dirty
        self._dirty: set[str] = set()
        models = [entries[name].model for name in names if name in entries]
        try:
            close_old_connections()
            PeriodicTask.objects.bulk_update(models, ["last_run_at", "total_run_count"])
        except (DatabaseError, InterfaceError):
            self._dirty |= names
            log.warning("beat_rows_not_saved", count=len(models))

    def apply_async(self, entry: Any, *args: Any, **kwargs: Any) -> Any:
        """Sends a task, but no poll into a queue that nobody empties: what it would ask is old by the time it runs."""
        names: list[str] = list(self._schedule or {})
        polls = sum(name.startswith("poll:") for name in names)
        if entry.name.startswith("poll:") and queues.is_full(self._backlog, polls):
            log.warning("poll_not_sent", reason="the queue is not being emptied", name=entry.name, queued=self._backlog)
            return None
        sent = super().apply_async(entry, *args, **kwargs)
        self._has_sent = True
        return sent

    def close(self) -> None:
        super().close()
        self._leadership.release()

    def _late_seconds(self, entry: Any) -> float:
        """Returns the seconds behind its slot; none once a whole slot was missed, and for what runs by calendar."""
        interval = getattr(entry.schedule, "run_every", None)
        if interval is None:
            return 0.0
        late = clock.now() - entry.last_run_at - interval
        return late.total_seconds() if timedelta(0) < late < interval else 0.0

    def _check(self) -> None:
        """Checks once a second whether we lead, whether the clock jumped, and how long the queue is."""
        self._checked_at = time.monotonic()
        led = self._leads
        self._measure_backlog()
        self._leads = self._may_lead() and self._leadership.is_held()
        if self._leads and not led:
            log.info("beat_leads")
            self._heap, self._initial_read = None, True
        self._heal_clock_jump()
        if self._leads and self._checked_at - self._heartbeat_at >= HEARTBEAT_SECONDS:
            self._beat()

    def _may_lead(self) -> bool:
        """Says whether what we would send arrives, and is timed well; if not, gives the lease to another at once."""
        is_mute = self._muted_at is not None and self._checked_at - self._muted_at > MUTE_SECONDS
        if not is_mute and not clock.state().is_far_off:
            return True
        self._leadership.release()
        return False

    def _heal_clock_jump(self) -> None:
        offset = clock.unix() - time.monotonic()
        jumped = offset - self._clock_offset
        self._clock_offset = offset
        if abs(jumped) > CLOCK_JUMP.total_seconds():
            log.warning("wall_clock_jumped", seconds=round(jumped))
            self._schedule, self._heap, self._initial_read = None, None, True

    def _measure_backlog(self) -> None:
        try:
            queues.heal()
            self._backlog = queues.depths()[POLL_QUEUE]
            self._muted_at = None
        except redis.RedisError:
            self._backlog = 0  # publishing will say what is wrong
            self._muted_at = self._muted_at or self._checked_at

    def _beat(self) -> None:
        """Says that the schedule is followed, and that something of it was sent; mends the row that all hang on."""
        self._heartbeat_at = self._checked_at
        now: datetime = clock.now()
        names = (BEAT_CURSOR, SENT_CURSOR) if self._has_sent else (BEAT_CURSOR,)
        try:
            for name in names:
                Watermark.objects.update_or_create(name=name, defaults={"reached_at": now})
            if schedule.keep_syncing(now=now):
                log.warning("schedule_was_switched_off", hint="disable exchanges, not beat's rows")
        except (DatabaseError, InterfaceError):
            log.warning("beat_heartbeat_not_stored")
        else:
            self._has_sent = False
