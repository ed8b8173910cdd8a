"""What the board says of each source, and of all of them: pure rules over stored facts, for one moment.

Without data nothing is well: what has brought no row yet is unknown, and a board without sources says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

LATE_INTERVALS = 3
LATE_FLOOR_SECONDS = 10.0  # a stream writes every second, and may pause
LEAST_FRESH_SHARE = 0.9
OLD = timedelta(hours=18)  # an hour alone would be taken for today's
NAMED_SOURCES = 3  # more names than that nobody reads in one sentence


class State(StrEnum):
    """From worst to best, but for `off`, which operators chose."""

    DOWN = "down"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"
    DELIVERS = "delivers"
    OFF = "off"


WORDS = {
    "throttled": "rate-limited",
    "held_back": "held back by us to stay within its limit",
    "unreachable": "unreachable",
    "bad_reply": "answering no usable data",
    "denied": "denying us access",
    "failed": "failing by an error of ours",
    "unsupported": "lacking what we ask for",
}


@dataclass(frozen=True, slots=True)
class Signs:
    """What is stored of one source. `failing_since` is the first failed cycle after the last good one."""

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


@dataclass(frozen=True, slots=True)
class Condition:
    """How a source is: a state, why in a few words, since when, and what the exchange said.

    `is_old`: long enough ago that the day must be said as well.
    """

    exchange: str
    state: State
    why: str = ""
    since: datetime | None = None
    detail: str = ""
    is_old: bool = False


def condition(signs: Signs, now: datetime) -> Condition:
    """The worst that is true of it."""
    for rule in (_off, _failing, _told_to_wait, _waiting_to_start, _dead, _late, _partly_silent):
        found = rule(signs, now)
        if found is not None:
            return replace(found, is_old=found.since is not None and now - found.since > OLD)
    return Condition(signs.exchange, State.DELIVERS)


def _off(signs: Signs, now: datetime) -> Condition | None:
    if signs.is_wanted:
        return None
    return Condition(signs.exchange, State.OFF, signs.off_because, signs.status_since)


def _failing(signs: Signs, now: datetime) -> Condition | None:
    if not signs.error_count:
        return None
    state = State.DOWN if signs.status == "error" else State.DEGRADED
    why = WORDS.get(signs.outcome, "failing")
    return Condition(signs.exchange, state, why, signs.failing_since or signs.status_since, signs.last_error)


def _told_to_wait(signs: Signs, now: datetime) -> Condition | None:
    """By an answer to something else than a poll, such as a backfill."""
    if signs.outcome != "throttled" or signs.retry_at is None or signs.retry_at <= now:
        return None
    return Condition(signs.exchange, State.DEGRADED, WORDS["throttled"], signs.stored_at, signs.last_error)


def _waiting_to_start(signs: Signs, now: datetime) -> Condition | None:
    if signs.status == "error":
        return None
    if signs.stored_at is None:
        return Condition(signs.exchange, State.UNKNOWN, "without a first row", signs.resumed_at)
    if signs.status == "stopped" or (signs.resumed_at is not None and signs.stored_at < signs.resumed_at):
        return Condition(signs.exchange, State.UNKNOWN, "waiting to start", signs.resumed_at)
    return None


def _dead(signs: Signs, now: datetime) -> Condition | None:
    if signs.status != "error":
        return None
    return Condition(signs.exchange, State.DOWN, "silent", signs.stored_at or signs.resumed_at, signs.reason)


def _late(signs: Signs, now: datetime) -> Condition | None:
    limit = timedelta(seconds=max(LATE_INTERVALS * signs.interval_seconds, LATE_FLOOR_SECONDS))
    if signs.stored_at is None or now - signs.stored_at <= limit:
        return None
    return Condition(signs.exchange, State.DEGRADED, "silent", signs.stored_at, "no row has been stored since")


def _partly_silent(signs: Signs, now: datetime) -> Condition | None:
    if signs.fresh >= LEAST_FRESH_SHARE * signs.markets:
        return None
    why = f"missing {signs.markets - signs.fresh} of {signs.markets} markets"
    return Condition(signs.exchange, State.DEGRADED, why, signs.silent_since)


# --- all of them ------------------------------------------------------------------------------------------------


class Tone(StrEnum):
    WELL = "success"
    WARNING = "warning"
    DANGER = "danger"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What of a bad source's pairs still comes from others."""

    pairs: int = 0
    sources: int = 0


@dataclass(frozen=True, slots=True)
class Clause:
    """`kraken rate-limited since 14:02, 156 pairs still fresh from 3 others`."""

    exchange: str
    why: str
    since: datetime | None
    elsewhere: Elsewhere | None = None
    is_old: bool = False

    @property
    def consolation(self) -> str:
        if self.elsewhere is None:
            return ""
        if not self.elsewhere.pairs:
            return "none of its pairs fresh from others"
        pairs = _count(self.elsewhere.pairs, "pair")
        return f"{pairs} still fresh from {_count(self.elsewhere.sources, 'other')}"

    def text(self) -> str:
        form = "%Y-%m-%d %H:%M" if self.is_old else "%H:%M"
        since = f" since {self.since.astimezone(UTC):{form}} UTC" if self.since else ""
        said = f"{self.exchange} {self.why}{since}"
        return f"{said}, {self.consolation}" if self.consolation else said


@dataclass(frozen=True, slots=True)
class Verdict:
    """The sentence at the top: a claim, the worst sources, how many more, and who was stopped on purpose."""

    tone: Tone
    claim: str
    clauses: tuple[Clause, ...] = ()
    more: int = 0
    on_purpose: int = 0

    def text(self) -> str:
        said = "; ".join(clause.text() for clause in self.clauses)
        more = f"; and {self.more} more" if self.more else ""
        return f"{self.claim}: {said}{more}" if said else self.claim


NOT_READ: dict[str, Elsewhere] = {}


def named(conditions: Sequence[Condition]) -> tuple[Condition, ...]:
    """Those that the sentence will name: worst first, then those that have been bad for longest."""
    bad = [each for each in conditions if each.state in (State.DOWN, State.DEGRADED, State.UNKNOWN)]
    return tuple(sorted(bad, key=_urgency)[:NAMED_SOURCES])


def _urgency(condition: Condition) -> tuple[int, float, str]:
    since = condition.since.timestamp() if condition.since else float("inf")
    return list(State).index(condition.state), since, condition.exchange


def judge(conditions: Sequence[Condition], *, absence: str = "", elsewhere: dict[str, Elsewhere] = NOT_READ) -> Verdict:
    """The verdict on all sources. `absence` says why nothing can be collected at all."""
    wanted = [each for each in conditions if each.state != State.OFF]
    on_purpose = len(conditions) - len(wanted)
    if absence:
        return Verdict(Tone.DANGER, f"Nothing is collected: {absence}", on_purpose=on_purpose)
    if not conditions:
        return Verdict(Tone.UNKNOWN, "Nothing is collected: no exchange has been added yet")
    if not wanted:
        return Verdict(Tone.DANGER, "Nothing is collected: every source was stopped on purpose", on_purpose=on_purpose)
    counts = Counter(each.state for each in wanted)
    clauses = tuple(
        Clause(each.exchange, each.why, each.since, elsewhere.get(each.exchange), each.is_old) for each in named(wanted)
    )
    more = len(wanted) - counts[State.DELIVERS] - len(clauses)
    tone, claim = _claim(counts, len(wanted))
    return Verdict(tone, claim, clauses, more, on_purpose)


def _claim(counts: Counter[State], total: int) -> tuple[Tone, str]:
    down, degraded, unknown = counts[State.DOWN], counts[State.DEGRADED], counts[State.UNKNOWN]
    if counts[State.DELIVERS] == total:
        return Tone.WELL, f"All {total} sources deliver" if total > 1 else "The only source delivers"
    if unknown == total:
        return Tone.UNKNOWN, "Unknown: no source has brought a row yet"
    if down == total:
        return Tone.DANGER, f"Nothing is collected: {_all_of(total)} down"
    if not down and not degraded:
        return Tone.UNKNOWN, f"{unknown} of {total} sources not heard of yet"
    parts = [f"{down} of {total} sources down"] if down else []
    if degraded:
        parts.append(f"{degraded} degraded" if down else f"{degraded} of {total} sources degraded")
    if unknown:
        parts.append(f"{unknown} not heard of yet")
    return (Tone.DANGER if down else Tone.WARNING), ", ".join(parts)


def _all_of(total: int) -> str:
    return f"all {total} sources are" if total > 1 else "the only source is"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
