"""Keeps the tables of incidents small: incidents with all that belongs to them, tests, planned work of the past,
and digests of signs."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings

from incidents.models import Delivery, Incident, Maintenance
from incidents.past import digests

BATCH = 500
TESTS_KEPT = timedelta(days=30)


def prune(now: datetime) -> int:
    """Drops what is past its time, a batch a call; returns how many rows. Twice is harmless."""
    before = now - timedelta(days=settings.INCIDENT_RETENTION_DAYS)
    old = Incident.objects.filter(ended_at__lt=before).order_by("ended_at").values_list("pk", flat=True)[:BATCH]
    dropped, _ = Incident.objects.filter(pk__in=list(old)).delete()
    tests, _ = Delivery.objects.filter(incident__isnull=True, created_at__lt=now - TESTS_KEPT).delete()
    work, _ = Maintenance.objects.filter(expires_at__lt=before).delete()
    return dropped + tests + work + digests.prune(now)
