"""Models of market data: what is stored besides tickers, and how its collection goes.

The three histories are partitioned by day and written by `store.py`; the models here are for reading.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from collectors.models.reports import RunReport
from exchanges.models import Exchange, Market


class DepthKind(models.TextChoices):
    BOOKS = "books"
    TRADES = "trades"
    FUNDING = "funding"


class HoleState(models.TextChoices):
    """The state of a hole: how far the exchange has been asked for trades that we missed."""

    OPEN = "open"
    FILLED = "filled"
    PARTLY_FILLED = "partly filled"
    NOTHING = "exchange has none"
    EXPIRED = "expired"


class Received(models.Model):
    """A row of a history: of which market, and when it had arrived by our clock."""

    id = models.BigIntegerField(primary_key=True)
    pipeline = models.ForeignKey("collectors.Pipeline", models.DO_NOTHING, db_constraint=False, related_name="+")
    received_at = models.DateTimeField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.pipeline_id} {self.received_at:%Y-%m-%d %H:%M:%S}"


class OrderBookSnapshot(Received):
    """The best levels of one market at one moment: price and amount of each side in two arrays, best first."""

    exchange_at = models.DateTimeField(null=True)
    sequence = models.BigIntegerField(null=True)
    bid_prices = ArrayField(models.FloatField())
    bid_amounts = ArrayField(models.FloatField())
    ask_prices = ArrayField(models.FloatField())
    ask_amounts = ArrayField(models.FloatField())

    class Meta:
        app_label = "collectors"
        managed = False
        db_table = "collectors_orderbook"
        verbose_name = "order book"


class PublicTrade(Received):
    """One trade, stored once. `number` is its id where the exchange counts trades one by one; an id that begins with ~
    is ours, made of the trade itself, where the exchange gives none."""

    trade_id = models.TextField()
    number = models.BigIntegerField(null=True)
    traded_at = models.DateTimeField()
    price = models.FloatField()
    amount = models.FloatField()
    side = models.CharField(max_length=4, null=True)
    is_filled = models.BooleanField()

    class Meta:
        app_label = "collectors"
        managed = False
        db_table = "collectors_trade"
        verbose_name = "trade"

    def __str__(self) -> str:
        return f"{self.pipeline_id} {self.trade_id}"


class FundingSnapshot(Received):
    """The funding of one perpetual, as it was said to be at one moment."""

    exchange_at = models.DateTimeField(null=True)
    rate = models.FloatField()
    interval_seconds = models.FloatField(null=True)
    next_at = models.DateTimeField(null=True)
    mark_price = models.FloatField(null=True)
    index_price = models.FloatField(null=True)

    class Meta:
        app_label = "collectors"
        managed = False
        db_table = "collectors_funding"
        verbose_name = "funding rate"


class DepthTurn(models.Model):
    """The request slots of one exchange: one request at a time, and none while it told us to wait."""

    exchange = models.OneToOneField(Exchange, models.CASCADE, primary_key=True, related_name="depth_turn")
    busy_until = models.DateTimeField(null=True, blank=True)
    paused_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        app_label = "collectors"

    def __str__(self) -> str:
        return f"depth of {self.exchange_id}"


class DepthSeries(models.Model):
    """A thing asked for again and again: a market's book, its trades, or (without a market) an exchange's funding.

    `newest_number` and `newest_at` are of the newest stored trade: what lies between it and the next page is a hole.
    """

    exchange = models.ForeignKey(Exchange, models.CASCADE, related_name="depth_series", db_index=False)
    kind = models.CharField(max_length=8)
    market = models.ForeignKey(Market, models.CASCADE, null=True, blank=True, related_name="depth_series")
    next_at = models.DateTimeField()
    stored_at = models.DateTimeField(null=True, blank=True)
    newest_number = models.BigIntegerField(null=True, blank=True)
    newest_at = models.DateTimeField(null=True, blank=True)
    last_outcome = models.CharField(max_length=20, blank=True)
    last_error = models.TextField(blank=True)
    error_count = models.IntegerField(default=0)

    class Meta:
        app_label = "collectors"
        verbose_name = verbose_name_plural = "market data series"
        constraints = [
            models.UniqueConstraint(
                fields=["exchange", "kind", "market"], name="depth_series_once", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.market or self.exchange_id}"


class DepthRun(RunReport):
    """One round of one kind of market data at one exchange."""

    exchange = models.ForeignKey(Exchange, models.CASCADE, related_name="depth_runs", db_index=False)
    kind = models.CharField(max_length=8)
    requests = models.IntegerField(default=0)

    class Meta:
        app_label = "collectors"
        verbose_name = "market data run"
        indexes = [models.Index(fields=["-started_at", "-id"], name="depth_run_newest_first")]  # lists and pruning

    def __str__(self) -> str:
        return f"{self.exchange_id} {self.kind} {self.started_at:%Y-%m-%d %H:%M:%S} {self.outcome}"

    @property
    def is_listened(self) -> bool:
        return not self.requests and self.outcome in ("stored", "bad_reply")


class TradeHole(models.Model):
    """Trades of one market that happened and were not stored: numbers left out, or two pages that do not touch.

    `first_number` and `last_number` are the missing ones; null where the exchange does not count its trades, and then
    nobody knows how many are missing. The hole lies between two stored trades, of `started_at` and `ended_at`.
    """

    pipeline = models.ForeignKey("collectors.Pipeline", models.CASCADE, related_name="trade_holes", db_index=False)
    first_number = models.BigIntegerField(null=True, blank=True)
    last_number = models.BigIntegerField(null=True, blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    missing_count = models.BigIntegerField(null=True, blank=True)
    filled_count = models.BigIntegerField(default=0)
    state = models.CharField(max_length=17, default=HoleState.OPEN)
    detected_at = models.DateTimeField()
    attempts = models.SmallIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        app_label = "collectors"
        constraints = [
            models.UniqueConstraint(fields=["pipeline", "started_at", "first_number"], name="trade_hole_once",
                                    nulls_distinct=False)
        ]  # fmt: skip
        indexes = [
            models.Index(fields=["-started_at", "-id"], name="trade_hole_newest_first"),
            models.Index(fields=["pipeline"], condition=models.Q(state="open"), name="trade_hole_to_fill"),
        ]

    def __str__(self) -> str:
        return f"{self.pipeline_id} {self.first_number} to {self.last_number}"
