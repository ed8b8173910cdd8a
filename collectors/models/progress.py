"""What jobs hold, and how far they have come: request slots, process leases, watermarks."""

from __future__ import annotations

from django.db import models

from exchanges.models import Exchange


class Backfill(models.Model):
    """The request slots of one exchange's backfill: one request at a time, so many a minute."""

    exchange = models.OneToOneField(Exchange, on_delete=models.CASCADE, primary_key=True, related_name="backfill")
    has_work = models.BooleanField(default=False)
    busy_until = models.DateTimeField(null=True, blank=True)
    paused_until = models.DateTimeField(null=True, blank=True)
    minute_at = models.DateTimeField(null=True, blank=True)
    requests_in_minute = models.IntegerField(default=0)
    closed_ways = models.JSONField(  # kept by the module of that name
        default=dict, blank=True, db_default=models.Value({}, models.JSONField())
    )

    def __str__(self) -> str:
        return f"backfill of {self.exchange_id}"


class ProcessLease(models.Model):
    """The right to do what only one process may, held until a moment on PostgreSQL's clock. Its holder renews it."""

    name = models.CharField(primary_key=True, max_length=40)
    holder = models.CharField(max_length=100)
    held_until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} held by {self.holder}"


class Watermark(models.Model):
    """The place that a job that walks through time has reached, moved in the transaction of the work itself."""

    name = models.CharField(primary_key=True, max_length=40)
    reached_at = models.DateTimeField()

    class Meta:
        db_table = "collectors_cursor"  # the old name: processes of the release before still run beside ours

    def __str__(self) -> str:
        return f"{self.name} {self.reached_at:%Y-%m-%d %H:%M:%S}"
