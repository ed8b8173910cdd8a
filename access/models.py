"""Keys, plans and allowances: who may call, how much they may use, and what they have used."""

from __future__ import annotations

from typing import Self

from django.core.exceptions import ValidationError
from django.db import models

from access.addresses import validate_networks


class Endpoint(models.TextChoices):
    """An endpoint, which a tier opens and a key's scopes may narrow."""

    PAIRS = "pairs"
    PIPELINES = "pipelines"
    RATES = "rates"
    SOURCES = "sources"
    LIMITS = "limits"
    HISTORY = "history"
    CANDLES = "candles"
    ARCHIVE = "archive"
    STREAM = "stream"


def validate_endpoints(value: object) -> None:
    if not isinstance(value, list) or not set(map(str, value)) <= set(Endpoint.values):
        raise ValidationError(f"A list of some of {', '.join(Endpoint.values)}.")


class Tier(models.Model):
    """A plan. An empty number is no limit."""

    name = models.SlugField(primary_key=True, max_length=40)
    rank = models.PositiveSmallIntegerField(help_text="Order of the plans: a refusal names the lowest that would do.")
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    requests_per_hour = models.PositiveIntegerField(null=True, blank=True)
    monthly_requests = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Calls of the pairs API's routes in a calendar month (UTC)."
    )
    monthly_credits = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="For the pipelines API's routes, in a calendar month (UTC)."
    )
    max_rows = models.PositiveIntegerField(help_text="Rows in one answer.")
    endpoints = models.JSONField(default=list, validators=[validate_endpoints])
    is_metered = models.BooleanField(
        default=True, help_text="Off: use is neither counted nor charged; only for callers of your own."
    )

    class Meta:
        verbose_name = "plan"
        constraints = [
            models.CheckConstraint(condition=models.Q(max_rows__gte=1), name="tier_answers_rows"),
            models.CheckConstraint(
                condition=models.Q(is_metered=True)
                | models.Q(monthly_credits__isnull=True, monthly_requests__isnull=True),
                name="tier_unmetered_has_no_budget",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def for_callers(self) -> Self:
        """Returns the keys with everything that admitting a call looks at, in one query."""
        return self.select_related("tier")


class ApiKey(models.Model):
    """One caller's key: `mm_<public id>_<secret>`. The secret is shown once; only its keyed hash is stored.

    While a rotation overlaps, the previous secret is good until `previous_until`.
    """

    public_id = models.CharField(max_length=8, unique=True, editable=False)
    name = models.CharField(max_length=100)
    tier = models.ForeignKey(Tier, verbose_name="plan", on_delete=models.PROTECT, related_name="keys")
    secret_hash = models.BinaryField(max_length=32, editable=False)
    pepper_number = models.PositiveSmallIntegerField(editable=False)
    previous_hash = models.BinaryField(max_length=32, null=True, editable=False)
    previous_pepper_number = models.PositiveSmallIntegerField(null=True, editable=False)
    previous_until = models.DateTimeField(null=True, editable=False)
    scopes = models.JSONField(
        default=list, blank=True, validators=[validate_endpoints], help_text="Empty: all that the tier opens."
    )
    allowed_ips = models.JSONField(
        "allowed IPs",
        default=list,
        blank=True,
        validators=[validate_networks],
        help_text='Addresses or networks, like ["203.0.113.7", "10.0.0.0/8"]. Empty: from anywhere.',
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        verbose_name_plural = "API keys"
        constraints = [
            models.CheckConstraint(condition=models.Q(public_id__regex=r"^[a-z0-9]{8}$"), name="key_id_is_sane"),
            models.CheckConstraint(
                condition=models.Q(previous_hash__isnull=True) | models.Q(previous_until__isnull=False),
                name="key_overlap_ends",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"

    @property
    def prefix(self) -> str:
        return f"mm_{self.public_id}"


class Allowance(models.Model):
    """A key's use in `month`, changed only by one conditional UPDATE. A new month starts by itself."""

    key = models.OneToOneField(ApiKey, on_delete=models.CASCADE, primary_key=True, related_name="allowance")
    month = models.DateField()
    credits_used = models.BigIntegerField(default=0)
    requests_used = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(credits_used__gte=0, requests_used__gte=0), name="allowance_is_not_negative"
            )
        ]

    def __str__(self) -> str:
        return f"{self.key_id} {self.month:%Y-%m}"


class UsageDay(models.Model):
    """A key's answered calls of one day (UTC)."""

    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="usage_days", db_index=False)
    day = models.DateField()
    calls = models.BigIntegerField(default=0)
    credits = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["key", "day"], name="usage_once_per_day")]

    def __str__(self) -> str:
        return f"{self.key_id} {self.day}: {self.calls}"


class CreditEntry(models.Model):
    """An entry of the ledger: one row for each charged call, written by the statement that charged it."""

    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="credit_entries", db_index=False)
    request_id = models.UUIDField(unique=True)
    charged_at = models.DateTimeField()
    endpoint = models.CharField(max_length=20)
    credits = models.IntegerField()

    class Meta:
        verbose_name_plural = "credit entries"
        indexes = [models.Index(fields=["key", "charged_at"], name="credits_by_key")]  # a key's page, and audits

    def __str__(self) -> str:
        return f"{self.key_id} {self.charged_at:%Y-%m-%d %H:%M:%S} {self.credits}"
