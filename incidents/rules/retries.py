"""Decides what becomes of a message after one try. Pure.

A receiver that is down is asked at least every 45 s for a day. A try whose answer was lost is repeated after a minute,
marked, and then ever more seldom: it may have arrived each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 45.0  # a receiver is told within a minute after it is back
LOST_ANSWER_PAUSES = (60.0, 300.0, 900.0, 1800.0)
KEPT_FOR = timedelta(days=1)
REFUSALS = 5  # of one that says that it will never take it: somebody may be mending the channel


@dataclass(frozen=True, slots=True)
class TriedMessage:
    """What one try came to."""

    is_good: bool
    is_unconfirmed: bool = False
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of the message: a state, and when it is tried again."""

    state: str
    next_try_at: datetime | None = None
    is_repeat: bool = False


def after(
    tried: TriedMessage, *, attempts: int, due_at: datetime, is_repeat: bool, now: datetime, jitter: float
) -> Fate:
    """Returns what becomes of a message whose try number `attempts` is over; `jitter` is from 0 to 1."""
    if tried.is_good:
        return Fate("sent", is_repeat=is_repeat)
    if tried.is_unconfirmed:
        if attempts > len(LOST_ANSWER_PAUSES):
            return Fate("unconfirmed", is_repeat=True)
        return Fate("queued", now + timedelta(seconds=LOST_ANSWER_PAUSES[attempts - 1]), is_repeat=True)
    if (tried.is_final and attempts >= REFUSALS) or now - due_at > KEPT_FOR:
        return Fate("failed", is_repeat=is_repeat)
    pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(attempts - 1, 10))
    return Fate("queued", now + timedelta(seconds=pause * (0.8 + 0.2 * jitter)), is_repeat=is_repeat)
