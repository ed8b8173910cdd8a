"""Silences of pipelines: why, and how far they are filled."""

from __future__ import annotations

from typing import ClassVar

import django_filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.viewsets import ReadOnlyModelViewSet

from access.data import DataList
from access.models import Endpoint
from collectors.models import Gap, GapCause, GapState
from exchanges.symbols import SymbolFilter
from lib import clock
from web.filters import MomentFilter, YesNoFilter


class GapSerializer(serializers.ModelSerializer[Gap]):
    pipeline = serializers.IntegerField(source="pipeline_id")
    exchange = serializers.CharField(source="pipeline.market.exchange_id")
    symbol = serializers.CharField(source="pipeline.market.symbol")
    is_open = serializers.BooleanField()
    missed_count = serializers.SerializerMethodField(help_text="Rows that should have come; while it lasts, by now.")
    progress = serializers.SerializerMethodField(help_text="Share for which the exchange has been asked, 0 to 1.")

    class Meta:
        model = Gap
        fields = [
            "id",
            "pipeline",
            "exchange",
            "symbol",
            "started_at",
            "ended_at",
            "is_open",
            "missed_count",
            "cause",
            "evidence",
            "detected_at",
            "state",
            "progress",
            "filled_until",
            "filled_count",
            "lacking_count",
            "lacking_reason",
            "attempts",
            "next_try_at",
        ]
        read_only_fields = fields

    def get_missed_count(self, gap: Gap) -> int:
        return gap.missed(clock.now())

    def get_progress(self, gap: Gap) -> float:
        return round(gap.progress(clock.now()), 3)


class GapFilters(django_filters.FilterSet):
    exchange = django_filters.CharFilter(field_name="pipeline__market__exchange_id")
    symbol = SymbolFilter("pipeline_id")
    pipeline = django_filters.NumberFilter(field_name="pipeline_id", min_value=0, max_value=2**31 - 1, decimal_places=0)
    cause = django_filters.MultipleChoiceFilter(choices=GapCause.choices)
    state = django_filters.MultipleChoiceFilter(choices=GapState.choices)
    open = YesNoFilter(field_name="ended_at", lookup_expr="isnull")
    started_after = MomentFilter(field_name="started_at", lookup_expr="gte")
    started_before = MomentFilter(field_name="started_at", lookup_expr="lt")

    class Meta:
        model = Gap
        fields: ClassVar[list[str]] = []


@extend_schema(tags=["state"])
class GapViews(DataList, ReadOnlyModelViewSet[Gap]):
    """Silences of pipelines, newest first."""

    queryset = Gap.objects.select_related("pipeline__market")
    serializer_class = GapSerializer
    data_endpoint = Endpoint.HISTORY
    filterset_class = GapFilters
    orderings = ("-started_at", "started_at", "-missed_count")
