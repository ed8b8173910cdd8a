"""The condition of each source: pure rules over stored facts, for one moment. `verdict` judges all of them.

Without data nothing counts as well: a source without a row is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from lib.clock import FUTURE_SECONDS

LATE_INTERVALS = 3
LATE_FLOOR_SECONDS = 10.0  # a stream writes every second, and may pause
LEAST_FRESH_SHARE = 0.9
FUTURE = timedelta(seconds=FUTURE_SECONDS)
OLD = timedelta(hours=18)  # an hour alone would be taken for today's


class SourceState(StrEnum):
    """The states from worst to best, except `off`, which operators chose."""

    DOWN = "down"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"
    DELIVERS = "delivers"
    OFF = "off"


class Look(StrEnum):
    """The page of an exchange that an advice leads to."""

    SETTINGS = "settings"
    RUNS = "runs"
    GAPS = "gaps"


WORDS = {
    "throttled": "rate-limited",
    "held_back": "waiting for our own rate limit",
    "unreachable": "unreachable",
    "bad_reply": "returning no usable data",
    "denied": "denying access",
    "not_connected": "not connected (private address)",
    "failed": "failing by an internal error",
    "unsupported": "not supporting what is requested",
}

SILENT, MISSING, OLD_DATA, FROZEN = "silent", "missing", "old", "frozen"  # the causes that are no run's outcome

# What can be done, for somebody who was woken by it; `board/links` leads to the page that is meant.
ADVICE = {
    "throttled": ("The exchange asked us to wait. If this happens often, raise the interval.", Look.SETTINGS),
    "held_back": ("Polls at this interval exceed the exchange's rate limit: raise the interval.", Look.SETTINGS),
    "unreachable": (
        "Nothing to do while only this exchange fails: it is retried automatically, with growing pauses.",
        Look.RUNS,
    ),
    "bad_reply": ("Its answer is kept with the run. It is retried automatically.", Look.RUNS),
    "not_connected": (
        "We refuse to connect to a private network. Correct its address, its proxy or DNS, then restart it.",
        Look.SETTINGS,
    ),
    "denied": ("Repair its key, proxy or certificate, then restart it.", Look.SETTINGS),
    "failed": ("An internal error: read the worker's log, then restart it.", Look.RUNS),
    "unsupported": ("Remove what it does not offer from its settings.", Look.SETTINGS),
}
OF_DEAD = ("No worker takes its polls: check that a worker and the scheduler run, then restart it.", Look.RUNS)
OF_LATE = ("Check whether its runs store no row, or do not happen at all.", Look.RUNS)
OF_PART = ("It is asked for by every poll. The exchange's page says which markets that costs.", Look.RUNS)
OF_OLD = (
    "Its prices are in no rate until they are new: ask the exchange, or poll it through another address.",
    Look.RUNS,
)
OF_FROZEN = ("Their prices are in no rate until they move: compare them with the exchange's own pages.", Look.RUNS)
OF_MISSING = ("See which markets are silent, and since when.", Look.GAPS)


class PartSigns(NamedTuple):
    """The stored facts of a part that polls go without though they bring the rest. One that `is_left_out` cannot be
    asked for at all, which is no trouble of the source."""

    part: str
    outcome: str
    reason: str
    markets: int
    since: datetime
    is_left_out: bool


@dataclass(frozen=True, slots=True)
class Signs:
    """The stored facts of one source. `failing_since` is the first failed run after the last good one."""

    exchange: str
    status: str
    reason: str
    status_since: datetime
    interval_seconds: float
    is_wanted: bool = True
    off_because: str = ""
    outcome: str = ""
    error_count: int = 0
    last_error: str = ""
    retry_at: datetime | None = None
    stored_at: datetime | None = None
    resumed_at: datetime | None = None
    failing_since: datetime | None = None
    markets: int = 0
    fresh: int = 0
    silent_since: datetime | None = None
    missing_parts: tuple[PartSigns, ...] = ()
    old_because: str = ""
    old_since: datetime | None = None
    frozen: int = 0


@dataclass(frozen=True, slots=True)
class Condition:
    """The condition of a source: a state, why in a few words, since when, and what the exchange said.

    `cause` is one word for the reason: an outcome, `silent` or `missing`; empty while nothing is wrong.
    `is_old`: long enough ago that the day must be said as well. `advice`: what can be done, and `look` where.
    """

    exchange: str
    state: SourceState
    why: str = ""
    since: datetime | None = None
    detail: str = ""
    cause: str = ""
    is_old: bool = False
    advice: str = ""
    look: str = ""


def condition(signs: Signs, now: datetime) -> Condition:
    """Returns the worst that is true of the source."""
    for rule in (
        _off,
        _failing,
        _told_to_wait,
        _waiting_to_start,
        _dead,
        _late,
        _old,
        _frozen,
        _without_a_part,
        _partly_silent,
    ):
        found = rule(signs, now)
        if found is not None:
            return replace(found, is_old=found.since is not None and now - found.since > OLD)
    return Condition(signs.exchange, SourceState.DELIVERS)


def _off(signs: Signs, now: datetime) -> Condition | None:
    if signs.is_wanted:
        return None
    return Condition(signs.exchange, SourceState.OFF, signs.off_because, signs.status_since)


def _failing(signs: Signs, now: datetime) -> Condition | None:
    if not signs.error_count:
        return None
    state = SourceState.DOWN if signs.status == "error" else SourceState.DEGRADED
    since = signs.failing_since or signs.status_since
    why = WORDS.get(signs.outcome, "failing")
    found = Condition(signs.exchange, state, why, since, signs.last_error, signs.outcome)
    return _advised(found, ADVICE.get(signs.outcome))


def _advised(found: Condition, advice: tuple[str, Look] | None) -> Condition:
    words, look = advice or ("", "")
    return replace(found, advice=words, look=look)


def _told_to_wait(signs: Signs, now: datetime) -> Condition | None:
    """Returns the condition after an answer to something else than a poll, such as a backfill, told us to wait."""
    if signs.outcome != "throttled" or signs.retry_at is None or signs.retry_at <= now:
        return None
    why = WORDS["throttled"]
    found = Condition(signs.exchange, SourceState.DEGRADED, why, signs.stored_at, signs.last_error, "throttled")
    return _advised(found, ADVICE["throttled"])


def _waiting_to_start(signs: Signs, now: datetime) -> Condition | None:
    if signs.status == "error":
        return None
    if signs.stored_at is None:
        return Condition(signs.exchange, SourceState.UNKNOWN, "waiting for its first row", signs.resumed_at)
    if signs.status == "stopped" or (signs.resumed_at is not None and signs.stored_at < signs.resumed_at):
        return Condition(signs.exchange, SourceState.UNKNOWN, "waiting to start", signs.resumed_at)
    return None


def _dead(signs: Signs, now: datetime) -> Condition | None:
    if signs.status != "error":
        return None
    since = signs.stored_at or signs.resumed_at
    return _advised(Condition(signs.exchange, SourceState.DOWN, SILENT, since, signs.reason, SILENT), OF_DEAD)


def _late(signs: Signs, now: datetime) -> Condition | None:
    limit = timedelta(seconds=max(LATE_INTERVALS * signs.interval_seconds, LATE_FLOOR_SECONDS))
    if signs.stored_at is None or -FUTURE <= now - signs.stored_at <= limit:
        return None
    said = "no row has been stored since"
    found = Condition(signs.exchange, SourceState.DEGRADED, SILENT, signs.stored_at, said, SILENT)
    return _advised(found, OF_LATE)


def _old(signs: Signs, now: datetime) -> Condition | None:
    if not signs.old_because:
        return None
    found = Condition(
        signs.exchange, SourceState.DEGRADED, "answering old data", signs.old_since, signs.old_because, OLD_DATA
    )
    return _advised(found, OF_OLD)


def _frozen(signs: Signs, now: datetime) -> Condition | None:
    """Returns the condition of a source of which more than a tenth of the values stand still."""
    if signs.frozen <= (1 - LEAST_FRESH_SHARE) * signs.markets:
        return None
    why = f"frozen in {signs.frozen} of {signs.markets} markets"
    said = "rows come in time, and their values do not change while other exchanges' do"
    found = Condition(signs.exchange, SourceState.DEGRADED, why, None, said, FROZEN)
    return _advised(found, OF_FROZEN)


def _without_a_part(signs: Signs, now: datetime) -> Condition | None:
    parts = [part for part in signs.missing_parts if not part.is_left_out]
    if not parts:
        return None
    first = min(parts, key=lambda part: part.since)
    why = f"without {', '.join(part.part for part in parts)} ({counted(sum(part.markets for part in parts), 'market')})"
    detail = f"{WORDS.get(first.outcome, 'failing')}: {first.reason}"
    found = Condition(signs.exchange, SourceState.DEGRADED, why, first.since, detail, MISSING)
    return _advised(found, OF_PART)


def left_out(parts: Sequence[PartSigns]) -> str:
    """Says which kinds of market cannot be asked for; empty where all can."""
    named = [f"{part.part} ({counted(part.markets, 'market')})" for part in parts if part.is_left_out]
    return f"left out, as it cannot be asked for: {', '.join(named)}" if named else ""


def _partly_silent(signs: Signs, now: datetime) -> Condition | None:
    if signs.fresh >= LEAST_FRESH_SHARE * signs.markets:
        return None
    why = f"missing {signs.markets - signs.fresh} of {signs.markets} markets"
    found = Condition(signs.exchange, SourceState.DEGRADED, why, signs.silent_since, cause=MISSING)
    return _advised(found, OF_MISSING)


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
