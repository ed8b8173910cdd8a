"""Runs: what one collection asked, what came, what was stored."""

from __future__ import annotations

from django.db import models

from collectors.models.reports import RunReport
from exchanges.models import Exchange


class Outcome(models.TextChoices):
    """The outcome of a run, in the words of FeedError.kind and of what only we can do."""

    STORED = "stored"
    THROTTLED = "throttled"
    HELD_BACK = "held_back"  # we did not ask, to stay within the exchange's limit
    UNREACHABLE = "unreachable"
    BAD_REPLY = "bad_reply"
    DENIED = "denied"
    NOT_CONNECTED = "not_connected"  # we refused to connect to a private address
    UNSUPPORTED = "unsupported"
    SUPERSEDED = "superseded"
    FAILED = "failed"


class RunTransport(models.TextChoices):
    """The transport that brought a run's rows, whichever process made the run."""

    POLL = "poll"
    STREAM = "stream"  # rows came all the while, not at the run's end


class Run(RunReport):
    """One collection of an exchange's tickers: a poll, or what a stream brought in some seconds."""

    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="runs", db_index=False)
    transport = models.CharField(max_length=6, default=RunTransport.POLL, db_default=RunTransport.POLL)
    correlation_id = models.CharField(max_length=64, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)  # nobody asks before this: a pause, not an outage of ours

    class Meta:
        indexes = [
            models.Index(fields=["exchange", "-started_at"], name="run_by_exchange"),  # an exchange's page
            models.Index(fields=["-started_at", "-id"], name="run_newest_first"),  # lists and pruning
            models.Index(  # lists of one outcome: nearly all runs are stored ones
                fields=["-started_at", "-id"], condition=~models.Q(outcome=Outcome.STORED), name="run_not_stored"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.exchange_id} {self.started_at:%Y-%m-%d %H:%M:%S} {self.outcome}"

    @property
    def is_listened(self) -> bool:
        return self.transport == RunTransport.STREAM
