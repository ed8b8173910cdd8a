"""Tables of exchanges and what operators want of them: markets, checks, blacklists and the audit log."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from exchanges import depth_settings, destinations, market_filter, secrets
from feeds.base import FeedSpec
from web.redaction import HIDDEN, hide_login

SANDBOX_PLACEHOLDER = destinations.SANDBOX_PLACEHOLDER
ID_FAULT = "An exchange id is 1-64 of a-z, 0-9, _ and -."
EXCHANGE_ID = RegexValidator(r"^[a-z0-9_-]{1,64}\Z", ID_FAULT)


def is_exchange_id(text: str) -> bool:
    return re.fullmatch(r"[a-z0-9_-]{1,64}", text) is not None


class ExchangeQuerySet(models.QuerySet["Exchange"]):
    def collected(self) -> Self:
        """Returns the exchanges that operators want collected now."""
        return self.filter(is_collected=True)

    def known(self) -> Self:
        """Returns all but the removed ones, whose rows stay because history refers to their markets."""
        return self.filter(removed_at__isnull=True)


class Transport(models.TextChoices):
    POLL = "poll", "Poll"
    STREAM = "stream", "Stream (websocket only)"
    AUTO = "auto", "Auto (websocket, polled whenever it does not deliver)"


def transports() -> list[tuple[str, Any]]:
    return list(Transport.choices)


def default_poll_interval() -> float:
    return float(settings.POLL_INTERVAL_SECONDS)


class Exchange(models.Model):
    """The desired state of one exchange. Workers make it actual and prove it by rows stored."""

    id = models.CharField(primary_key=True, max_length=64, validators=[EXCHANGE_ID])
    name = models.CharField(max_length=100, blank=True)
    enabled = models.BooleanField(default=True)
    blacklisted = models.BooleanField(default=False, editable=False)
    # PostgreSQL keeps it: an instance on which one of the two was changed shows the old value until it is read again.
    is_collected = models.GeneratedField(
        expression=models.Q(enabled=True, blacklisted=False),  # type: ignore[arg-type]
        output_field=models.BooleanField(),
        db_persist=True,
    )
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
    transport = models.CharField(
        max_length=10,
        choices=transports,
        default=Transport.AUTO,
        help_text="An exchange without a supported websocket is polled, whatever is chosen here.",
    )
    priority = models.PositiveSmallIntegerField(
        default=5, validators=[MaxValueValidator(9)], help_text="0 is collected first when workers are short, 9 last."
    )
    budget_units = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.01)],
        help_text="So many requests in the time below are the exchange's limit, in its client's weights; most requests "
        "weigh 1. Empty: what its client says.",
    )
    budget_seconds = models.FloatField(
        default=60.0,
        db_default=60.0,
        validators=[MinValueValidator(0.1), MaxValueValidator(3600)],
        help_text="The time over which it counts requests; used with the number above.",
    )
    market_filter = models.JSONField(
        default=dict,
        blank=True,
        validators=[market_filter.validate],
        help_text="Which markets are collected; empty for all. "
        '{"quotes": ["USDT"], "symbols": ["BTC/EUR"], "top": 50}: '
        "of these quotes, of this list, and of those the 50 with the largest volume.",
    )
    depth = models.JSONField(
        default=dict,
        blank=True,
        validators=[depth_settings.validate],
        help_text="Order books, trades and funding rates; empty for none. "
        '{"books": {"markets": ["BTC/USDT"], "top": 5, "levels": 10, "seconds": 10}, "trades": {"top": 3}, '
        '"funding": {"seconds": 60}}: of the markets named and the largest ones, every so many seconds.',
    )
    credentials = models.TextField(blank=True, editable=False)
    # What stands before the host of a proxy that wants to know who calls; `proxy` has HIDDEN in its place.
    proxy_login = models.TextField(default="", db_default="", blank=True, editable=False)
    rate_limit_ms = models.FloatField(null=True, blank=True, editable=False)
    removed_at = models.DateTimeField(null=True, blank=True, editable=False)
    capabilities = models.JSONField(default=dict, blank=True, editable=False)
    timeframes = models.JSONField(default=list, blank=True, editable=False)
    markets_digest = models.CharField(max_length=16, default="", db_default="", blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ExchangeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(id__regex=r"^[a-z0-9_-]{1,64}$"), name="exchange_id_is_sane"),
            models.CheckConstraint(
                condition=models.Q(poll_interval_seconds__gte=0.5), name="exchange_interval_is_sane"
            ),
            models.CheckConstraint(
                condition=models.Q(removed_at__isnull=True) | models.Q(enabled=False), name="removed_is_not_enabled"
            ),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def is_simulated(self) -> bool:
        return SANDBOX_PLACEHOLDER in self.base_url

    @property
    def proxy_address(self) -> str:
        """Returns the proxy as it is spoken to: with its login, or without when no key opens that."""
        if f"{HIDDEN}@" not in self.proxy:
            return self.proxy
        login = secrets.unseal_text_or_none(self.proxy_login) if self.proxy_login else None
        return self.proxy.replace(f"{HIDDEN}@", f"{login}@" if login else "", 1)

    @proxy_address.setter
    def proxy_address(self, address: str) -> None:
        login, at, _ = address.rpartition("@")
        login = login.partition("://")[2]
        self.proxy = hide_login(address)
        self.proxy_login = secrets.seal_text(login) if at else ""

    def feed_spec(self) -> FeedSpec:
        proxy = self.proxy_address
        may_have_secrets = not destinations.sends_in_clear(self.base_url, proxy)
        return FeedSpec(
            exchange_id=self.id,
            base_url=self.base_url.replace(SANDBOX_PLACEHOLDER, settings.SANDBOX_URL),
            proxy=proxy,
            ca_file=self.ca_file,
            credentials=(secrets.unseal_or_none(self.credentials) or {}) if may_have_secrets else {},
            public_only=not (settings.ALLOW_PRIVATE_EXCHANGE_URLS or self._leads_to_sandbox),
            markets_digest=self.markets_digest,
        )

    @property
    def _leads_to_sandbox(self) -> bool:
        """Says whether the address is the sandbox's, which whoever runs us has set, whatever operators enter."""
        return not self.proxy and f"{self.base_url}/".startswith(f"{SANDBOX_PLACEHOLDER}/")


class MarketQuerySet(models.QuerySet["Market"]):
    def collected(self) -> Self:
        """Returns the markets whose quotes are stored: listed, not blacklisted, let through by the filter."""
        return self.filter(is_collected=True)

    def looked_at(self) -> Self:
        """Returns the markets whose rows are looked for in each answer: those collected, and the dormant ones, which
        would be if they were traded."""
        return self.filter(active=True, blacklisted=False, excluded=False)


class MarketState(models.TextChoices):
    """The state of a market by the exchange's own word. Only what has left its list is delisted."""

    TRADING = "trading"
    HALTED = "halted"
    DELISTED = "delisted"


class Market(models.Model):
    """A tradable symbol on an exchange. Never deleted: history refers to its number. It is the market of its kind that
    has the exchange's id; its symbol may change."""

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
    excluded = models.BooleanField(default=False, editable=False, help_text="Left out by the exchange's market filter.")
    # listed as halted ever since we know it, like the thousands of dead pairs that some exchanges never take off
    dormant = models.BooleanField(default=False, db_default=False, editable=False)
    is_collected = models.GeneratedField(
        expression=models.Q(active=True, blacklisted=False, excluded=False, dormant=False),  # type: ignore[arg-type]
        output_field=models.BooleanField(),
        db_persist=True,
    )
    taker_fee = models.FloatField(null=True, blank=True)
    listed_at = models.DateTimeField()
    delisted_at = models.DateTimeField(null=True, blank=True)
    halted_at = models.DateTimeField(null=True, blank=True)  # when we learned that it is listed and not traded
    halt = models.CharField(
        max_length=60, default="", db_default="", blank=True, help_text="The exchange's word for why it is not traded."
    )
    state = models.GeneratedField(
        expression=models.Case(
            models.When(active=False, then=models.Value(MarketState.DELISTED.value)),
            models.When(halted_at__isnull=False, then=models.Value(MarketState.HALTED.value)),
            default=models.Value(MarketState.TRADING.value),
        ),
        output_field=models.CharField(max_length=8),
        db_persist=True,
    )
    # Rows stored before this moment may be another market's: the feed of then could take one for the other.
    identity_since = models.DateTimeField(null=True, blank=True, editable=False)

    objects = MarketQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["exchange", "symbol"], name="market_once_per_exchange"),
            # Some exchanges use one id for a pair's spot market and its perpetual.
            models.UniqueConstraint(fields=["exchange", "kind", "venue_id"], name="market_once_by_id"),
        ]
        indexes = [
            models.Index(fields=["source", "base"], name="market_by_source"),  # the pipelines API's rows and filters
            models.Index(fields=["base", "quote"], name="market_by_pair"),  # the pairs API's pairs
            models.Index(  # read every second, and few
                fields=["exchange"], condition=models.Q(halted_at__isnull=False), name="market_halted"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.exchange_id}:{self.symbol}"


class RunningEntryQuerySet(models.QuerySet[Any]):
    def running(self) -> Self:
        return self.filter(lifted_at__isnull=True)

    def past_expiry(self, now: datetime) -> Self:
        """Returns running entries whose time is over."""
        return self.running().filter(expires_at__lte=now)


class ListedFor(models.Model):
    """A time on a blacklist: who, when, why, until when, and who lifted it."""

    reason = models.TextField(blank=True)
    listed_at = models.DateTimeField()
    listed_by = models.CharField(max_length=150)
    expires_at = models.DateTimeField(null=True, blank=True)
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.CharField(max_length=150, blank=True)

    objects = RunningEntryQuerySet.as_manager()

    class Meta:
        abstract = True


class BlacklistEntry(ListedFor):
    """One time that an exchange was blacklisted."""

    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="blacklist_entries")

    class Meta:
        verbose_name_plural = "exchange blacklist"
        constraints = [
            models.UniqueConstraint(
                fields=["exchange"], condition=models.Q(lifted_at__isnull=True), name="one_running_entry_per_exchange"
            )
        ]
        indexes = [  # the pulse looks every second
            models.Index(
                fields=["expires_at"], condition=models.Q(lifted_at__isnull=True), name="blacklist_entry_to_expire"
            )
        ]

    def __str__(self) -> str:
        return f"{self.exchange_id} blacklisted {self.listed_at:%Y-%m-%d %H:%M}"


class MarketBlacklistEntry(ListedFor):
    """One time that a single market was blacklisted, by a person or because it was persistently bad."""

    market = models.ForeignKey(Market, on_delete=models.CASCADE, related_name="blacklist_entries")
    is_automatic = models.BooleanField(default=False)

    class Meta:
        verbose_name_plural = "market blacklist"
        constraints = [
            models.UniqueConstraint(
                fields=["market"], condition=models.Q(lifted_at__isnull=True), name="one_running_entry_per_market"
            )
        ]
        indexes = [
            models.Index(
                fields=["expires_at"], condition=models.Q(lifted_at__isnull=True), name="market_entry_to_expire"
            )
        ]

    def __str__(self) -> str:
        return f"{self.market} blacklisted {self.listed_at:%Y-%m-%d %H:%M}"


class ConnectivityCheck(models.Model):
    """The finding of one of an exchange's four checks. Four rows of one `occasion` share `checked_at`."""

    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="checks", db_index=False)
    checked_at = models.DateTimeField()
    occasion = models.CharField(max_length=20)
    name = models.CharField(max_length=20)
    result = models.CharField(max_length=10)
    reason = models.TextField(blank=True)
    duration_ms = models.IntegerField(default=0)

    class Meta:
        indexes = [models.Index(fields=["exchange", "-checked_at"], name="check_by_exchange")]  # an exchange's page

    def __str__(self) -> str:
        return f"{self.exchange_id} {self.name}: {self.result}"


class AuditEntry(models.Model):
    """An entry of the audit log: who used which verb, when, why, from where. It refers to names; its age alone deletes
    it (`collectors/retention.py`)."""

    happened_at = models.DateTimeField()
    who = models.CharField(max_length=150)
    verb = models.CharField(max_length=30)
    exchange = models.CharField(max_length=64, blank=True)
    market = models.CharField(max_length=100, blank=True)
    why = models.TextField(blank=True)
    origin = models.CharField(
        max_length=100, blank=True, help_text="The caller's address, or the place of the command."
    )
    correlation_id = models.CharField(max_length=64, blank=True)
    before = models.JSONField(default=dict, blank=True, help_text="What undoing needs.")
    changed = models.BooleanField(default=True, help_text="False when everything was already as wanted.")
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "audit log"
        indexes = [
            models.Index(fields=["-happened_at", "-id"], name="audit_newest_first"),
            models.Index(
                fields=["exchange", "-happened_at"], name="audit_by_exchange"
            ),  # an exchange's page, cool-down
        ]

    def __str__(self) -> str:
        return f"{self.happened_at:%Y-%m-%d %H:%M:%S} {self.who}: {self.verb} {self.exchange}"
