"""Incidents, their timeline, and everybody who is told: channels, routes, planned work, and the outbox.

Incidents, entries and deliveries are written by `ledger`, `people` and `claims`. The outbox is a table, so that what
has to be told is committed together with what it tells of.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from incidents.objectives import models as objective_models  # noqa: F401 - Django finds models here
from incidents.past import models as past_models  # noqa: F401 - and here
from incidents.rules.words import Stage


class ChannelKind(models.TextChoices):
    EMAIL = "email"
    WEBHOOK = "webhook"
    PAGERDUTY = "pagerduty"
    ALERTMANAGER = "alertmanager"
    NTFY = "ntfy"
    APPRISE = "apprise"


class EntryKind(models.TextChoices):
    OPENED = "opened"
    REOPENED = "reopened"
    GREW = "grew"
    CHANGED = "changed"
    CHILD_JOINED = "child joined"
    JOINED = "joined"
    LEFT = "left"
    FLAPPING = "flapping"
    QUIET = "quiet"
    HEALED = "healed"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    EXPIRED = "expired"
    MAINTENANCE = "maintenance"
    NOTIFIED = "notified"
    NOTE = "note"


class DeliveryState(models.TextChoices):
    QUEUED = "queued"
    CLAIMED = "claimed"
    SENT = "sent"
    UNCONFIRMED = "unconfirmed"  # sent, and the answer was lost: it is sent once more, marked
    FAILED = "failed"
    EXPIRED = "expired"  # no longer worth telling


WAITING = (DeliveryState.QUEUED, DeliveryState.CLAIMED)


class Incident(models.Model):
    """One cause of trouble. `ended_at` is null while it lasts; a child is part of its parent and told with it.

    `quiet_since`: its signs are gone since then, and it ends unless they come back.
    """

    key = models.CharField(max_length=200)
    kind = models.CharField(max_length=12)
    cause = models.CharField(max_length=40)
    severity = models.CharField(max_length=8)
    title = models.CharField(max_length=200)
    detail = models.TextField(blank=True)
    advice = models.TextField(blank=True)
    exchanges = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    affected = models.IntegerField(default=0)  # markets
    parent = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="children")
    since = models.DateTimeField()  # the first fact that tells of it
    opened_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    quiet_since = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=13, default=Stage.INVESTIGATING.value)
    openings = ArrayField(models.DateTimeField(), default=list, blank=True)
    reopened = models.IntegerField(default=0)
    rows_missing = models.BigIntegerField(default=0)
    rows_recovered = models.BigIntegerField(default=0)
    counted_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=150, blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_until = models.DateTimeField(null=True, blank=True)
    snoozed_until = models.DateTimeField(null=True, blank=True)
    opened_by = models.CharField(max_length=150, blank=True)  # a person; empty for what was found
    is_drill = models.BooleanField(default=False)
    version = models.IntegerField(default=1)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["key"], condition=Q(ended_at__isnull=True), name="incident_open_once"),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=models.F("since")), name="incident_has_length"
            ),
        ]
        indexes = [
            models.Index(fields=["-opened_at", "-id"], name="incident_newest_first"),  # lists
            models.Index(fields=["key", "-ended_at"], name="incident_by_key"),  # reopening
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_open(self) -> bool:
        return self.ended_at is None

    def is_acknowledged(self, now: datetime) -> bool:
        return self.acknowledged_until is not None and self.acknowledged_until > now

    def is_snoozed(self, now: datetime) -> bool:
        return self.snoozed_until is not None and self.snoozed_until > now


class IncidentGap(models.Model):
    """A gap that belongs to an incident: rows lost and recovered are sums over them. No foreign key: gaps expire."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="gaps")
    gap_id = models.BigIntegerField(unique=True)

    def __str__(self) -> str:
        return f"gap {self.gap_id} of incident {self.incident_id}"


class IncidentEntry(models.Model):
    """One line of an incident's timeline. Appended only."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="entries")
    happened_at = models.DateTimeField()
    kind = models.CharField(max_length=12)
    by = models.CharField(max_length=150, blank=True)
    text = models.TextField(blank=True)
    is_public = models.BooleanField(default=False)
    state = models.CharField(max_length=13, blank=True)  # of a public message

    class Meta:
        verbose_name = "timeline entry"
        verbose_name_plural = "timeline entries"
        indexes = [models.Index(fields=["incident", "happened_at", "id"], name="entry_by_incident")]

    def __str__(self) -> str:
        return f"{self.happened_at:%Y-%m-%d %H:%M:%S} {self.kind}"


class AlertChannel(models.Model):
    """A way to tell people or programs. Its address is sealed; `shown` is what may be seen of it."""

    name = models.CharField(max_length=60, unique=True)
    kind = models.CharField(max_length=12)
    address = models.TextField()
    shown = models.CharField(max_length=200, blank=True)
    is_enabled = models.BooleanField(default=True)
    code = models.CharField(max_length=8, blank=True)  # in the newest test message; typed back it proves that it came
    verified_at = models.DateTimeField(null=True, blank=True)
    last_good_at = models.DateTimeField(null=True, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True)

    class Meta:
        verbose_name = "channel"

    def __str__(self) -> str:
        return self.name


class AlertRoute(models.Model):
    """Says who is told of what, and when. Empty lists match everything.

    `steps`: `[{"after_seconds": 0, "channels": ["mail"], "repeat_seconds": 3600}]`, 0 for no repeat.
    `quiet_hours`: `{"from": "22:00", "to": "07:00", "zone": "Europe/Berlin"}`; what is critical is told all the same.
    """

    name = models.CharField(max_length=60, unique=True)
    is_enabled = models.BooleanField(default=True)
    exchanges = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    kinds = ArrayField(models.CharField(max_length=12), default=list, blank=True)
    severities = ArrayField(models.CharField(max_length=8), default=list, blank=True)
    pairs = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    steps = models.JSONField(default=list)
    quiet_hours = models.JSONField(null=True, blank=True)
    shortest_seconds = models.IntegerField(default=0)
    tells_recovery = models.BooleanField(default=True)

    class Meta:
        verbose_name = "route"

    def __str__(self) -> str:
        return self.name


class Maintenance(models.Model):
    """Planned work: what it covers is judged as ever and told to nobody. Collection goes on.

    Without `rrule` it lasts from `starts_at` to `ends_at`; with one it begins anew by that rule, as long each time,
    until `expires_at`.
    """

    reason = models.CharField(max_length=200)
    exchanges = ArrayField(models.CharField(max_length=64), default=list, blank=True)  # empty: all, and the system
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    rrule = models.CharField(max_length=300, blank=True)
    zone = models.CharField(max_length=60, default="UTC")
    expires_at = models.DateTimeField()
    is_public = models.BooleanField(default=True)
    created_by = models.CharField(max_length=150, blank=True)

    class Meta:
        verbose_name_plural = "maintenance"
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=models.F("starts_at")), name="maintenance_has_length")
        ]

    def __str__(self) -> str:
        return self.reason


class Delivery(models.Model):
    """One message to one channel: a row of the outbox. Written with the entry that it tells of, sent by `notifier`.

    A test has no incident. The unique key keeps any number of pulses from telling a thing twice.
    """

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, null=True, blank=True, related_name="deliveries")
    channel = models.ForeignKey(AlertChannel, on_delete=models.CASCADE, related_name="deliveries")
    route = models.ForeignKey(AlertRoute, on_delete=models.SET_NULL, null=True, blank=True, related_name="deliveries")
    version = models.IntegerField(default=1)
    step = models.SmallIntegerField(default=0)
    repetition = models.SmallIntegerField(default=0)
    event = models.CharField(max_length=12)
    state = models.CharField(max_length=11, default=DeliveryState.QUEUED)
    message_id = models.UUIDField(default=uuid.uuid4)
    due_at = models.DateTimeField()
    next_try_at = models.DateTimeField()
    claimed_until = models.DateTimeField(null=True, blank=True)
    attempts = models.SmallIntegerField(default=0)
    is_repeat = models.BooleanField(default=False)  # an earlier try may have arrived
    sent_at = models.DateTimeField(null=True, blank=True)
    status = models.SmallIntegerField(null=True, blank=True)
    elapsed_ms = models.IntegerField(null=True, blank=True)
    excerpt = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(
                fields=["incident", "version", "step", "channel", "repetition", "event"],
                condition=Q(incident__isnull=False),
                name="delivery_once",
            )
        ]
        indexes = [
            models.Index(fields=["next_try_at"], condition=Q(state__in=["queued", "claimed"]), name="delivery_waiting"),
            models.Index(fields=["-id"], name="delivery_newest_first"),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.channel_id}: {self.state}"


class Beat(models.Model):
    """A sign of life that something around us owes us: `POST /beat/{token}` within `period_seconds`, and some grace."""

    name = models.CharField(max_length=60, unique=True)
    token_hash = models.CharField(max_length=64, unique=True)
    period_seconds = models.IntegerField()
    grace_seconds = models.IntegerField(default=60)
    is_enabled = models.BooleanField(default=True)
    beat_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "inbound heartbeat"

    def __str__(self) -> str:
        return self.name
