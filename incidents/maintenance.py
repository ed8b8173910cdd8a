"""Reads planned work: what it covers is collected and judged as ever, and told to nobody until it is over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile

from incidents.models import Maintenance
from incidents.rules import planned_work

AHEAD = timedelta(days=14)
MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class PlannedTime:
    """One time of planned work."""

    reason: str
    exchanges: tuple[str, ...]
    starts_at: datetime
    ends_at: datetime
    is_public: bool


def covered_until(exchanges: Sequence[str], *, now: datetime) -> datetime | None:
    """Returns when the planned work ends that covers all of these exchanges at `now`; None when none does.

    Work without exchanges covers everything; an incident of the system is covered by nothing else.
    """
    ends = []
    for row in _alive(now):
        is_covered = not row.exchanges or (bool(exchanges) and set(exchanges) <= set(row.exchanges))
        ends += [end for start, end in islice(_times(row, now), 1) if is_covered and start <= now < end]
    return max(ends, default=None)


def coming(now: datetime) -> list[PlannedTime]:
    """Returns the work of now and of the next two weeks, the soonest first."""
    found = [
        PlannedTime(row.reason, tuple(row.exchanges), start, end, row.is_public)
        for row in _alive(now)
        for start, end in islice(_times(row, now), MOST_SHOWN)
        if start < now + AHEAD
    ]
    return sorted(found, key=lambda each: (each.starts_at, each.reason))[:MOST_SHOWN]


def between(start: datetime, until: datetime) -> list[PlannedTime]:
    """Returns the work that touches [start, until), the earliest first, over or not."""
    rows = Maintenance.objects.filter(expires_at__gt=start, starts_at__lt=until).order_by("pk")
    found = [
        PlannedTime(row.reason, tuple(row.exchanges), begins, ends, row.is_public)
        for row in rows
        for begins, ends in takewhile(lambda each: each[0] < until, _times(row, start))
    ]
    return sorted(found, key=lambda each: (each.starts_at, each.reason))


def _alive(now: datetime) -> Sequence[Maintenance]:
    return list(Maintenance.objects.filter(expires_at__gt=now).order_by("starts_at", "pk"))


def _times(row: Maintenance, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    return planned_work.times(
        row.starts_at, row.ends_at, rrule=row.rrule, zone=row.zone, expires_at=row.expires_at, around=now
    )
