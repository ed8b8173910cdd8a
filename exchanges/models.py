"""What exists out there and what operators want of it: exchanges, their markets, and the blacklist's history."""

from __future__ import annotations

from typing import Self

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from exchanges.feeds.base import FeedSpec

SANDBOX_PLACEHOLDER = "{SANDBOX_URL}"
EXCHANGE_ID = RegexValidator(r"^[a-z0-9_-]{1,64}\Z", "An exchange id is 1-64 of a-z, 0-9, _ and -.")


class ExchangeQuerySet(models.QuerySet["Exchange"]):
    def collected(self) -> Self:
        """Those that operators want collected now."""
        return self.filter(enabled=True, blacklisted=False)


def default_poll_interval() -> float:
    return float(settings.POLL_INTERVAL_SECONDS)


class Exchange(models.Model):
    """Desired state of one exchange. Workers make it actual and prove it by rows stored."""

    id = models.CharField(primary_key=True, max_length=64, validators=[EXCHANGE_ID])
    name = models.CharField(max_length=100, blank=True)
    enabled = models.BooleanField(default=True)
    blacklisted = models.BooleanField(default=False, editable=False)
    poll_interval_seconds = models.FloatField(
        default=default_poll_interval, validators=[MinValueValidator(0.5), MaxValueValidator(86_400)]
    )
    base_url = models.CharField(
        max_length=300,
        blank=True,
        help_text="Sends every request there instead, the original host becoming the first part of the path. "
        f"{SANDBOX_PLACEHOLDER} stands for the local sandbox.",
    )
    proxy = models.CharField(max_length=300, blank=True, help_text="CONNECT proxy for REST and websocket.")
    ca_file = models.CharField(max_length=300, blank=True, help_text="PEM file with the authorities to trust.")
    capabilities = models.JSONField(default=dict, blank=True, editable=False)
    timeframes = models.JSONField(default=list, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ExchangeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(id__regex=r"^[a-z0-9_-]{1,64}$"), name="exchange_id_is_sane"),
            models.CheckConstraint(
                condition=models.Q(poll_interval_seconds__gte=0.5), name="exchange_interval_is_sane"
            ),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def is_collected(self) -> bool:
        return self.enabled and not self.blacklisted

    @property
    def is_simulated(self) -> bool:
        return SANDBOX_PLACEHOLDER in self.base_url

    def feed_spec(self) -> FeedSpec:
        return FeedSpec(
            exchange_id=self.id,
            base_url=self.base_url.replace(SANDBOX_PLACEHOLDER, settings.SANDBOX_URL),
            proxy=self.proxy,
            ca_file=self.ca_file,
        )


class MarketQuerySet(models.QuerySet["Market"]):
    def collected(self) -> Self:
        """Those whose quotes are stored: listed, and not taken out by an operator."""
        return self.filter(active=True, blacklisted=False)


class Market(models.Model):
    """A tradable symbol on an exchange. Never deleted: history refers to its number."""

    id = models.AutoField(primary_key=True)
    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="markets")
    symbol = models.CharField(max_length=100)
    base = models.CharField(max_length=50)
    quote = models.CharField(max_length=50)
    kind = models.CharField(max_length=12)
    venue_id = models.CharField(max_length=120)
    source = models.CharField(max_length=80)
    active = models.BooleanField(default=True)
    blacklisted = models.BooleanField(default=False)
    taker_fee = models.FloatField(null=True, blank=True)
    listed_at = models.DateTimeField()
    delisted_at = models.DateTimeField(null=True, blank=True)

    objects = MarketQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["exchange", "symbol"], name="market_once_per_exchange")]
        indexes = [
            models.Index(fields=["source", "base"], name="market_by_source"),  # document 4's rows and filters
            models.Index(fields=["base", "quote"], name="market_by_pair"),  # document 3's pairs
        ]

    def __str__(self) -> str:
        return f"{self.exchange_id}:{self.symbol}"


class BlacklistEntry(models.Model):
    """One time that an exchange was blacklisted: who, when, why, until when, and who lifted it."""

    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="blacklist_entries")
    reason = models.TextField(blank=True)
    listed_at = models.DateTimeField()
    listed_by = models.CharField(max_length=150)
    expires_at = models.DateTimeField(null=True, blank=True)
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.CharField(max_length=150, blank=True)

    class Meta:
        verbose_name_plural = "blacklist entries"
        constraints = [
            models.UniqueConstraint(
                fields=["exchange"], condition=models.Q(lifted_at__isnull=True), name="one_running_entry_per_exchange"
            )
        ]

    def __str__(self) -> str:
        return f"{self.exchange_id} blacklisted {self.listed_at:%Y-%m-%d %H:%M}"
