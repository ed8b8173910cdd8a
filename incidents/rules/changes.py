"""Decides what becomes of incidents: which open, grow, join, fall quiet, come back, end. Pure; `ledger` carries it out.

Four rules hold: only telling is suppressed, never judging; only opening is suppressed, never healing; timers stand
still while suppressed; missing input is unknown and ends nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from incidents.rules.causes import FOUND_BY_EFFECT
from incidents.rules.facts import Found, Trouble
from incidents.rules.words import IncidentKind, is_graver

JOIN_WITHIN = timedelta(seconds=15)  # a cause that shows so long after what it explains still explains it
HEAL_AFTER = timedelta(seconds=30)  # signs that come back sooner are of the same trouble
FLAPPING_WITHIN = timedelta(minutes=30)
UNSTEADY_OPENINGS = 2  # within that time: then a recovery is told only after FLAPPING_HEALS
FLAPPING_OPENINGS = 3
FLAPPING_HEALS = timedelta(minutes=10)
REOPEN_WITHIN = FLAPPING_WITHIN
LEAVE_AFTER = timedelta(seconds=90)  # what was explained by a cause that is over may need so long to recover, too
# A budget goes on burning by its last minutes, looked at once a minute, when what explained it is long over.
LEAVE_AFTER_OF = {IncidentKind.BUDGET: timedelta(minutes=10)}
HELD_BACK = {IncidentKind.SYSTEM: timedelta(), IncidentKind.LINE: timedelta()}  # nothing deeper explains these soon
GROWS_BY = 1.25  # fewer more markets are no news


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """What the rules must know of an incident that has not ended. `parent_gone_since`: its cause shows no signs."""

    id: int
    key: str
    severity: str
    cause: str
    title: str
    detail: str
    exchanges: tuple[str, ...]
    affected: int
    opened_at: datetime
    quiet_since: datetime | None = None
    openings: tuple[datetime, ...] = ()
    parent_id: int | None = None
    parent_key: str = ""
    parent_gone_since: datetime | None = None
    by_person: bool = False
    pause_ends_at: datetime | None = None  # of an acknowledgement or a snooze
    counted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Opens:
    trouble: Trouble
    parent_key: str = ""


@dataclass(frozen=True, slots=True)
class Grows:
    """Its facts have changed. `is_graver`: worth telling again."""

    incident: OpenIncident
    trouble: Trouble
    is_graver: bool


@dataclass(frozen=True, slots=True)
class Joins:
    incident: OpenIncident
    parent_key: str


@dataclass(frozen=True, slots=True)
class Leaves:
    """Its cause is over, and it is not: it is told now as what it is."""

    incident: OpenIncident
    trouble: Trouble


@dataclass(frozen=True, slots=True)
class FallsQuiet:
    incident: OpenIncident


@dataclass(frozen=True, slots=True)
class ComesBack:
    """Its signs are there again before it had ended. `is_flapping`: from this time on it is told once an hour."""

    incident: OpenIncident
    openings: tuple[datetime, ...]
    is_flapping: bool


@dataclass(frozen=True, slots=True)
class Heals:
    incident: OpenIncident
    ended_at: datetime


IncidentChange = Opens | Grows | Joins | Leaves | FallsQuiet | ComesBack | Heals


def plan(incidents: Sequence[OpenIncident], found: Found, now: datetime) -> list[IncidentChange]:
    """Returns what has to change, causes before what they explain."""
    there = {each.key: each for each in incidents}
    troubles = {each.key: each for each in found.troubles}
    live = {key for key, each in there.items() if key in troubles or _may_still_explain(each, now)} | troubles.keys()
    changes: list[IncidentChange] = []
    for trouble in sorted(troubles.values(), key=_depth):
        held = there.get(trouble.key)
        if held is None:
            changes.append(Opens(trouble, _cause_of(trouble, live)))
        else:
            changes += _followed(held, trouble, there, live, now)
    for held in () if found.is_partial else incidents:
        if held.key not in troubles and held.key not in found.unknown and not held.by_person:
            changes += _absent(held, now)
    return changes


def _may_still_explain(held: OpenIncident, now: datetime) -> bool:
    """Says whether its signs are there, or went so lately that what they bring about may only show now."""
    return held.quiet_since is None or now - held.quiet_since < LEAVE_AFTER


def _depth(trouble: Trouble) -> tuple[int, int]:
    return list(IncidentKind).index(trouble.kind), len(trouble.explained_by)


def _cause_of(trouble: Trouble, live: Iterable[str]) -> str:
    """Returns the key of the deepest cause that is there; empty when nothing explains it."""
    known = set(live)
    return next((key for key in trouble.explained_by if key in known and key != trouble.key), "")


def _followed(
    held: OpenIncident, trouble: Trouble, there: Mapping[str, OpenIncident], live: Iterable[str], now: datetime
) -> Iterator[IncidentChange]:
    """Yields the changes of an incident whose signs are there."""
    if held.quiet_since is not None:
        openings = recent_openings((*held.openings, now), now)
        yield ComesBack(held, openings, is_flapping=len(openings) == FLAPPING_OPENINGS)
    cause = _cause_of(trouble, live)
    if cause and (_is_left_by_its_cause(held, trouble, there.get(cause)) or _may_join(held, there.get(cause), now)):
        yield Joins(held, cause)
    elif _must_leave(held, trouble, now):
        yield Leaves(held, trouble)
    graver = is_graver(trouble.severity, held.severity)
    if graver or _has_grown(held, trouble):
        yield Grows(held, trouble, graver)


def _may_join(held: OpenIncident, cause: OpenIncident | None, now: datetime) -> bool:
    """Says whether it joins a cause: one that opens within JOIN_WITHIN after it, or was open before it."""
    if held.parent_id is not None and (held.parent_gone_since is None or cause is None or cause.key == held.parent_key):
        return False
    if cause is not None and cause.parent_id == held.id:
        return False  # of two that may explain each other, the one that showed first is the root
    cause_opened_at = cause.opened_at if cause is not None else now
    return cause_opened_at - held.opened_at <= JOIN_WITHIN


def _is_left_by_its_cause(held: OpenIncident, trouble: Trouble, cause: OpenIncident | None) -> bool:
    """Says whether another cause explains it by now: nobody was told of it, so it just changes its place."""
    is_left = held.parent_id is not None and held.parent_key not in trouble.explained_by
    return is_left and (cause is None or cause.parent_id != held.id)


def _must_leave(held: OpenIncident, trouble: Trouble, now: datetime) -> bool:
    """Says whether its cause explains it no longer: it is of another kind by now, or has outlived its cause."""
    if held.parent_id is None:
        return False
    if held.parent_key not in trouble.explained_by:
        return True
    return held.parent_gone_since is not None and now - held.parent_gone_since >= LEAVE_AFTER_OF.get(
        trouble.kind, LEAVE_AFTER
    )


def _has_grown(held: OpenIncident, trouble: Trouble) -> bool:
    more = trouble.affected > max(held.affected, 1) * GROWS_BY and trouble.affected > held.affected
    others = not set(trouble.exchanges) <= set(held.exchanges)
    return more or others or trouble.cause != held.cause


def _absent(held: OpenIncident, now: datetime) -> Iterator[IncidentChange]:
    """Yields the changes of an incident whose signs are gone: it ends at the moment when they went."""
    if held.quiet_since is None:
        yield FallsQuiet(held)
    elif now - held.quiet_since >= heal_after(held.openings, now):
        yield Heals(held, held.quiet_since)


def recent_openings(openings: Sequence[datetime], now: datetime) -> tuple[datetime, ...]:
    return tuple(moment for moment in openings if now - moment <= FLAPPING_WITHIN)


def heal_after(openings: Sequence[datetime], now: datetime) -> timedelta:
    """Returns how long the signs must be gone: longer for what has come back before."""
    return FLAPPING_HEALS if len(recent_openings(openings, now)) >= UNSTEADY_OPENINGS else HEAL_AFTER


def held_back(trouble: Trouble) -> timedelta:
    """Returns how long it is not told, because a deeper cause may still show."""
    if trouble.cause in FOUND_BY_EFFECT:
        return JOIN_WITHIN
    return timedelta() if trouble.is_alone else HELD_BACK.get(trouble.kind, JOIN_WITHIN)
