"""The verdict on all sources and the machine: the sentence at the top of the board. Pure, for one moment.

A board without sources says so: without data nothing counts as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from incidents.rules.conditions import SILENT, Condition, SourceState, counted

NAMED_SOURCES = 3  # nobody reads more names than that in one sentence


class Tone(StrEnum):
    WELL = "success"
    WARNING = "warning"
    DANGER = "danger"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The part of a bad source's pairs that still comes from others."""

    pairs: int = 0
    sources: int = 0


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause of the sentence: `kraken rate-limited since 14:02, 156 pairs still fresh from 3 others`."""

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
        pairs = counted(self.elsewhere.pairs, "pair")
        return f"{pairs} still fresh from {counted(self.elsewhere.sources, 'other')}"

    def text(self) -> str:
        form = "%Y-%m-%d %H:%M" if self.is_old else "%H:%M"
        since = f" since {self.since.astimezone(UTC):{form}} UTC" if self.since else ""
        said = f"{self.exchange} {self.why}{since}"
        return f"{said}, {self.consolation}" if self.consolation else said


@dataclass(frozen=True, slots=True)
class Alarm:
    """A fault of the machine itself, what follows from it, and what to do: no source shows it.

    `cause` is one word for it, by which its incident is known; not `is_told`: it stands on the board, and is none yet.
    """

    what: str
    do: str
    since: datetime | None = None
    tone: Tone = Tone.DANGER
    is_old: bool = False
    cause: str = ""
    is_told: bool = True


@dataclass(frozen=True, slots=True)
class OverallState:
    """The sentence at the top: a claim, the worst sources, how many more, and who was stopped on purpose."""

    tone: Tone
    claim: str
    clauses: tuple[Clause, ...] = ()
    more: int = 0
    on_purpose: int = 0
    alarms: tuple[Alarm, ...] = ()
    hint: str = ""

    def text(self) -> str:
        said = "; ".join(clause.text() for clause in self.clauses)
        more = f"; and {self.more} more" if self.more else ""
        return f"{self.claim}: {said}{more}" if said else self.claim


NOT_READ: dict[str, Elsewhere] = {}
BY_URGENCY = (Tone.WELL, Tone.UNKNOWN, Tone.WARNING, Tone.DANGER)
LEAST_TO_COMPARE = 3
COMMON_CAUSES = {
    "unreachable": "All are unreachable at once: the cause is probably our own network, proxy or DNS.",
    "not_connected": "All lead into a private network: the cause is probably our own proxy or DNS.",
    "denied": "All deny access at once: the cause is probably our own proxy, certificates or clock.",
    "failed": "All fail by an internal error: read the worker's log.",
    SILENT: "All are silent at once: check that a worker, the scheduler and Valkey run.",
}


def named(conditions: Sequence[Condition]) -> tuple[Condition, ...]:
    """Returns those that the sentence will name: worst first, then those that have been bad for longest."""
    bad = [each for each in conditions if each.state in (SourceState.DOWN, SourceState.DEGRADED, SourceState.UNKNOWN)]
    return tuple(sorted(bad, key=_urgency)[:NAMED_SOURCES])


def _urgency(condition: Condition) -> tuple[int, float, str]:
    since = condition.since.timestamp() if condition.since else float("inf")
    return list(SourceState).index(condition.state), since, condition.exchange


def judge(
    conditions: Sequence[Condition],
    *,
    absence: str = "",
    elsewhere: dict[str, Elsewhere] = NOT_READ,
    alarms: Sequence[Alarm] = (),
) -> OverallState:
    """Returns the verdict on all sources and the machine. `absence` says why nothing can be collected at all."""
    return _alarmed(_of_sources(conditions, absence, elsewhere), alarms)


def _of_sources(conditions: Sequence[Condition], absence: str, elsewhere: dict[str, Elsewhere]) -> OverallState:
    wanted = [each for each in conditions if each.state != SourceState.OFF]
    on_purpose = len(conditions) - len(wanted)
    if absence:
        return OverallState(Tone.DANGER, f"Nothing is collected: {absence}", on_purpose=on_purpose)
    if not conditions:
        return OverallState(Tone.UNKNOWN, "Nothing is collected: no exchange has been added yet")
    if not wanted:
        return OverallState(
            Tone.DANGER, "Nothing is collected: every source was stopped on purpose", on_purpose=on_purpose
        )
    counts = Counter(each.state for each in wanted)
    clauses = tuple(
        Clause(each.exchange, each.why, each.since, elsewhere.get(each.exchange), each.is_old) for each in named(wanted)
    )
    more = len(wanted) - counts[SourceState.DELIVERS] - len(clauses)
    tone, claim = _claim(counts, len(wanted))
    return OverallState(tone, claim, clauses, more, on_purpose, hint=_common_cause(wanted))


def _common_cause(wanted: Sequence[Condition]) -> str:
    """Returns what all exchanges share when all fail in the same way: they do not fail together by themselves."""
    causes = {each.cause for each in wanted}
    is_all = all(each.state in (SourceState.DOWN, SourceState.DEGRADED) for each in wanted)
    if len(wanted) < LEAST_TO_COMPARE or not is_all or len(causes) > 1:
        return ""
    return COMMON_CAUSES.get(causes.pop(), "All fail in the same way: look for a shared cause first.")


def _alarmed(verdict: OverallState, alarms: Sequence[Alarm]) -> OverallState:
    """Adds alarms: a board may not be green while nobody would notice that it should not be."""
    if not alarms:
        return verdict
    tone = max((verdict.tone, *(alarm.tone for alarm in alarms)), key=BY_URGENCY.index)
    join = "but" if verdict.tone == Tone.WELL else "and"
    worst_first = tuple(sorted(alarms, key=lambda alarm: -BY_URGENCY.index(alarm.tone)))
    return replace(verdict, tone=tone, claim=f"{verdict.claim}, {join} marketmon itself needs help", alarms=worst_first)


def _claim(counts: Counter[SourceState], total: int) -> tuple[Tone, str]:
    down, degraded, unknown = counts[SourceState.DOWN], counts[SourceState.DEGRADED], counts[SourceState.UNKNOWN]
    if counts[SourceState.DELIVERS] == total:
        return Tone.WELL, f"All {total} sources deliver" if total > 1 else "The only source delivers"
    if unknown == total:
        return Tone.UNKNOWN, "Unknown: no source has stored a row yet"
    if down == total:
        return Tone.DANGER, f"Nothing is collected: {_all_of(total)} down"
    if not down and not degraded:
        return Tone.UNKNOWN, f"{unknown} of {total} sources without data yet"
    parts = [f"{down} of {total} sources down"] if down else []
    if degraded:
        parts.append(f"{degraded} degraded" if down else f"{degraded} of {total} sources degraded")
    if unknown:
        parts.append(f"{unknown} without data yet")
    return (Tone.DANGER if down else Tone.WARNING), ", ".join(parts)


def _all_of(total: int) -> str:
    return f"all {total} sources are" if total > 1 else "the only source is"
