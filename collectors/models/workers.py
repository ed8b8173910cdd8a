"""Workers, the collectors of exchanges, and their status changes."""

from __future__ import annotations

from django.db import models

from exchanges.models import Exchange


class WorkerStatus(models.TextChoices):
    RUNNING = "running"
    STOPPED = "stopped"
    ERROR = "error"


class Worker(models.Model):
    """The collector of one exchange: its lease, its health, and what it last proved.

    `generation` fences: every operator's verb raises it, and a run that began under an older one can store nothing.
    """

    exchange = models.OneToOneField(Exchange, on_delete=models.CASCADE, primary_key=True, related_name="worker")
    generation = models.IntegerField(default=1)
    lease_token = models.UUIDField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    cycle_started_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    stored_at = models.DateTimeField(null=True, blank=True)
    stored_count = models.IntegerField(default=0)
    usual_count = models.IntegerField(default=0, db_default=0)  # good rows of the last full answer
    usual_version = models.IntegerField(default=0, db_default=0)  # the market list that it was one of
    resumed_at = models.DateTimeField()
    error_count = models.IntegerField(default=0)
    strikes = models.IntegerField(default=0)
    retry_at = models.DateTimeField(null=True, blank=True)
    last_outcome = models.CharField(max_length=20, blank=True)
    last_error = models.TextField(blank=True)
    last_error_at = models.DateTimeField(null=True, blank=True)
    symbols_tracked = models.IntegerField(default=0)
    markets_version = models.IntegerField(default=0)
    markets_loaded_at = models.DateTimeField(null=True, blank=True)
    refused_list = models.CharField(max_length=16, default="", db_default="", blank=True)
    refused_count = models.SmallIntegerField(default=0, db_default=0)  # times in a row that this list came
    # by kind of market: how old its answers were and usually are, and, apart, those that are too old to be believed
    answers = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), editable=False)
    old_answers = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), editable=False)
    missing_markets = models.IntegerField(default=0, db_default=0)  # of the parts that the newest poll went without
    left_out_markets = models.IntegerField(default=0, db_default=0)  # and of those that cannot be asked for at all
    unknown_rows = models.IntegerField(default=0, db_default=0)  # of the newest answer: no market of the list
    accepted_unknown = models.IntegerField(default=0, db_default=0)  # so many were there just after the list
    unknown_version = models.IntegerField(default=0, db_default=0)  # the market list of that
    scheduled_seconds = models.FloatField(null=True, blank=True)
    status = models.CharField(max_length=8, default=WorkerStatus.STOPPED)
    status_since = models.DateTimeField()

    def __str__(self) -> str:
        return self.exchange_id


class Transition(models.Model):
    """A status change of a worker, with the reason."""

    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="transitions")
    happened_at = models.DateTimeField()
    from_status = models.CharField(max_length=8)
    to_status = models.CharField(max_length=8)
    reason = models.TextField(blank=True)

    class Meta:
        verbose_name = "status change"
        indexes = [models.Index(fields=["-happened_at", "-id"], name="transition_newest_first")]

    def __str__(self) -> str:
        return f"{self.exchange_id}: {self.from_status} to {self.to_status}"
