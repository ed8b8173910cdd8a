"""PostgreSQL's clock: what is destroyed, moved on or leased goes by it, and every process compares its own with it."""

from __future__ import annotations

import contextlib
import threading
from datetime import datetime

import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from lib import clock, processes

log = structlog.get_logger(__name__)

ASK = "SELECT clock_timestamp()"
TRIES = 3
BAD_ROUND_TRIP_SECONDS = 1.0  # a slower answer says nothing of a second or two
COMPARE_SECONDS = 60.0
LOOK_SECONDS = 1.0  # at a step of this host's clock


def now() -> datetime:
    """Returns PostgreSQL's time. Raises DatabaseError, InterfaceError."""
    with connection.cursor() as cursor:
        cursor.execute(ASK)
        found: datetime = cursor.fetchone()[0]
    return found


def compare() -> clock.ClockState:
    """Compares this host's clock with PostgreSQL's, and with what other processes found. Raises DatabaseError,
    InterfaceError."""
    round_trip, moment, steady = min(_asked() for _ in range(TRIES))
    if round_trip <= BAD_ROUND_TRIP_SECONDS:
        clock.note_database(moment, steady=steady, tolerance_seconds=settings.CLOCK_TOLERANCE_SECONDS)
        with contextlib.suppress(redis.RedisError):  # then what was known of the others stays
            clock.note_others(processes.differences_of_others())
    return clock.state()


def _asked() -> tuple[float, float, float]:
    """Returns how long the answer took, what it was, and the steady clock in the middle between both."""
    asked_at = clock.steady_seconds()
    moment = now().timestamp()
    answered_at = clock.steady_seconds()
    return answered_at - asked_at, moment, (asked_at + answered_at) / 2


def compare_when_due() -> None:
    """Compares where that is a minute ago, or where this host's clock was set meanwhile; again and again while it
    differs, as the others decide what may go on. A database that is away is asked again with the next look."""
    every = COMPARE_SECONDS if clock.state().may_delete else processes.SAY_SECONDS
    if clock.seconds_since_comparison() < every and not _was_set():
        return
    try:
        found = compare()
    except (DatabaseError, InterfaceError) as error:
        log.info("clock_not_compared", error=str(error).strip())
        return
    _tell(found)


_told: clock.ClockState | None = None
_ahead_then: float | None = None


def _was_set() -> bool:
    ahead = clock.ahead_seconds()
    return ahead is not None and _ahead_then is not None and abs(ahead - _ahead_then) > settings.CLOCK_TOLERANCE_SECONDS


def _tell(found: clock.ClockState) -> None:
    """Logs a clock that is wrong, once, and when it is right again."""
    global _told, _ahead_then
    before, _told, _ahead_then = _told, found, found.ahead_seconds
    if found.may_delete == (before is None or before.may_delete):
        return
    event = "clock_is_right" if found.may_delete else "clock_is_wrong"
    say = log.info if found.may_delete else log.error
    say(event, ahead_seconds=found.ahead_seconds, all_differ_alike=found.all_differ_alike, is_held=found.is_held)


def watch() -> None:
    """Compares for as long as this process lives, in a thread with a connection of its own, which is closed between."""

    def run() -> None:
        while True:
            compare_when_due()
            connection.close()
            clock.pause(LOOK_SECONDS)

    threading.Thread(target=run, name="clock", daemon=True).start()
