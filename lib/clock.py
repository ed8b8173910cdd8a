"""The one place that reads the wall clock; everything else takes `now` as a parameter.

A process that has compared its clock with PostgreSQL's (`lib.database_clock`) goes by its own while the two agree, and
else by PostgreSQL's, carried on by a clock that nobody can set: so one host's wrong clock stamps no row wrongly, and a
step of it between two comparisons neither. What is known is shared with the children of a process.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import select
import time
from dataclasses import dataclass
from datetime import UTC, datetime

FUTURE_SECONDS = 5.0  # two clocks, each within what is tolerated, differ by less: a later stamp is in the future
FAR_SECONDS = 60.0  # from here on a process takes no work: what else on its host goes by the time is wrong as well
LEAPT_SECONDS = 3600.0  # so long it is said that the database's clock leapt ahead
HOLD_SECONDS = 600.0  # a database's clock that goes back is not followed for so long: it may come forward again
_STEADY: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine sleeps
NEVER = math.nan


class _Shared(ctypes.Structure):
    """What is known of the database's clock, in memory that a worker's children share with it."""

    _fields_ = (
        ("anchor", ctypes.c_double),  # the database's Unix time minus the steady clock
        ("measured_at", ctypes.c_double),  # on the steady clock
        ("anchor_before", ctypes.c_double),  # before the database's clock leapt ahead
        ("leapt_at", ctypes.c_double),  # on the steady clock
        ("back_since", ctypes.c_double),  # on the steady clock: since when the database's clock is not followed back
        ("all_differ_alike", ctypes.c_double),
    )


_known = _Shared.from_buffer(mmap.mmap(-1, ctypes.sizeof(_Shared)))
_tolerance_seconds = 2.0


def forget() -> None:
    """Forgets what is known of the database's clock: the wall clock alone counts, as in a process that has no one."""
    for name in ("anchor", "measured_at", "anchor_before", "leapt_at", "back_since"):
        setattr(_known, name, NEVER)
    _known.all_differ_alike = 0.0


forget()


def now() -> datetime:
    return datetime.fromtimestamp(unix(), UTC)


def unix() -> float:
    """Returns Unix time in seconds: by this host's clock while it agrees with the database's, else by that one."""
    wall, anchor = time.time(), _known.anchor
    if anchor != anchor:  # never compared
        return wall
    steady = anchor + time.clock_gettime(_STEADY)
    return wall if -_tolerance_seconds <= wall - steady <= _tolerance_seconds else steady


# --- this host's clock and the database's -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClockState:
    """The state of this process's clock. `ahead_seconds`: of the database's; None before the first comparison.

    `all_differ_alike`: every process differs from the database by as much, so that the database's host is the suspect.
    `is_held`: the database's clock has gone back, and is not followed yet. `leapt_seconds`: it has leapt ahead by so
    much within the last hour, while this process ran.
    """

    ahead_seconds: float | None
    is_off: bool
    all_differ_alike: bool
    is_held: bool
    leapt_seconds: float = 0.0

    @property
    def is_far_off(self) -> bool:
        """Says whether this process must take no work. Where all differ alike, collecting goes on."""
        far = self.ahead_seconds is not None and abs(self.ahead_seconds) > FAR_SECONDS
        return far and not self.all_differ_alike

    @property
    def may_delete(self) -> bool:
        """Says whether this process may do what cannot be undone."""
        return not self.is_off and not self.is_held


def state() -> ClockState:
    ahead = ahead_seconds()
    is_off = ahead is not None and abs(ahead) > _tolerance_seconds
    is_held = _known.back_since == _known.back_since
    return ClockState(ahead, is_off, is_off and bool(_known.all_differ_alike), is_held, _leapt_seconds())


def _leapt_seconds() -> float:
    leapt_at = _known.leapt_at
    if leapt_at != leapt_at or steady_seconds() - leapt_at > LEAPT_SECONDS:
        return 0.0
    return float(_known.anchor - _known.anchor_before)


def ahead_seconds() -> float | None:
    """Returns how far this host's clock is ahead of the database's (behind: negative); None when never compared."""
    anchor = _known.anchor
    return None if anchor != anchor else time.time() - anchor - steady_seconds()


def steady_seconds() -> float:
    """Returns the seconds of a clock that nobody can set."""
    return time.clock_gettime(_STEADY)


def pause(seconds: float) -> None:
    """Waits so long by no clock that could be wrong: the system counts down, whatever the time is said to be."""
    select.select((), (), (), seconds)


def seconds_since_comparison() -> float:
    """Returns how long ago the two were compared; infinite when never."""
    measured_at = _known.measured_at
    return math.inf if measured_at != measured_at else steady_seconds() - measured_at


def note_database(unix_seconds: float, *, steady: float, tolerance_seconds: float) -> None:
    """Notes what the database's clock showed when the steady one showed `steady`.

    A database's clock that leaps ahead is followed at once: its host was asleep, or was set right. One that goes back
    is followed at once only to where it was before it leapt; else after HOLD_SECONDS, for as long as it may be wrong.
    """
    global _tolerance_seconds
    _tolerance_seconds = tolerance_seconds
    seen, anchor = unix_seconds - steady, _known.anchor
    leap = 0.0 if anchor != anchor else seen - anchor
    _known.measured_at = steady
    if leap < -tolerance_seconds and not _returns(seen, tolerance_seconds):
        if _known.back_since != _known.back_since:
            _known.back_since = steady
        if steady - _known.back_since < HOLD_SECONDS:
            return
    if leap > tolerance_seconds:
        _known.anchor_before, _known.leapt_at = anchor, steady
    elif leap < -tolerance_seconds:
        _known.anchor_before = _known.leapt_at = NEVER
    _known.anchor, _known.back_since = seen, NEVER


def _returns(seen: float, tolerance_seconds: float) -> bool:
    return bool(abs(seen - _known.anchor_before) <= tolerance_seconds)  # False for NaN


def note_others(differences: list[float]) -> None:
    """Notes how far the clocks of all other processes are ahead of the database's."""
    mine = ahead_seconds()
    alike = (
        mine is not None and bool(differences) and all(abs(each - mine) <= _tolerance_seconds for each in differences)
    )
    _known.all_differ_alike = float(alike)


# --- in words ---------------------------------------------------------------------------------------------------


def seconds_z(moment: datetime) -> str:
    """Returns `2026-03-03T10:30:47Z`: the whole second, cut and not rounded, so that no stamp lies in the future."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def milliseconds_z(moment: datetime) -> str:
    """Returns `2026-01-06T10:00:00.000Z`: the metrics webhook API's form."""
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def microseconds_z(moment: datetime) -> str:
    """Returns `2026-01-06T10:00:00.000000Z`: the form of our own APIs."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def moment(seconds: float) -> datetime:
    """Returns the moment of a Unix second, in UTC."""
    return datetime.fromtimestamp(seconds, UTC)
