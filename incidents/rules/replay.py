"""Replays incidents over past signs: what a route would have told with another limit. Pure.

The same rules find and follow them as in the present, once for each minute in which anything could change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from incidents.rules import changes, routing
from incidents.rules.changes import (
    ComesBack,
    FallsQuiet,
    Grows,
    Heals,
    IncidentChange,
    Joins,
    Leaves,
    OpenIncident,
    Opens,
)
from incidents.rules.facts import FindableSigns, Found, Trouble
from incidents.rules.findings import find
from incidents.rules.routing import RouteRule, Subject

MINUTE = timedelta(minutes=1)
UNREST = changes.FLAPPING_HEALS + 2 * MINUTE  # for so long after a change, rules may act without another one


@dataclass(frozen=True, slots=True)
class PastMoment:
    """A minute from which on the signs were these; None: nobody looked."""

    at: datetime
    signs: FindableSigns | None


@dataclass(slots=True)
class Telling:
    """What may have been told: an incident's beginning, or that it grew graver. Not sent before `start`, and not at all
    from `until` on."""

    incident: int
    subject: Subject
    since: datetime
    start: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class RouteOutcome:
    """What a route tells with one limit: how long after its first signs (seconds), by incident."""

    limit_seconds: int
    found_after: Mapping[int, float]

    @property
    def alerts(self) -> int:
        return len(self.found_after)


@dataclass(slots=True)
class _Past:
    """The incidents of the replay, as they stand at one moment."""

    held: dict[str, OpenIncident] = field(default_factory=dict)
    ended: dict[str, tuple[datetime, tuple[datetime, ...]]] = field(default_factory=dict)
    gone: dict[int, datetime] = field(default_factory=dict)  # since when a parent shows no signs
    open_tellings: dict[str, list[Telling]] = field(default_factory=dict)
    tellings: list[Telling] = field(default_factory=list)
    numbers: int = 0


def replay(moments: Iterable[PastMoment], until: datetime) -> list[Telling]:
    """Returns all that may have been told, in the order of its beginnings."""
    past = _Past()
    for at, signs in _steps(moments, until, past):
        found = Found(is_partial=True) if signs is None else find(signs, at)
        for change in changes.plan(_with_parents(past), found, at):
            _carry_out(past, change, at)
    return past.tellings


def _steps(
    moments: Iterable[PastMoment], until: datetime, past: _Past
) -> Iterator[tuple[datetime, FindableSigns | None]]:
    """Yields each change of the signs, and the minutes after it in which the rules may still act."""
    here: PastMoment | None = None
    for moment in (*moments, PastMoment(until, None)):
        if here is not None:
            at, restless_until = here.at, here.at + UNREST
            while at < min(moment.at, restless_until):
                before = len(past.tellings)
                yield at, here.signs
                if len(past.tellings) != before:
                    restless_until = at + UNREST
                at += MINUTE
        here = moment


def _with_parents(past: _Past) -> list[OpenIncident]:
    return [
        replace(each, parent_gone_since=past.gone.get(each.parent_id)) if each.parent_id is not None else each
        for each in past.held.values()
    ]


def _carry_out(past: _Past, change: IncidentChange, now: datetime) -> None:
    if isinstance(change, Opens):
        _open(past, change, now)
        return
    key = change.incident.key
    held = past.held[key]
    match change:
        case Grows():
            past.held[key] = _grown(held, change.trouble)
            if change.is_graver and held.parent_id is None:
                _tell(past, key, change.trouble, now, now)
        case Joins():
            parent = past.held.get(change.parent_key)
            if parent is not None and parent.key != key and parent.parent_id != held.id:
                past.held[key] = replace(held, parent_id=parent.id, parent_key=parent.key)
                _silence(past, key, now)
        case Leaves():
            past.held[key] = replace(held, parent_id=None, parent_key="")
            _tell(past, key, change.trouble, now, now)
        case FallsQuiet():
            past.held[key] = replace(held, quiet_since=now)
            past.gone[held.id] = now
        case ComesBack():
            past.held[key] = replace(held, quiet_since=None, openings=change.openings, opened_at=change.openings[-1])
            past.gone.pop(held.id, None)
        case Heals():
            past.gone[held.id] = change.ended_at
            past.ended[key] = (change.ended_at, held.openings)
            _silence(past, key, change.ended_at + changes.heal_after(held.openings, now))
            del past.held[key]


def _open(past: _Past, change: Opens, now: datetime) -> None:
    trouble, parent = change.trouble, past.held.get(change.parent_key)
    ended_at, before = past.ended.get(trouble.key, (None, ()))
    is_again = ended_at is not None and now - ended_at < changes.REOPEN_WITHIN
    openings = changes.recent_openings((*(before if is_again else ()), now), now)
    past.numbers += 1
    past.held[trouble.key] = OpenIncident(
        past.numbers, trouble.key, trouble.severity, trouble.cause, trouble.title, trouble.detail, trouble.exchanges,
        trouble.affected, now, openings=openings, parent_id=parent.id if parent else None,
        parent_key=parent.key if parent else "",
    )  # fmt: skip
    if parent is None:
        _tell(past, trouble.key, trouble, now, now + changes.held_back(trouble))


def _grown(held: OpenIncident, trouble: Trouble) -> OpenIncident:
    exchanges = (*held.exchanges, *(name for name in trouble.exchanges if name not in held.exchanges))
    affected = max(held.affected, trouble.affected)
    return replace(held, severity=trouble.severity, cause=trouble.cause, exchanges=exchanges, affected=affected)


def _tell(past: _Past, key: str, trouble: Trouble, now: datetime, start: datetime) -> None:
    subject = Subject(key, trouble.kind, trouble.severity, trouble.exchanges)
    telling = Telling(past.held[key].id, subject, min(trouble.since, now), start)
    past.tellings.append(telling)
    past.open_tellings.setdefault(key, []).append(telling)


def _silence(past: _Past, key: str, until: datetime) -> None:
    for telling in past.open_tellings.pop(key, ()):
        telling.until = until


# --- what a route makes of it -------------------------------------------------------------------------------------


def outcomes(tellings: Sequence[Telling], route: RouteRule, limits: Sequence[int]) -> list[RouteOutcome]:
    """Returns what a route would have told, for each limit (the least that something must last, in seconds)."""
    return [_outcome(tellings, replace(route, shortest_seconds=limit), limit) for limit in limits]


def _outcome(tellings: Sequence[Telling], route: RouteRule, limit: int) -> RouteOutcome:
    first: dict[int, float] = {}
    for telling in tellings:
        due = [message.due_at for message in routing.messages([route], telling.subject, start=telling.start)]
        if not due or telling.incident in first or (telling.until is not None and min(due) >= telling.until):
            continue
        first[telling.incident] = (min(due) - telling.since).total_seconds()
    return RouteOutcome(limit, first)
