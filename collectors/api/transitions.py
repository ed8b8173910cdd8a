"""Changes of workers' statuses. The reasons are for staff."""

from __future__ import annotations

from typing import ClassVar

import django_filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.viewsets import ReadOnlyModelViewSet

from collectors.models import Transition, WorkerStatus
from web.drf import may_see
from web.filters import MomentFilter


class TransitionSerializer(serializers.ModelSerializer[Transition]):
    exchange = serializers.CharField(source="exchange_id")

    class Meta:
        model = Transition
        fields = ["id", "exchange", "happened_at", "from_status", "to_status"]
        read_only_fields = fields


class StaffTransitionSerializer(TransitionSerializer):
    class Meta(TransitionSerializer.Meta):
        fields = [*TransitionSerializer.Meta.fields, "reason"]


class TransitionFilters(django_filters.FilterSet):
    exchange = django_filters.CharFilter(field_name="exchange_id")
    to_status = django_filters.ChoiceFilter(choices=WorkerStatus.choices)
    happened_after = MomentFilter(field_name="happened_at", lookup_expr="gte")
    happened_before = MomentFilter(field_name="happened_at", lookup_expr="lt")

    class Meta:
        model = Transition
        fields: ClassVar[list[str]] = []


@extend_schema(tags=["state"])
class TransitionViews(ReadOnlyModelViewSet[Transition]):
    """Changes of workers' statuses, newest first."""

    queryset = Transition.objects.all()
    permission_classes = [AllowAny]
    filterset_class = TransitionFilters
    orderings = ("-happened_at", "happened_at")

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Transition]]:
        is_staff = may_see(self.request, "collectors.view_transition")
        return StaffTransitionSerializer if is_staff else TransitionSerializer
