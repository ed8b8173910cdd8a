"""Tables of the metrics webhook: candles, verdicts on markets, grids on paper, and snapshots."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from django.contrib.postgres.constraints import ExclusionConstraint
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Func, Q, Value

from exchanges.models import Exchange, Market

GRID_ID = RegexValidator(r"^[A-Za-z0-9._:-]{1,64}\Z", "A grid id is 1-64 of letters, digits, dot, _, : and -.")
PRICE: dict[str, Any] = {"max_digits": 36, "decimal_places": 18}


class Timeframe(models.TextChoices):
    MINUTE = "1m"
    FIVE_MINUTES = "5m"
    QUARTER = "15m"
    HALF_HOUR = "30m"
    HOUR = "1h"
    FOUR_HOURS = "4h"
    DAY = "1d"


PERIOD_SECONDS = {"1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "4h": 14_400, "1d": 86_400}


def timeframes() -> list[tuple[str, Any]]:
    return list(Timeframe.choices)


class SeriesQuerySet(models.QuerySet["Series"]):
    def watched(self) -> Self:
        """Returns the series that are configured, on exchanges that operators want collected."""
        return self.filter(
            enabled=True, market__active=True, market__blacklisted=False, market__exchange__is_collected=True
        )


class Series(models.Model):
    """A watched market and timeframe: what was asked of the exchange, and how the market stands."""

    market = models.ForeignKey(Market, on_delete=models.CASCADE, related_name="series", db_index=False)
    timeframe = models.CharField(max_length=4, choices=timeframes, default=Timeframe.HOUR)
    enabled = models.BooleanField(default=True)
    asked_at = models.DateTimeField(null=True, blank=True, editable=False)
    holes_asked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_error = models.TextField(blank=True, editable=False)
    exit_state = models.CharField(max_length=24, blank=True, editable=False)
    verdict = models.CharField(max_length=12, blank=True, editable=False)

    objects = SeriesQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "series"
        constraints = [models.UniqueConstraint(fields=["market", "timeframe"], name="series_once")]

    def __str__(self) -> str:
        return f"{self.market} {self.timeframe}"

    @property
    def period_seconds(self) -> int:
        return PERIOD_SECONDS[self.timeframe]


class Candle(models.Model):
    """A closed bar as the exchange sent it, never changed: a verdict is replayed from what was known then."""

    market = models.ForeignKey(Market, on_delete=models.CASCADE, related_name="candles", db_index=False)
    timeframe = models.CharField(max_length=4)
    opened_at = models.DateTimeField()
    open = models.FloatField()
    high = models.FloatField()
    low = models.FloatField()
    close = models.FloatField()
    base_volume = models.FloatField(null=True, blank=True)
    fetched_at = models.DateTimeField()
    is_backfilled = models.BooleanField(default=False)

    class Meta:
        constraints = [  # its index serves every read: a market, a timeframe, a span
            models.UniqueConstraint(fields=["market", "timeframe", "opened_at"], name="candle_once"),
            models.CheckConstraint(
                condition=Q(low__gt=0, low__lte=F("high"), open__range=(F("low"), F("high")))
                & Q(close__range=(F("low"), F("high"))),
                name="candle_is_sane",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.market_id} {self.timeframe} {self.opened_at:%Y-%m-%d %H:%M}"


class Collection(models.Model):
    """One call of the webhook that ran: its outcome is given again to whoever comes with the same id.

    `settled_at` is null between the commit and the message to the dashboard.
    """

    collection_id = models.CharField(max_length=200, unique=True)
    started_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)
    trigger_source = models.CharField(max_length=200)
    trigger_time = models.CharField(max_length=64, null=True, blank=True)  # as the caller wrote it
    status = models.CharField(max_length=8)
    storage_status = models.CharField(max_length=10)
    data_points_collected = models.IntegerField(default=0)
    dashboard_updated = models.BooleanField(default=False)
    duration_ms = models.IntegerField(default=0)
    error = models.TextField(blank=True)
    failures = models.JSONField(default=list, blank=True)
    correlation_id = models.CharField(max_length=64, blank=True)

    class Meta:
        verbose_name = "snapshot"
        indexes = [models.Index(fields=["-started_at", "-id"], name="collection_newest_first")]

    def __str__(self) -> str:
        return self.collection_id


class Balance(models.Model):
    """An account's holding of one asset. An amount that the exchange did not tell is null."""

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="balances", db_index=False)
    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="+", db_index=False)
    asset = models.CharField(max_length=50)
    free = models.DecimalField(**PRICE, null=True)
    used = models.DecimalField(**PRICE, null=True)
    total = models.DecimalField(**PRICE, null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["collection", "exchange", "asset"], name="balance_once")]

    def __str__(self) -> str:
        return f"{self.exchange_id} {self.asset}"


class MarketPoint(models.Model):
    """A market's quote at the time of a collection, copied from its pipeline while that was fresh."""

    pk = models.CompositePrimaryKey("collection_id", "market_id")
    # 50,000 rows are written at once: checking each against its keys would double the time.
    collection = models.ForeignKey(
        Collection, on_delete=models.CASCADE, related_name="points", db_index=False, db_constraint=False
    )
    market = models.ForeignKey(
        Market, on_delete=models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    last = models.FloatField(null=True)
    bid = models.FloatField(null=True)
    ask = models.FloatField(null=True)
    volume_24h = models.FloatField(null=True)
    received_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.collection_id} {self.market_id}"


class Verdict(models.Model):
    """The rules' verdict on a market, with all that is needed to ask them again (`manage.py regime replay`)."""

    series = models.ForeignKey(Series, on_delete=models.CASCADE, related_name="verdicts", db_index=False)
    collection = models.ForeignKey(
        Collection, on_delete=models.SET_NULL, related_name="verdicts", null=True, blank=True
    )
    source = models.CharField(max_length=200)
    analyzed_at = models.DateTimeField()
    newest_at = models.DateTimeField(help_text="When the newest candle that should have been there was opened.")
    bar_at = models.DateTimeField(null=True, blank=True, help_text="When the newest candle that was there was opened.")
    lookback = models.IntegerField()
    bars_used = models.IntegerField()
    verdict = models.CharField(max_length=12, blank=True)
    confidence = models.FloatField(null=True, blank=True)
    trend_score = models.FloatField(null=True, blank=True)
    insufficient_data = models.BooleanField(default=False)
    lower_bound = models.FloatField(null=True, blank=True)
    upper_bound = models.FloatField(null=True, blank=True)
    metrics = models.JSONField(default=dict)
    exit_state = models.CharField(max_length=24, blank=True)
    exit_reasons = models.JSONField(default=list)
    missing_share = models.FloatField()
    backfilled_share = models.FloatField()
    frozen_share = models.FloatField()
    inputs_hash = models.CharField(max_length=64)
    policy = models.JSONField(default=dict, help_text="The numbers that differed from the defaults.")
    error = models.TextField(blank=True)

    class Meta:
        verbose_name = "regime"
        indexes = [models.Index(fields=["series", "-analyzed_at", "-id"], name="verdict_newest_of_series")]

    def __str__(self) -> str:
        return f"{self.series_id} {self.analyzed_at:%Y-%m-%d %H:%M:%S} {self.verdict or 'no verdict'}"


class ExitTransition(models.Model):
    """A series' change to another verdict or exit state."""

    series = models.ForeignKey(Series, on_delete=models.CASCADE, related_name="transitions", db_index=False)
    happened_at = models.DateTimeField()
    from_state = models.CharField(max_length=24, blank=True)
    to_state = models.CharField(max_length=24, blank=True)
    from_verdict = models.CharField(max_length=12, blank=True)
    to_verdict = models.CharField(max_length=12, blank=True)
    reasons = models.JSONField(default=list)

    class Meta:
        indexes = [models.Index(fields=["series", "-happened_at"], name="exit_transition_newest")]

    def __str__(self) -> str:
        return f"{self.series_id}: {self.from_state or '-'} to {self.to_state or '-'}"


class Notice(models.Model):
    """A notice to people that a series should be left; at most one per state and span."""

    series = models.ForeignKey(Series, on_delete=models.CASCADE, related_name="notices", db_index=False)
    state = models.CharField(max_length=24)
    sent_at = models.DateTimeField()
    reasons = models.JSONField(default=list)

    class Meta:
        indexes = [models.Index(fields=["series", "state", "-sent_at"], name="notice_newest_of_state")]

    def __str__(self) -> str:
        return f"{self.series_id} {self.state} {self.sent_at:%Y-%m-%d %H:%M:%S}"


class Spacing(models.TextChoices):
    ARITHMETIC = "arithmetic"
    GEOMETRIC = "geometric"


def spacings() -> list[tuple[str, Any]]:
    return list(Spacing.choices)


class Grid(models.Model):
    """A grid of price levels on one market. It is followed on paper; nothing here ever places an order.

    `filled_level` and `followed_until` say how far its fills have been counted.
    """

    id = models.CharField(primary_key=True, max_length=64, validators=[GRID_ID])
    market = models.ForeignKey(Market, on_delete=models.CASCADE, related_name="grids")
    enabled = models.BooleanField(default=False)
    lower_bound = models.DecimalField(**PRICE)
    upper_bound = models.DecimalField(**PRICE)
    levels = models.PositiveSmallIntegerField(validators=[MinValueValidator(2), MaxValueValidator(500)])
    spacing = models.CharField(max_length=10, choices=spacings, default=Spacing.ARITHMETIC)
    amount_per_grid = models.DecimalField(**PRICE)
    stop_loss = models.DecimalField(**PRICE, null=True, blank=True)
    source = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    stopped_at = models.DateTimeField(null=True, blank=True, editable=False)
    filled_level = models.SmallIntegerField(null=True, blank=True, editable=False)
    followed_until = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(lower_bound__gt=0), name="grid_is_above_zero"),
            models.CheckConstraint(condition=Q(upper_bound__gt=F("lower_bound")), name="grid_has_width"),
            models.CheckConstraint(condition=Q(levels__range=(2, 500)), name="grid_has_levels"),
            models.CheckConstraint(condition=Q(amount_per_grid__gt=0), name="grid_has_amount"),
            models.CheckConstraint(
                condition=Q(stop_loss__isnull=True) | Q(stop_loss__gt=0, stop_loss__lt=F("lower_bound")),
                name="grid_stops_below",
            ),
            ExclusionConstraint(
                name="enabled_grids_do_not_overlap",
                expressions=[
                    (Func(F("market"), F("market"), Value("[]"), function="int4range"), "&&"),
                    (Func(F("lower_bound"), F("upper_bound"), Value("[]"), function="numrange"), "&&"),
                ],
                condition=Q(enabled=True),
                violation_error_message="It overlaps an enabled grid of the same market.",
            ),
        ]

    def __str__(self) -> str:
        return self.id


class GridReading(models.Model):
    """A grid's state at the time of a collection, as its callers were told."""

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="grid_readings", db_index=False)
    grid = models.ForeignKey(Grid, on_delete=models.CASCADE, related_name="readings")
    body = models.TextField(help_text="JSON, in the order of its keys.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["collection", "grid"], name="grid_reading_once")]

    def __str__(self) -> str:
        return f"{self.collection_id} {self.grid_id}"


class PaperFill(models.Model):
    """A level that the real price crossed: on paper an order would have been filled there."""

    grid = models.ForeignKey(Grid, on_delete=models.CASCADE, related_name="fills", db_index=False)
    level = models.SmallIntegerField()
    side = models.CharField(max_length=4)
    price = models.DecimalField(**PRICE)
    filled_at = models.DateTimeField(help_text="When the tick that crossed the level was received.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["grid", "filled_at", "level"], name="paper_fill_once")]

    def __str__(self) -> str:
        return f"{self.grid_id} {self.side} {self.price:f} (paper)"


def period_start(moment: datetime, period_seconds: int) -> float:
    """Returns the Unix second at which the period that holds `moment` began."""
    seconds = moment.timestamp()
    return seconds - seconds % period_seconds
