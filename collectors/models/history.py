"""Models of history besides ticks and minutes: what minutes were before they changed, and the exchanges' own candles.

Both tables are partitioned by day and written by SQL (`history/rollups.py`, `backfill/outcome.py`); the models here are
for reading.
"""

from __future__ import annotations

from django.db import models


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
