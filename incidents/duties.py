"""What a notifier does besides sending: shows that it lives, watches the pulse, prunes, says whether all is well."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import connection

from collectors.gaps.sweep import NOTE_SWEEP
from collectors.retention import may_delete
from incidents import drills, heartbeat, ledger, retention
from incidents.rules.facts import Found
from incidents.rules.findings import of_alarm
from incidents.signs import health
from incidents.signs.telling import NOTIFIER_CURSOR
from lib import database_clock

WATCH_SECONDS = 5.0
PRUNE_SECONDS = 600.0
BEAT_SECONDS = 60.0
STARTING_SECONDS = 30.0  # the pulse may have begun together with this process

log = structlog.get_logger(__name__)


class Duties:
    """When each duty was last done, by a clock that is not set back."""

    def __init__(self) -> None:
        self._done: dict[str, float] = {}
        self._began: float | None = None

    def look(self, now: datetime, clock_seconds: float) -> heartbeat.HeartbeatState | None:
        """Carries out what is due; returns what the outward heartbeat has to say, None while it is not due."""
        self._began = clock_seconds if self._began is None else self._began
        if self._is_due("watch", WATCH_SECONDS, clock_seconds):
            note_alive(now)
            drills.end_old(now)
            if clock_seconds - self._began >= STARTING_SECONDS:
                watch_pulse(now)
        if self._is_due("prune", PRUNE_SECONDS, clock_seconds):
            prune()
        if settings.HEARTBEAT_URL and self._is_due("beat", BEAT_SECONDS, clock_seconds):
            return heartbeat.read(now)
        return None

    def _is_due(self, name: str, every: float, clock_seconds: float) -> bool:
        if clock_seconds - self._done.get(name, -every) < every:
            return False
        self._done[name] = clock_seconds
        return True


def prune() -> None:
    """Drops what is past its time, where the time is believed, by PostgreSQL's clock."""
    now = database_clock.now()
    if may_delete(now):
        retention.prune(now)


def note_alive(now: datetime) -> None:
    """Shows that a notifier runs; by writing, so that a database that stores nothing is seen, too."""
    with connection.cursor() as cursor:
        cursor.execute(NOTE_SWEEP, {"name": NOTIFIER_CURSOR, "now": now})


def watch_pulse(now: datetime) -> int:
    """Opens the incident of a dead pulse, which nobody else would: the pulse itself finds all others."""
    seen, _ = health.ask_processes()
    if seen.pulse_at is None or now - seen.pulse_at <= timedelta(seconds=health.PULSE_DEAD_SECONDS):
        return 0  # a pulse that runs ends the incident itself
    alarm = health.pulse_alarm(seen)
    return ledger.apply(Found((of_alarm(alarm, now),), is_partial=True), now)
