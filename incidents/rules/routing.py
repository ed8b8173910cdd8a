"""Decides who is told of an incident, and when: pure rules over routes, quiet hours and planned work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from incidents.rules.words import IncidentKind, Level

EVERYWHERE = (IncidentKind.SYSTEM, IncidentKind.LINE)  # they concern every exchange
TOLD_UNASKED = (Level.WARNING, Level.CRITICAL)  # a route that names no severity is not told of the least


@dataclass(frozen=True, slots=True)
class RouteRule:
    """A route as the rules see it; empty tuples match everything."""

    id: int
    exchanges: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    steps: Sequence[Mapping[str, Any]] = ()
    quiet_hours: Mapping[str, str] | None = None
    shortest_seconds: int = 0
    tells_recovery: bool = True


@dataclass(frozen=True, slots=True)
class Subject:
    """What an incident is about."""

    key: str
    kind: str
    severity: str
    exchanges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedMessage:
    """One message that a route asks for: to which channel, in which step, from when on."""

    route: int
    step: int
    channel: str
    due_at: datetime


def matches(route: RouteRule, subject: Subject) -> bool:
    if route.kinds and subject.kind not in route.kinds:
        return False
    if subject.severity not in (route.severities or TOLD_UNASKED):
        return False
    if subject.kind == IncidentKind.PAIR:
        return subject.key.partition(":")[2] in route.pairs
    if route.pairs and not route.kinds and not route.exchanges:
        return False  # it watches pairs and nothing else
    return not route.exchanges or subject.kind in EVERYWHERE or bool(set(route.exchanges) & set(subject.exchanges))


def messages(routes: Sequence[RouteRule], subject: Subject, *, start: datetime) -> Iterator[PlannedMessage]:
    """Yields what the routes ask for, counted from `start`."""
    for route in routes:
        if not matches(route, subject):
            continue
        for number, step in enumerate(route.steps):
            seconds = max(float(step.get("after_seconds", 0)), route.shortest_seconds)
            due_at = start + timedelta(seconds=seconds)
            if subject.severity != Level.CRITICAL:
                due_at = after_quiet_hours(due_at, route.quiet_hours)
            for channel in step.get("channels", ()):
                yield PlannedMessage(route.id, number, channel, due_at)


def after_quiet_hours(moment: datetime, quiet_hours: Mapping[str, str] | None) -> datetime:
    """Returns the moment, or the end of the quiet hours that it falls into."""
    if not quiet_hours:
        return moment
    zone = ZoneInfo(quiet_hours.get("zone", "UTC"))
    start, end = time.fromisoformat(quiet_hours["from"]), time.fromisoformat(quiet_hours["to"])
    local = moment.astimezone(zone)
    for days in (-1, 0):
        begins = datetime.combine(local.date() + timedelta(days=days), start, zone)
        ends = datetime.combine(local.date() + timedelta(days=days + (end <= start)), end, zone)
        if begins <= local < ends:
            return ends.astimezone(moment.tzinfo)
    return moment
