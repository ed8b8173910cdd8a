"""Drills of telling: an incident marked as a drill goes the way of a real one, through a route's real channels."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from incidents import ledger, outbox
from incidents.models import AlertRoute, EntryKind, Incident
from incidents.rules.words import IncidentKind, Level

LASTS = timedelta(minutes=5)  # then its end is told, too


def start(route: AlertRoute, *, by: str, now: datetime) -> Incident:
    """Opens a drill, and queues what the route would send of a real incident."""
    with transaction.atomic():
        incident = Incident.objects.create(
            key=f"drill:{route.pk}:{now.timestamp():.6f}", kind=IncidentKind.DRILL, cause="drill",
            severity=Level.CRITICAL, title=f"Drill of the route {route.name}", since=now, opened_at=now, openings=[now],
            opened_by=by[:150], is_drill=True,
        )  # fmt: skip
        ledger.note(incident, EntryKind.OPENED, "a drill: nothing is wrong", now=now, by=by[:150])
        outbox.tell_by(route, incident, now=now)
    return incident


def end_old(now: datetime) -> int:
    """Ends drills that are over; returns how many."""
    with transaction.atomic():
        over = Incident.objects.select_for_update(skip_locked=True).filter(
            is_drill=True, ended_at__isnull=True, opened_at__lte=now - LASTS
        )
        rows = list(over)
        for incident in rows:
            ledger.end(incident, ended_at=now, now=now)
    return len(rows)
