"""The parts of an exchange that its polls do not bring though they bring the rest."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from exchanges.models import Exchange

LEFT_OUT = "unsupported"
IN_TURN = "held_back"


class PartOutage(models.Model):
    """A part of an exchange (a kind of market, or one of several requests) that polls go without: why, which markets,
    and from when until when. One row for all polls that miss it in the same way; `gaps/parts.py` writes it."""

    exchange = models.ForeignKey(Exchange, models.CASCADE, related_name="part_outages", db_index=False)
    part = models.CharField(max_length=100)
    outcome = models.CharField(max_length=20)  # the word of the FeedError
    reason = models.TextField(blank=True)
    pipelines = ArrayField(models.IntegerField(), default=list)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        app_label = "collectors"
        constraints = [
            models.UniqueConstraint(
                fields=["exchange", "part"], condition=models.Q(ended_at__isnull=True), name="part_outage_one_running"
            )
        ]
        indexes = [
            models.Index(fields=["exchange", "-started_at"], name="part_outage_by_exchange"),  # causes of gaps
            models.Index(fields=["started_at"], name="part_outage_by_time"),  # pruning
        ]

    @property
    def is_left_out(self) -> bool:
        """Says whether there is no way to ask for it: then it is not expected, until the next market list."""
        return self.outcome == LEFT_OUT

    @property
    def is_in_turn(self) -> bool:
        """Says whether it is only the next poll's: asked for market by market, not all fit into one. No trouble."""
        return self.outcome == IN_TURN

    def __str__(self) -> str:
        return f"{self.exchange_id} {self.part} {self.outcome}"
