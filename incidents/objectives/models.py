"""Models of objectives: what is promised, what each day came to, and the reports of months."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models


class ObjectiveKind(models.TextChoices):
    """What is promised of a minute: that its row was there in time, or that it is there in the end."""

    TIMELY = "timely"
    COMPLETE = "complete"


class Objective(models.Model):
    """A promise: so large a share of the expected minutes of these markets. Empty lists mean all.

    What is not editable was counted: of the window, and whether it `burn`s, by losses of the exchanges in `burning`.
    """

    name = models.CharField(max_length=60, unique=True)
    is_enabled = models.BooleanField(default=True)
    exchanges = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    pairs = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    kind = models.CharField(max_length=8, choices=ObjectiveKind.choices, default=ObjectiveKind.TIMELY)
    target = models.FloatField(help_text="A share below 1, such as 0.999.")
    within_seconds = models.IntegerField(default=60, help_text="How soon after its minute a row must be known.")
    window_days = models.SmallIntegerField(default=30)
    created_at = models.DateTimeField()
    counted_at = models.DateTimeField(null=True, blank=True, editable=False)
    expected = models.BigIntegerField(default=0, editable=False)
    spent = models.JSONField(default=dict, editable=False)
    pending = models.BigIntegerField(default=0, editable=False)
    planned = models.BigIntegerField(default=0, editable=False)
    burn = models.CharField(max_length=4, default="none", editable=False)
    burning = ArrayField(models.CharField(max_length=64), default=list, editable=False)
    looked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        app_label = "incidents"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(target__gt=0) & models.Q(target__lt=1), name="objective_target_is_a_share"
            )
        ]

    def __str__(self) -> str:
        return self.name


class ObjectiveDay(models.Model):
    """What one day (UTC) of an objective came to, in minutes of pipelines."""

    objective = models.ForeignKey(Objective, on_delete=models.CASCADE, related_name="days")
    day = models.DateField()
    expected = models.BigIntegerField()
    spent = models.JSONField(default=dict)
    pending = models.BigIntegerField(default=0)
    planned = models.BigIntegerField(default=0)

    class Meta:
        app_label = "incidents"
        constraints = [models.UniqueConstraint(fields=["objective", "day"], name="objective_day_once")]

    def __str__(self) -> str:
        return f"{self.objective_id} {self.day}"


class ObjectiveReport(models.Model):
    """The report of a month, as it was computed on the eighth day after it; never changed."""

    month = models.DateField(unique=True)  # its first day
    computed_at = models.DateTimeField()
    body = models.JSONField()

    class Meta:
        app_label = "incidents"

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"
