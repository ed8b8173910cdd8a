"""Pipelines, and the rows that they take in.

Hot tables: `store.py` writes both in one SQL statement per poll; the models here are for reading.
"""

from __future__ import annotations

from typing import Self

from django.db import models

from exchanges.models import Market


class Origin(models.IntegerChoices):
    """The origin of a stored row: our own poll, or the exchange's history asked for later. Only LIVE proves life."""

    LIVE = 0
    CANDLE = 1
    TRADE = 2
    MISDATED = 3  # our own poll's, stamped in the future by a clock that ran ahead


class PipelineQuerySet(models.QuerySet["Pipeline"]):
    def live(self) -> Self:
        """Filters to pipelines whose market is collected on an exchange that operators want collected."""
        return self.filter(market__is_collected=True, market__exchange__is_collected=True)


class Pipeline(models.Model):
    """The newest stored quote of one market. No index but the key: every poll updates every row (HOT updates)."""

    market = models.OneToOneField(Market, on_delete=models.CASCADE, primary_key=True, related_name="pipeline")
    received_at = models.DateTimeField(null=True, blank=True)
    exchange_at = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(null=True, blank=True)
    last = models.FloatField(null=True, blank=True)
    bid = models.FloatField(null=True, blank=True)
    ask = models.FloatField(null=True, blank=True)
    high = models.FloatField(null=True, blank=True)
    low = models.FloatField(null=True, blank=True)
    base_volume = models.FloatField(null=True, blank=True)
    quote_volume = models.FloatField(null=True, blank=True)
    expected_seconds = models.FloatField()
    gaps_24h = models.IntegerField(default=0)
    gap_open = models.BooleanField(default=False)
    resumed_at = models.DateTimeField(null=True, blank=True)  # no silence before this was a gap
    frozen = models.BooleanField(default=False, db_default=False)  # fresh stamps, old values, while the pair moves
    # a jump that nothing confirms yet: the answers since, and the price before it
    unconfirmed_count = models.SmallIntegerField(default=0, db_default=0)
    trusted_price = models.FloatField(null=True, blank=True)

    objects = PipelineQuerySet.as_manager()

    def __str__(self) -> str:
        return f"pipeline {self.market_id}"

    @property
    def is_unconfirmed(self) -> bool:
        """Says whether its price has jumped, and neither another exchange nor a further answer agrees yet."""
        return self.unconfirmed_count > 0


class Tick(models.Model):
    """One stored quote. Partitioned by day (UTC) of `received_at`; partitions are made ahead and dropped by a task.

    `known_at` is when a row that was fetched later was stored; null for live rows, which are known since `received_at`.
    """

    pk = models.CompositePrimaryKey("pipeline_id", "received_at")
    pipeline = models.ForeignKey(Pipeline, on_delete=models.DO_NOTHING, db_constraint=False, related_name="ticks")
    origin = models.SmallIntegerField(default=0)
    received_at = models.DateTimeField()
    exchange_at = models.DateTimeField(null=True)
    last = models.FloatField(null=True)
    bid = models.FloatField(null=True)
    ask = models.FloatField(null=True)
    high = models.FloatField(null=True)
    low = models.FloatField(null=True)
    base_volume = models.FloatField(null=True)
    quote_volume = models.FloatField(null=True)
    known_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "collectors_tick"

    def __str__(self) -> str:
        return f"{self.pipeline_id} {self.received_at:%Y-%m-%d %H:%M:%S}"
