"""The stream leases of exchanges, and their transport changes."""

from __future__ import annotations

from django.db import models

from exchanges.models import Exchange


class Stream(models.Model):
    """The lease by which a stream process listens to one exchange. Who may store is said by the worker's lease."""

    exchange = models.OneToOneField(Exchange, on_delete=models.CASCADE, primary_key=True, related_name="stream")
    holder = models.CharField(max_length=100, blank=True)
    held_until = models.DateTimeField(null=True, blank=True)
    is_delivering = models.BooleanField(default=False)
    since = models.DateTimeField(null=True, blank=True)
    reason = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"stream of {self.exchange_id}"


class Switch(models.Model):
    """One transport change, to listening or to polling, and why."""

    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="switches")
    happened_at = models.DateTimeField()
    to_transport = models.CharField(max_length=10)
    reason = models.TextField(blank=True)

    class Meta:
        verbose_name = "transport change"
        indexes = [models.Index(fields=["-happened_at", "-id"], name="switch_newest_first")]

    def __str__(self) -> str:
        return f"{self.exchange_id}: to {self.to_transport}"
