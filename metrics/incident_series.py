"""Prometheus' series of incidents and of telling: what lasts, what waits, which channels fail."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Count, Min
from prometheus_client.core import Metric

from incidents.models import WAITING, AlertChannel, Delivery, Incident
from incidents.rules.words import IncidentKind, Level
from metrics.families import gauge


def families(now: datetime) -> Iterator[Metric]:
    """Yields the series. Three queries."""
    lasting = gauge("incidents_open", "Incidents that last and that no other explains.", "kind", "severity")
    roots = Incident.objects.filter(ended_at__isnull=True, parent__isnull=True, is_drill=False)
    counts = {
        (row["kind"], row["severity"]): row["n"] for row in roots.values("kind", "severity").annotate(n=Count("id"))
    }
    for kind in IncidentKind:
        for level in Level:
            if kind != IncidentKind.DRILL:
                lasting.add_metric([kind, level], counts.get((kind, level), 0))
    waiting = gauge("deliveries_waiting", "Messages that are due and not delivered yet.")
    oldest = gauge("delivery_overdue_seconds", "For how long the oldest of them has been due.")
    due = Delivery.objects.filter(state__in=WAITING, due_at__lte=now, next_try_at__lte=now)
    found = due.aggregate(n=Count("id"), since=Min("due_at"))
    waiting.add_metric([], found["n"])
    oldest.add_metric([], (now - found["since"]).total_seconds() if found["since"] else 0.0)
    failing = gauge("channel_failing", "1 while a channel's messages fail.", "channel")
    for name, since in AlertChannel.objects.filter(is_enabled=True).values_list("name", "failing_since"):
        failing.add_metric([name], float(since is not None))
    yield from (lasting, waiting, oldest, failing)
