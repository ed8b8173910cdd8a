"""Signs of life: every round of a process's loop gives one, and a process whose loop stands still is ended.

What stands still cannot be mended from outside, but it can be started again: whoever started the process does that.
One that waits for a server is not hung. A process that does not run at all (stopped, or held in its own code) cannot
end itself: then its file grows old, which the supervisor and the containers' health checks look at.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import redis
import structlog
from django.conf import settings

from lib import clock, processes

log = structlog.get_logger(__name__)

STILL_SECONDS = 45.0  # a loop goes round in a second; a task's hard time limit is less, too
LOOK_SECONDS = 1.0
FROZEN_SECONDS = 5.0  # a look that comes so late says that the whole process stood still, and goes on now
# Where a loop may wait for longer: for PostgreSQL, for the broker, for a drill's simulated fault.
MAY_WAIT_IN = (f"{os.sep}django{os.sep}db{os.sep}", f"{os.sep}board{os.sep}drills{os.sep}")
MAY_WAIT_FOR = frozenset({"retry_over_time"})  # kombu's way to wait for a broker

_noted_at: float | None = None


def note() -> None:
    """Gives a sign of life, also as LIVENESS_FILE's time; a disk that refuses stops nobody's work."""
    global _noted_at
    _noted_at = time.monotonic()
    _touch()


def watch(*, says: bool) -> None:
    """Watches over this process's loop from its first sign of life on, in a thread.

    `says`: and tells the register of live processes for as long as the loop goes round. A process that forks does that
    itself: a thread may hold a lock at that moment.
    """
    threading.Thread(target=_watch, args=(says,), name="liveness", daemon=True).start()


def _watch(says: bool) -> None:
    said_at = float("-inf")
    while True:
        slept_at = time.monotonic()
        clock.pause(LOOK_SECONDS)
        if time.monotonic() - slept_at > FROZEN_SECONDS:
            _forgive()
        still_seconds = look()
        if says and still_seconds < processes.LIVES_SECONDS and time.monotonic() - said_at >= processes.SAY_SECONDS:
            said_at = time.monotonic()
            with contextlib.suppress(redis.RedisError):
                processes.say()


def look() -> float:
    """Ends this process when its loop stands still and waits for nobody; returns for how long it has stood still."""
    if _noted_at is None:
        return 0.0
    still_seconds = time.monotonic() - _noted_at
    if still_seconds < STILL_SECONDS:
        return still_seconds
    if any(map(may_wait, sys._current_frames().values())):  # a loop may wait for a thread that waits
        _touch()
    else:
        log.critical("process_ended", reason=f"its loop has stood still for {still_seconds:.0f} s")
        os.kill(os.getpid(), signal.SIGKILL)
    return still_seconds


def may_wait(frame: FrameType | None) -> bool:
    """Says whether a thread is where it may wait for longer."""
    while frame is not None:
        code = frame.f_code
        if code.co_name in MAY_WAIT_FOR or any(part in code.co_filename for part in MAY_WAIT_IN):
            return True
        frame = frame.f_back
    return False


def _forgive() -> None:
    global _noted_at
    if _noted_at is not None:
        _noted_at = time.monotonic()


def _touch() -> None:
    file = getattr(settings, "LIVENESS_FILE", "")  # no setting of a program that only borrows our gateway
    if file:
        with contextlib.suppress(OSError):
            Path(file).touch()
