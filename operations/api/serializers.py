"""The shapes of what operators send, and of some answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rest_framework import serializers

from exchanges import secrets
from exchanges.depth_settings import validate as validate_depth
from exchanges.market_filter import validate as validate_market_filter
from exchanges.models import Transport
from lib import clock


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses names that it does not know: a typing error must not look like success."""

    def to_internal_value(self, data: Any) -> Any:
        strangers = sorted(set(map(str, data)) - set(self.fields)) if isinstance(data, Mapping) else []
        if strangers:
            raise serializers.ValidationError({name[:50]: ["There is no such field."] for name in strangers[:10]})
        return super().to_internal_value(data)


class SettingsSerializer(StrictSerializer):
    """The settings of an exchange's collection. What is left out stays as it is."""

    name = serializers.CharField(max_length=100, required=False)
    poll_interval_seconds = serializers.FloatField(
        min_value=0.5, max_value=86_400, required=False, help_text="Not under what the exchange's rate limit allows."
    )
    transport = serializers.ChoiceField(choices=Transport.choices, required=False)
    priority = serializers.IntegerField(min_value=0, max_value=9, required=False)
    budget_units = serializers.FloatField(
        min_value=0.01,
        allow_null=True,
        required=False,
        help_text="So many requests in `budget_seconds` are the exchange's limit; null: what its client says.",
    )
    budget_seconds = serializers.FloatField(min_value=0.1, max_value=3600, required=False)
    market_filter = serializers.JSONField(
        required=False,
        validators=[validate_market_filter],
        help_text='{"quotes": ["USDT"], "symbols": ["BTC/EUR"], "top": 50}; {} collects all.',
    )
    depth = serializers.JSONField(
        required=False,
        validators=[validate_depth],
        help_text='{"books": {"top": 5, "levels": 10, "seconds": 10}, "trades": {"markets": ["BTC/USDT"]}, '
        '"funding": {}}; {} collects tickers only.',
    )
    base_url = serializers.CharField(max_length=300, allow_blank=True, required=False)
    proxy = serializers.CharField(max_length=300, allow_blank=True, required=False)
    ca_file = serializers.CharField(
        max_length=300,
        allow_blank=True,
        required=False,
        help_text="A PEM file with the authorities to trust, on every host that collects; the system's if empty.",
    )
    credentials = serializers.DictField(
        child=serializers.CharField(max_length=secrets.VALUE_CHARACTERS, allow_blank=True),
        required=False,
        write_only=True,
        help_text=f"Some of {', '.join(secrets.NAMES)}. Public data needs none. Stored encrypted and never shown.",
    )


class BlacklistSerializer(StrictSerializer):
    reason = serializers.CharField(max_length=500, allow_blank=True, allow_null=True, required=False)
    expires_at = serializers.DateTimeField(allow_null=True, required=False, help_text="Lifts itself then.")

    def validate_reason(self, reason: str | None) -> str:
        return reason or ""

    def validate_expires_at(self, moment: datetime | None) -> datetime | None:
        if moment is not None and moment <= clock.now():
            raise serializers.ValidationError("This moment has passed.")
        return moment


# --- what they are answered, where an example alone does not tell what may be null or absent -------------------------


class SettingsAnswer(serializers.Serializer[Any]):
    exchange = serializers.CharField()
    name = serializers.CharField()
    poll_interval_seconds = serializers.FloatField()
    transport = serializers.ChoiceField(choices=Transport.choices)
    priority = serializers.IntegerField()
    budget_units = serializers.FloatField(allow_null=True)
    budget_seconds = serializers.FloatField()
    market_filter = serializers.DictField()
    not_compared = serializers.ListField(
        child=serializers.CharField(),
        help_text="Currencies that no collected price converts: their markets come last among the largest.",
    )
    depth = serializers.DictField()
    base_url = serializers.CharField()
    proxy = serializers.CharField(help_text="Without its password.")
    ca_file = serializers.CharField()
    credentials_set = serializers.ListField(child=serializers.CharField())


class CheckAnswer(serializers.Serializer[Any]):
    name = serializers.CharField()
    result = serializers.CharField()
    reason = serializers.CharField()
    duration_ms = serializers.IntegerField()


class ChecksAnswer(serializers.Serializer[Any]):
    exchange = serializers.CharField()
    connectivity = serializers.DictField(child=serializers.CharField())
    checks = CheckAnswer(many=True)
    checked_at = serializers.DateTimeField(allow_null=True, help_text="Null when it never was.")


class BlacklistAnswer(serializers.Serializer[Any]):
    message = serializers.CharField()
    blacklistedMarkets = serializers.ListField(  # noqa: N815
        child=serializers.CharField(), required=False, help_text="Where one market was named."
    )
    blacklistedExchanges = serializers.ListField(child=serializers.CharField())  # noqa: N815
    activeExchanges = serializers.ListField(child=serializers.CharField(), required=False)  # noqa: N815
    timestamp = serializers.DateTimeField()


class LiftAnswer(serializers.Serializer[Any]):
    message = serializers.CharField()
    blacklistedMarkets = serializers.ListField(  # noqa: N815
        child=serializers.CharField(), required=False, help_text="Where one market was named."
    )
    blacklistedExchanges = serializers.ListField(child=serializers.CharField())  # noqa: N815
    activeExchanges = serializers.ListField(child=serializers.CharField())  # noqa: N815
    connectivity = serializers.DictField(child=serializers.CharField(), required=False)
    timestamp = serializers.DateTimeField()
