"""The collector of each exchange. Status is a reading of the clock, never only what is stored."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

import django_filters
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Func, IntegerField, OuterRef, QuerySet
from django.db.models.functions import JSONObject
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.viewsets import ReadOnlyModelViewSet

from collectors.models import PartOutage, Worker, WorkerStatus
from collectors.polling import transports
from collectors.rules import age, worker_status
from collectors.rules.snapshot import WorkerView
from collectors.status import workers as status
from lib import clock
from web.drf import may_see

# In the list's own query.
RUNNING_OUTAGES = ArraySubquery(
    PartOutage.objects.filter(exchange_id=OuterRef("exchange_id"), ended_at=None)
    .order_by("part")
    .values(
        told=JSONObject(
            part="part",
            outcome="outcome",
            reason="reason",
            since="started_at",
            markets=Func("pipelines", function="cardinality", output_field=IntegerField()),
        )
    )
)


def view_of(worker: Worker, now: datetime) -> WorkerView:
    """Returns the worker by the rules at `now`; its stored status is only as fresh as the last sweep."""
    return worker_status.view(status.facts(worker), now)


def parts_of(worker: Worker, kind: type[PartSerializer]) -> list[dict[str, Any]]:
    found = [told | {"since": datetime.fromisoformat(told["since"])} for told in getattr(worker, "running_outages", ())]
    return list(kind(found, many=True).data)


class PartSerializer(serializers.Serializer[Any]):
    """A part that polls go without, as RUNNING_OUTAGES reads it."""

    part = serializers.CharField()
    outcome = serializers.CharField(help_text="`unsupported` is left out: it cannot be asked for.")
    markets = serializers.IntegerField(help_text="Collected markets that it costs.")
    since = serializers.DateTimeField()


class StaffPartSerializer(PartSerializer):
    reason = serializers.CharField()


class AnswerSerializer(serializers.Serializer[Any]):
    """What the newest answer of one kind of markets says of its age."""

    kind = serializers.CharField()
    is_old = serializers.BooleanField()
    age_seconds = serializers.FloatField(allow_null=True, help_text="When it came; null where the exchange tells none.")
    usual_seconds = serializers.FloatField(allow_null=True, help_text="Median of a day; null until it is known.")
    clock_skew_seconds = serializers.FloatField(
        allow_null=True, help_text="By how much the server's clock is behind ours; null where it is not known."
    )
    reason = serializers.CharField(help_text="Why it is old; empty when it is not.")


def answers_of(worker: Worker) -> list[dict[str, Any]]:
    return [
        {
            "kind": kind,
            "is_old": state.is_old,
            "age_seconds": state.lag_seconds,
            "usual_seconds": state.usual_seconds,
            "clock_skew_seconds": state.skew_seconds,
            "reason": state.reason,
        }
        for kind, state in sorted(age.of_json(worker.answers).items())
    ]


class WorkerSerializer(serializers.ModelSerializer[Worker]):
    exchange = serializers.CharField(source="exchange_id")
    status = serializers.SerializerMethodField()
    last_update = serializers.SerializerMethodField(
        help_text="When a row was last stored; where all its answers are old, the exchange's own time of them."
    )
    is_old = serializers.SerializerMethodField(help_text="Answers of some kind of its markets are old.")
    answers = serializers.SerializerMethodField(help_text="How old its answers are by the exchange's own time.")
    transport = serializers.SerializerMethodField(help_text="What its quotes come by now: stream, poll or none.")
    transport_since = serializers.SerializerMethodField(help_text="Known where a stream was tried.")
    missing_parts = serializers.SerializerMethodField(help_text="What its polls go without though they bring the rest.")
    unknown_rows = serializers.IntegerField(
        read_only=True, help_text="Rows of the newest answer that are of no market in the exchange's list."
    )

    class Meta:
        model = Worker
        fields = [
            "exchange",
            "status",
            "status_since",
            "last_update",
            "heartbeat_at",
            "resumed_at",
            "error_count",
            "symbols_tracked",
            "stored_count",
            "last_outcome",
            "retry_at",
            "markets_loaded_at",
            "generation",
            "transport",
            "transport_since",
            "missing_parts",
            "unknown_rows",
            "is_old",
            "answers",
        ]
        read_only_fields = fields

    @extend_schema_field(PartSerializer(many=True))
    def get_missing_parts(self, worker: Worker) -> list[dict[str, Any]]:
        return parts_of(worker, PartSerializer)

    def get_last_update(self, worker: Worker) -> datetime | None:
        return view_of(worker, clock.now()).data_at

    def get_is_old(self, worker: Worker) -> bool:
        return bool(worker.old_answers)

    @extend_schema_field(AnswerSerializer(many=True))
    def get_answers(self, worker: Worker) -> list[dict[str, Any]]:
        return answers_of(worker)

    def get_status(self, worker: Worker) -> str:
        return view_of(worker, clock.now()).status

    def get_transport(self, worker: Worker) -> str:
        return transports.in_use(worker.exchange, clock.now()).word

    def get_transport_since(self, worker: Worker) -> datetime | None:
        return transports.in_use(worker.exchange, clock.now()).since


class StaffWorkerSerializer(WorkerSerializer):
    reason = serializers.SerializerMethodField(help_text="Why it has that status.")
    transport_reason = serializers.SerializerMethodField(help_text="Why it has that transport.")

    class Meta(WorkerSerializer.Meta):
        fields = [*WorkerSerializer.Meta.fields, "reason", "last_error", "last_error_at", "transport_reason"]

    @extend_schema_field(StaffPartSerializer(many=True))
    def get_missing_parts(self, worker: Worker) -> list[dict[str, Any]]:
        return parts_of(worker, StaffPartSerializer)

    def get_transport_reason(self, worker: Worker) -> str:
        return transports.in_use(worker.exchange, clock.now()).why

    def get_reason(self, worker: Worker) -> str:
        return view_of(worker, clock.now()).reason


class WorkerFilters(django_filters.FilterSet):
    status = django_filters.ChoiceFilter(choices=WorkerStatus.choices, method="filter_status")

    class Meta:
        model = Worker
        fields: ClassVar[list[str]] = []

    def filter_status(self, queryset: QuerySet[Worker], name: str, value: str) -> QuerySet[Worker]:
        return with_status(queryset, value, clock.now())


def with_status(queryset: QuerySet[Worker], wanted: str, now: datetime) -> QuerySet[Worker]:
    """Returns workers of a status, which depends on the clock: one more query over at most some hundred workers."""
    matching = [worker.pk for worker in queryset.select_related("exchange") if view_of(worker, now).status == wanted]
    return queryset.filter(pk__in=matching)


@extend_schema(tags=["state"])
class WorkerViews(ReadOnlyModelViewSet[Worker]):
    """The collector of each exchange: whether it is alive, and what it last proved."""

    queryset = (
        Worker.objects.filter(exchange__removed_at__isnull=True)
        .select_related("exchange__stream")
        .annotate(running_outages=RUNNING_OUTAGES)
    )
    permission_classes = [AllowAny]
    filterset_class = WorkerFilters
    orderings = ("exchange", "-exchange", "error_count", "-error_count", "status_since", "-status_since")

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Worker]]:
        return StaffWorkerSerializer if may_see(self.request, "collectors.view_worker") else WorkerSerializer
