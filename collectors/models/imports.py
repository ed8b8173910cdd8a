"""Imports of what exchanges keep from before we began to collect: what was asked for, and how far each has come."""

from __future__ import annotations

from datetime import datetime

from django.db import models

from collectors.models.pipelines import Pipeline


class ImportState(models.TextChoices):
    """The state of an import. Only RUNNING ones are asked for."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    REFUSED = "refused"


class HistoryImport(models.Model):
    """One market's history to be fetched, from `start_at` until `end_at`. Everything before `reached_at` is asked for.

    Of the minutes up to there `stored_count` were written, `known_count` were stored already or without a trade, and
    the exchange has no `lacking_count`. `backfill/importing.py` writes it.
    """

    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="imports")
    start_at = models.DateTimeField("from")
    end_at = models.DateTimeField("until")
    reached_at = models.DateTimeField()
    state = models.CharField(max_length=8, default=ImportState.RUNNING)
    reason = models.TextField(blank=True)
    stored_count = models.IntegerField(default=0)
    known_count = models.IntegerField(default=0)
    lacking_count = models.IntegerField(default=0)
    requests = models.IntegerField(default=0)
    attempts = models.SmallIntegerField(default=0)  # failed ones in a row
    next_try_at = models.DateTimeField(null=True, blank=True)  # before it: a pause, or a request under way
    requested_at = models.DateTimeField()
    requested_by = models.CharField(max_length=150)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "history import"
        constraints = [
            models.UniqueConstraint(
                fields=["pipeline"], condition=models.Q(state="running"), name="history_import_one_running"
            ),
            models.CheckConstraint(
                condition=models.Q(end_at__gt=models.F("start_at")), name="history_import_has_length"
            ),
        ]
        indexes = [models.Index(fields=["-requested_at", "-id"], name="history_import_newest")]  # the admin's list

    def __str__(self) -> str:
        return f"{self.pipeline_id} since {self.start_at:%Y-%m-%d %H:%M}"

    @property
    def progress(self) -> float:
        """Returns the share of the time that is asked for, from 0 to 1."""
        return (self.reached_at - self.start_at) / (self.end_at - self.start_at)

    def eta_seconds(self, now: datetime) -> float | None:
        """Returns how long the rest takes at the pace so far; None before anything is known of it, or at the end."""
        passed = (now - self.requested_at).total_seconds()
        if self.state != ImportState.RUNNING or self.progress <= 0 or passed <= 0:
            return None
        return passed * (1 - self.progress) / self.progress
