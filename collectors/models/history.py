"""Models of history besides ticks: minutes, what they were before they changed, coverage, the exchanges' own candles.

What is partitioned by day is written by SQL (`history/rollups.py`, `backfill/outcome.py`); the models are for reading.
"""

from __future__ import annotations

from django.db import models

from collectors.models.pipelines import Pipeline
from exchanges.models import Exchange


class Rollup(models.Model):
    """One minute of one pipeline, made of its ticks: what remains when raw rows are dropped. Partitioned by day.

    A minute without ticks of its own is the exchange's candle, if that was fetched. `live`, `candle` and `trade` count
    its rows by origin. They, `revision` and `known_at` are null where a minute was made before they were written down.
    """

    pk = models.CompositePrimaryKey("pipeline_id", "minute_at")
    pipeline = models.ForeignKey(Pipeline, on_delete=models.DO_NOTHING, db_constraint=False, related_name="rollups")
    samples = models.SmallIntegerField()
    minute_at = models.DateTimeField()
    open = models.FloatField(null=True)
    high = models.FloatField(null=True)
    low = models.FloatField(null=True)
    close = models.FloatField(null=True)
    bid = models.FloatField(null=True)
    ask = models.FloatField(null=True)
    base_volume = models.FloatField(null=True)  # of a rolling day, as tickers tell it
    volume = models.FloatField(null=True)  # of this minute, as a candle tells it
    live = models.SmallIntegerField(null=True)
    candle = models.SmallIntegerField(null=True)
    trade = models.SmallIntegerField(null=True)
    revision = models.SmallIntegerField(null=True)
    known_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "collectors_rollup"

    def __str__(self) -> str:
        return f"{self.pipeline_id} {self.minute_at:%Y-%m-%d %H:%M}"


class Coverage(models.Model):
    """A quarter of an hour of one exchange: minutes of its pipelines that should hold a row, and those that do.

    The counts come from rollups, so from stored rows. Planned stops expect nothing; our own downtime does.
    """

    pk = models.CompositePrimaryKey("exchange_id", "quarter_at")
    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="coverage")
    quarter_at = models.DateTimeField()
    expected_minutes = models.IntegerField(default=0, db_default=0)
    stored_minutes = models.IntegerField(default=0, db_default=0)

    class Meta:
        verbose_name_plural = "coverage"

    def __str__(self) -> str:
        return f"{self.exchange_id} {self.quarter_at:%Y-%m-%d %H:%M}"


class RollupRevision(models.Model):
    """What a minute was from `known_at` until `replaced_at`, kept by the statement that changed it.

    `known_at` is null where the minute was made before marketmon wrote that down.
    """

    pk = models.CompositePrimaryKey("pipeline_id", "minute_at", "revision")
    pipeline = models.ForeignKey("collectors.Pipeline", models.DO_NOTHING, db_constraint=False, related_name="+")
    samples = models.SmallIntegerField()
    revision = models.SmallIntegerField()
    minute_at = models.DateTimeField()
    open = models.FloatField(null=True)
    high = models.FloatField(null=True)
    low = models.FloatField(null=True)
    close = models.FloatField(null=True)
    bid = models.FloatField(null=True)
    ask = models.FloatField(null=True)
    base_volume = models.FloatField(null=True)
    volume = models.FloatField(null=True)
    live = models.SmallIntegerField(null=True)
    candle = models.SmallIntegerField(null=True)
    trade = models.SmallIntegerField(null=True)
    known_at = models.DateTimeField(null=True)
    replaced_at = models.DateTimeField()

    class Meta:
        app_label = "collectors"
        managed = False
        db_table = "collectors_rolluprevision"

    def __str__(self) -> str:
        return f"{self.pipeline_id} {self.minute_at:%Y-%m-%d %H:%M} revision {self.revision}"


class MinuteCandle(models.Model):
    """One minute as the exchange's own candle tells it, fetched for a gap; the first answer stays.

    Without `has_trades` the exchange repeats the last price: nobody traded, and the candle fills nothing.
    """

    pk = models.CompositePrimaryKey("pipeline_id", "opened_at")
    pipeline = models.ForeignKey("collectors.Pipeline", models.DO_NOTHING, db_constraint=False, related_name="+")
    has_trades = models.BooleanField()
    opened_at = models.DateTimeField()
    open = models.FloatField()
    high = models.FloatField()
    low = models.FloatField()
    close = models.FloatField()
    volume = models.FloatField(null=True)
    fetched_at = models.DateTimeField()

    class Meta:
        app_label = "collectors"
        managed = False
        db_table = "collectors_minutecandle"

    def __str__(self) -> str:
        return f"{self.pipeline_id} {self.opened_at:%Y-%m-%d %H:%M}"


class PipelineDay(models.Model):
    """What one day (UTC) of one pipeline came to, in minutes: written when it is over, and when rows came later.

    `fingerprint` is of all that was known of it at `sealed_at`; some pipelines of each day have one.
    """

    pk = models.CompositePrimaryKey("day", "pipeline_id")
    pipeline = models.ForeignKey(
        "collectors.Pipeline", models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    day = models.DateField()
    expected = models.SmallIntegerField()
    stored = models.SmallIntegerField()
    filled = models.SmallIntegerField()
    longest_gap_seconds = models.FloatField()
    worst_cause = models.CharField(max_length=16, blank=True)
    sealed_at = models.DateTimeField(null=True)
    fingerprint = models.CharField(max_length=32, null=True)

    class Meta:
        app_label = "collectors"

    def __str__(self) -> str:
        return f"{self.pipeline_id} {self.day}"
