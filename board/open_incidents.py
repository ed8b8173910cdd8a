"""The incidents that last, as the board shows them: who is on it since when, and what it has cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count

from incidents.models import Incident
from incidents.rules.conditions import OLD

MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """One root that lasts. `owner`: who is on it, since when, until when it is told to nobody else."""

    id: int
    title: str
    kind: str
    severity: str
    state: str
    since: datetime
    is_old: bool
    children: int
    rows_missing: int
    owner: str
    owner_since: datetime | None
    owner_until: datetime | None
    snoozed_until: datetime | None
    is_drill: bool
    is_by_person: bool
    may_resolve: bool


@dataclass(frozen=True, slots=True)
class OpenIncidents:
    rows: tuple[IncidentRow, ...] = ()
    more: int = 0


def read(now: datetime) -> OpenIncidents:
    """Returns the incidents that no other explains, the gravest first. One query."""
    lasting = Incident.objects.filter(ended_at__isnull=True, parent__isnull=True)
    found = list(lasting.annotate(child_count=Count("children")).order_by("pk"))
    order = ("critical", "warning", "info")
    found.sort(key=lambda row: (order.index(row.severity), row.since, row.pk))
    return OpenIncidents(tuple(_row(row, now) for row in found[:MOST_SHOWN]), max(0, len(found) - MOST_SHOWN))


def _row(row: Incident, now: datetime) -> IncidentRow:
    return IncidentRow(
        id=row.pk,
        title=row.title,
        kind=row.kind,
        severity=row.severity,
        state=row.state,
        since=row.since,
        is_old=now - row.since > OLD,
        children=row.child_count,  # type: ignore[attr-defined]  # annotated
        rows_missing=row.rows_missing,
        owner=row.acknowledged_by,
        owner_since=row.acknowledged_at,
        owner_until=row.acknowledged_until,
        snoozed_until=row.snoozed_until,
        is_drill=row.is_drill,
        is_by_person=bool(row.opened_by),
        may_resolve=bool(row.opened_by) or row.is_drill or row.quiet_since is not None,
    )
