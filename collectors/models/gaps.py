"""Gaps, their causes, and how far each was filled."""

from __future__ import annotations

from datetime import datetime

from django.db import models

from collectors.models.pipelines import Pipeline
from collectors.rules import gap_causes, gaps


class GapCause(models.TextChoices):
    """The cause of a gap, in the words of `gaps`, which has the rules."""

    OUR_OUTAGE = gap_causes.OUR_OUTAGE
    EXCHANGE_OUTAGE = gap_causes.EXCHANGE_OUTAGE
    RATE_LIMITED = gap_causes.RATE_LIMITED
    MARKET_QUIET = gap_causes.MARKET_QUIET
    NEVER_CAME = gap_causes.NEVER_CAME
    DELISTED = gap_causes.DELISTED
    HALTED = gap_causes.HALTED, gap_causes.LABELS[gap_causes.HALTED]
    REJECTED = gap_causes.REJECTED
    UNKNOWN = gap_causes.UNKNOWN


class GapState(models.TextChoices):
    """The state of a gap: how far the exchange has been asked for what we missed, not whether the silence lasts."""

    OPEN = "open"
    FILLING = "filling"
    FILLED = "filled"
    PARTLY_FILLED = "partly filled"
    NOTHING = "exchange has none"
    EXPIRED = "expired"


TO_FILL = (GapState.OPEN, GapState.FILLING)
TO_FILL_SQL = ", ".join(f"'{state.value}'" for state in TO_FILL)  # for `state IN (...)`, as in the partial index


class Gap(models.Model):
    """A series of missed expected intervals of one pipeline: from its last stored row to the next one.

    `ended_at` is null while the silence lasts. Written by `gaps/ledger/` only.
    The exchange has been asked for everything before `filled_until`: `filled_count` rows came, and it does not have
    `lacking_count` that should be there.
    """

    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="gaps", db_index=False)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    missed_count = models.IntegerField()  # while it lasts: when it was last looked at; readers ask missed(now)
    cause = models.CharField(max_length=16, default=GapCause.UNKNOWN)
    evidence = models.TextField(blank=True)
    is_judged = models.BooleanField(default=False, db_default=False)  # the cause is from all runs of the silence
    detected_at = models.DateTimeField()
    state = models.CharField(max_length=17, default=GapState.OPEN, db_default=GapState.OPEN)
    filled_until = models.DateTimeField(null=True, blank=True)
    filled_count = models.IntegerField(default=0, db_default=0)
    lacking_count = models.IntegerField(default=0, db_default=0)
    lacking_reason = models.TextField(blank=True, default="", db_default="")  # why the exchange has none for us
    attempts = models.SmallIntegerField(default=0, db_default=0)  # failed ones in a row
    next_try_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["pipeline", "started_at"], name="gap_once"),
            models.UniqueConstraint(
                fields=["pipeline"], condition=models.Q(ended_at__isnull=True), name="gap_one_running"
            ),
            models.CheckConstraint(
                condition=models.Q(ended_at__isnull=True) | models.Q(ended_at__gt=models.F("started_at")),
                name="gap_has_length",
            ),
        ]
        indexes = [
            models.Index(fields=["ended_at"], name="gap_by_end"),  # the sweep's 24 h window, and pruning
            models.Index(fields=["-started_at", "-id"], name="gap_newest_first"),  # admin and API pages
            models.Index(  # backfill's choice among an exchange's pipelines
                fields=["pipeline"], condition=models.Q(state__in=["open", "filling"]), name="gap_to_fill"
            ),
            models.Index(fields=["id"], condition=models.Q(is_judged=False), name="gap_to_judge"),
            models.Index(fields=["-missed_count", "-id"], name="gap_longest_first"),  # the API's list of the longest
        ]

    def __str__(self) -> str:
        return f"{self.pipeline_id} silent since {self.started_at:%Y-%m-%d %H:%M:%S}"

    @property
    def is_open(self) -> bool:
        return self.ended_at is None

    def missed(self, now: datetime) -> int:
        """Returns how many rows should have come, by now if the gap lasts. Reads the pipeline."""
        if self.ended_at is not None:
            return self.missed_count
        return gaps.missed(self.started_at, now, self.pipeline.expected_seconds)

    def progress(self, now: datetime) -> float:
        """Returns the share of the silence for which the exchange has been asked, from 0 to 1."""
        if self.state not in TO_FILL:
            return 1.0
        whole = ((self.ended_at or now) - self.started_at).total_seconds()
        asked = ((self.filled_until or self.started_at) - self.started_at).total_seconds()
        return min(1.0, asked / whole) if whole > 0 else 0.0
