"""Exchanges and markets, read-only, for everybody; how we reach an exchange is for staff."""

from __future__ import annotations

from typing import ClassVar

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.viewsets import ReadOnlyModelViewSet

from exchanges.models import SANDBOX_PLACEHOLDER, Exchange, Market, MarketState
from exchanges.symbols import SymbolFilter
from web.drf import may_see
from web.filters import YesNoFilter
from web.redaction import hide_login


class ExchangeSerializer(serializers.ModelSerializer[Exchange]):
    is_collected = serializers.BooleanField(read_only=True)
    is_simulated = serializers.BooleanField(read_only=True)

    class Meta:
        model = Exchange
        fields = [
            "id",
            "name",
            "enabled",
            "blacklisted",
            "is_collected",
            "is_simulated",
            "poll_interval_seconds",
            "capabilities",
            "timeframes",
            "created_at",
        ]
        read_only_fields = fields


class StaffExchangeSerializer(ExchangeSerializer):
    proxy = serializers.SerializerMethodField()

    class Meta(ExchangeSerializer.Meta):
        fields = [*ExchangeSerializer.Meta.fields, "base_url", "proxy", "ca_file"]

    def get_proxy(self, exchange: Exchange) -> str:
        return hide_login(exchange.proxy)


class ExchangeFilters(django_filters.FilterSet):
    enabled = YesNoFilter()
    blacklisted = YesNoFilter()
    simulated = YesNoFilter(method="filter_simulated", label="Collected from the local sandbox.")

    class Meta:
        model = Exchange
        fields: ClassVar[list[str]] = []

    def filter_simulated(self, queryset: QuerySet[Exchange], name: str, value: bool) -> QuerySet[Exchange]:
        simulated = {"base_url__contains": SANDBOX_PLACEHOLDER}
        return queryset.filter(**simulated) if value else queryset.exclude(**simulated)


@extend_schema(tags=["state"])
class ExchangeViews(ReadOnlyModelViewSet[Exchange]):
    """Exchanges, and what operators want collected."""

    queryset = Exchange.objects.known()
    permission_classes = [AllowAny]
    filterset_class = ExchangeFilters
    orderings = ("id", "-id", "created_at", "-created_at")

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Exchange]]:
        is_staff = may_see(self.request, "exchanges.view_exchange")
        return StaffExchangeSerializer if is_staff else ExchangeSerializer


class MarketSerializer(serializers.ModelSerializer[Market]):
    exchange = serializers.CharField(source="exchange_id")
    active = serializers.BooleanField(help_text="The exchange lists it, whether it is traded or halted.")
    state = serializers.ChoiceField(choices=MarketState.choices)
    identity_unproven_before = serializers.DateTimeField(
        source="identity_since",
        read_only=True,
        allow_null=True,
        help_text="Rows stored before this may be another market's; null where all are proven.",
    )

    class Meta:
        model = Market
        fields = [
            "id",
            "exchange",
            "symbol",
            "base",
            "quote",
            "kind",
            "venue_id",
            "source",
            "active",
            "state",
            "halt",
            "halted_at",
            "blacklisted",
            "taker_fee",
            "listed_at",
            "delisted_at",
            "identity_unproven_before",
        ]
        read_only_fields = fields


class MarketFilters(django_filters.FilterSet):
    exchange = django_filters.CharFilter(field_name="exchange_id")
    active = YesNoFilter()
    state = django_filters.ChoiceFilter(choices=MarketState.choices)
    blacklisted = YesNoFilter()
    symbol = SymbolFilter()
    symbol_prefix = django_filters.CharFilter(field_name="symbol", lookup_expr="startswith")

    class Meta:
        model = Market
        fields = ["base", "quote", "kind", "source"]


@extend_schema(tags=["state"])
class MarketViews(ReadOnlyModelViewSet[Market]):
    """Every market an exchange lists or has listed."""

    queryset = Market.objects.all()
    serializer_class = MarketSerializer
    permission_classes = [AllowAny]
    filterset_class = MarketFilters
    orderings = ("id", "-id", "symbol", "-symbol")
