"""Collection runs. What an exchange said when one failed is for staff."""

from __future__ import annotations

from typing import ClassVar

import django_filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.viewsets import ReadOnlyModelViewSet

from access.data import DataList
from access.models import Endpoint
from collectors.models import Outcome, Run, RunTransport
from web.drf import may_see
from web.filters import MomentFilter


class RunSerializer(serializers.ModelSerializer[Run]):
    exchange = serializers.CharField(source="exchange_id")

    class Meta:
        model = Run
        fields = [
            "id",
            "exchange",
            "started_at",
            "duration_ms",
            "outcome",
            "transport",
            "rows_answered",
            "rows_stored",
            "rows_quarantined",
            "rows_repaired",
            "http_status",
        ]
        read_only_fields = fields


class StaffRunSerializer(RunSerializer):
    class Meta(RunSerializer.Meta):
        fields = [*RunSerializer.Meta.fields, "error", "excerpt", "quarantine", "correlation_id"]


class RunFilters(django_filters.FilterSet):
    exchange = django_filters.CharFilter(field_name="exchange_id")
    outcome = django_filters.MultipleChoiceFilter(choices=Outcome.choices)
    transport = django_filters.ChoiceFilter(choices=RunTransport.choices)
    started_after = MomentFilter(field_name="started_at", lookup_expr="gte")
    started_before = MomentFilter(field_name="started_at", lookup_expr="lt")

    class Meta:
        model = Run
        fields: ClassVar[list[str]] = []


@extend_schema(tags=["state"])
class RunViews(DataList, ReadOnlyModelViewSet[Run]):
    """Runs of collecting, newest first: what was asked, what came, and what was stored."""

    queryset = Run.objects.all()
    data_endpoint = Endpoint.HISTORY
    filterset_class = RunFilters
    orderings = ("-started_at", "started_at")

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Run]]:
        return StaffRunSerializer if may_see(self.request, "collectors.view_run") else RunSerializer
