"""The board's own rows: fire drills and how they went."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from exchanges.models import Exchange


class DrillState(models.TextChoices):
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"


class Drill(models.Model):
    """A fault put into the sandbox on purpose, and when the system noticed, showed and overcame it.

    A moment is null while it has not come; `verdict` says how it went, `detected_by` and `shown_by` by what.
    """

    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="drills")
    symbol = models.CharField(max_length=64, blank=True)
    fault = models.CharField(max_length=32)
    seconds = models.FloatField()
    started_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    started_at = models.DateTimeField()
    detected_at = models.DateTimeField(null=True, blank=True)
    shown_at = models.DateTimeField(null=True, blank=True)
    lifted_at = models.DateTimeField(null=True, blank=True)
    healed_at = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=7, choices=DrillState.choices, default=DrillState.RUNNING)
    verdict = models.TextField(blank=True)
    detected_by = models.TextField(blank=True)
    shown_by = models.TextField(blank=True)
    fault_number = models.IntegerField(null=True, blank=True)  # the sandbox's, to take it back early

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["exchange"], condition=models.Q(state="running"), name="one_running_drill_per_exchange"
            )
        ]
        indexes = [models.Index(fields=["-started_at", "-id"], name="drill_newest_first")]

    def __str__(self) -> str:
        return f"{self.fault} on {self.exchange_id} {self.started_at:%Y-%m-%d %H:%M:%S}"
