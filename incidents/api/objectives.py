"""The routes of objectives and of their monthly reports."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import exceptions, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from incidents.api.views import ConfiguredViews, stored
from incidents.objectives import configuring, counting, reports
from incidents.objectives.models import Objective, ObjectiveKind, ObjectiveReport
from incidents.rules.budgets import Spender
from lib import clock

FORMS = {
    "csv": (reports.as_csv, "text/csv; charset=utf-8"),
    "html": (reports.as_html, "text/html; charset=utf-8"),
}


class SpentSerializer(serializers.Serializer[Any]):
    def get_fields(self) -> dict[str, Any]:
        return {who.value: serializers.IntegerField() for who in Spender}


class BudgetSerializer(serializers.Serializer[Any]):
    expected_minutes = serializers.IntegerField(help_text="Minutes of markets; planned work is left out.")
    lost_minutes = serializers.IntegerField()
    spent = SpentSerializer(help_text="Who lost them, by the causes of gaps.")
    pending_minutes = serializers.IntegerField(help_text="Missing, and backfill may still bring them.")
    planned_minutes = serializers.IntegerField(help_text="Lost in planned work, so left out.")
    budget_minutes = serializers.FloatField()
    left_minutes = serializers.FloatField(help_text="Below zero when more was lost than may be.")
    share = serializers.FloatField(allow_null=True)


class ObjectiveSerializer(serializers.ModelSerializer[Objective]):
    exchanges = serializers.ListField(child=serializers.CharField(max_length=64), required=False, help_text="Or all.")
    pairs = serializers.ListField(child=serializers.CharField(max_length=60), required=False, help_text="Or all.")
    kind = serializers.ChoiceField(choices=ObjectiveKind.choices, required=False)
    target = serializers.FloatField(help_text="A share below 1, such as 0.999.")
    within_seconds = serializers.IntegerField(required=False, help_text="Of a timely one: after the minute's end.")
    window_days = serializers.IntegerField(required=False)
    budget = serializers.SerializerMethodField(help_text="Of the window; null until it was counted.")

    class Meta:
        model = Objective
        fields = [
            "id", "name", "is_enabled", "exchanges", "pairs", "kind", "target", "within_seconds", "window_days",
            "created_at", "counted_at", "burn", "budget",
        ]  # fmt: skip
        read_only_fields = ["created_at", "counted_at", "burn"]

    @extend_schema_field(BudgetSerializer(allow_null=True))
    def get_budget(self, row: Objective) -> dict[str, Any] | None:
        return None if row.counted_at is None else reports.facts(counting.account_of(row), row.target)


class ReportSerializer(serializers.ModelSerializer[ObjectiveReport]):
    month = serializers.DateField(format="%Y-%m")

    class Meta:
        model = ObjectiveReport
        fields = ["month", "computed_at"]
        read_only_fields = fields


@extend_schema(tags=["incidents"])
class ObjectiveViews(ConfiguredViews[Objective]):
    """What is promised of data, what is left of each budget, and the reports of months."""

    queryset = Objective.objects.all()
    serializer_class = ObjectiveSerializer
    model_name = "objective"
    reading = ("list", "retrieve", "reports", "report")

    def perform_create(self, serializer: serializers.BaseSerializer[Objective]) -> None:
        self._save(serializer, Objective(created_at=clock.now()), "add objective")

    def perform_update(self, serializer: serializers.BaseSerializer[Objective]) -> None:
        assert serializer.instance is not None
        self._save(serializer, serializer.instance, "change objective")

    def _save(self, serializer: serializers.BaseSerializer[Objective], row: Objective, verb: str) -> None:
        for name, value in serializer.validated_data.items():
            setattr(row, name, value)

        def store() -> Objective:
            configuring.check(row)
            configuring.save(row)
            return row

        serializer.instance = stored(store)
        self.note(self.request, verb, row.name)

    @extend_schema(operation_id="objectives_reports", responses=ReportSerializer(many=True))
    @action(detail=False)
    def reports(self, request: Request) -> Response:
        """Lists the months that there is a report of, the newest first."""
        assert self.paginator is not None
        rows = self.paginator.paginate_queryset(ObjectiveReport.objects.order_by("-month"), request, view=self)
        return self.get_paginated_response(ReportSerializer(rows or [], many=True).data)

    @extend_schema(
        operation_id="objectives_report",
        responses={(200, "application/json"): OpenApiTypes.OBJECT, (200, "text/csv"): OpenApiTypes.STR,
                   (200, "text/html"): OpenApiTypes.STR},
    )  # fmt: skip
    @action(detail=False)
    def report(self, request: Request, month: str, form: str) -> Response | HttpResponse:
        """Returns a month's report as it was computed on the eighth day of the next month."""
        first = _month(month)
        row = ObjectiveReport.objects.filter(month=first).first() if first is not None else None
        if row is None:
            raise exceptions.NotFound(f"There is no report of {month}: it is computed on the 8th of the next month.")
        if form == "json":
            return Response(row.body)
        render, kind = FORMS[form]
        name = f"objectives-{month}.{form}"
        return HttpResponse(render(row.body), kind, headers={"Content-Disposition": f'inline; filename="{name}"'})


def _month(text: str) -> date | None:
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        return None
