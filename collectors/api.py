"""Contract 1's worker status, and read-only views of workers, pipelines, their history, runs, gaps and transitions."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

import django_filters
from django.conf import settings
from django.db import Error as DatabaseFault
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
    inline_serializer,
)
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ReadOnlyModelViewSet, ViewSet

from collectors import cadence, exports, freshness, history, status, transports
from collectors.dialects import workers
from collectors.models import Gap, GapCause, GapState, Origin, Outcome, Pipeline, Run, Transition, Worker, WorkerStatus
from collectors.snapshot import WorkerView
from exchanges.authentication import AdminKeyAuthentication, MayManage, StaffSession
from marketmon.api import may_see
from marketmon.errors import ServiceUnavailable
from marketmon.lib import clock

NO_STORE = {"Cache-Control": "no-store"}


# --- contract 1 -------------------------------------------------------------------------------------------------


class WorkerEntrySerializer(serializers.Serializer[Any]):
    exchange = serializers.CharField()
    status = serializers.ChoiceField(choices=WorkerStatus.choices)
    last_update = serializers.DateTimeField(allow_null=True, help_text="When a row was last stored.")
    error_count = serializers.IntegerField(help_text="Failed cycles in a row.")
    symbols_tracked = serializers.IntegerField(help_text="Active markets collected.")


class WorkersStatusSerializer(serializers.Serializer[Any]):
    workers = serializers.DictField(child=WorkerEntrySerializer(), help_text="By exchange, sorted.")
    timestamp = serializers.DateTimeField()


STATUS_EXAMPLE = {
    "workers": {
        "binance": {
            "exchange": "binance",
            "status": "running",
            "last_update": "2026-03-03T10:30:45Z",
            "error_count": 0,
            "symbols_tracked": 245,
        }
    },
    "timestamp": "2026-03-03T10:30:47Z",
}
ABSENT_ON_MARKET = {"error": "Collector service is not available", "timestamp": "2026-03-03T10:30:47Z"}
ABSENT_ON_EXCHANGES = {"error": "Collector service not available"}


def _described(operation_id: str, absent_example: dict[str, str]) -> Any:
    absent = inline_serializer(f"{operation_id}_absent", {name: serializers.CharField() for name in absent_example})
    return extend_schema(
        operation_id=operation_id,
        tags=["workers"],
        auth=[],
        responses={
            200: OpenApiResponse(WorkersStatusSerializer, examples=[OpenApiExample("Running", STATUS_EXAMPLE)]),
            503: OpenApiResponse(
                absent,
                description="Collection is switched off, or its state cannot be read.",
                examples=[OpenApiExample("Absent", absent_example)],
            ),
        },
    )


class MarketWorkersStatus(APIView):
    """The collectors of all exchanges (document 1)."""

    authentication_classes = ()
    permission_classes = [AllowAny]

    @_described("market_workers_status", ABSENT_ON_MARKET)
    def get(self, request: Request) -> Response:
        now = clock.now()
        try:
            return Response(workers.render(status.read(now)), headers=NO_STORE)
        except (status.CollectorAbsent, DatabaseFault):
            return Response(workers.absent_on_market(now), status=503, headers=NO_STORE)


class ExchangesWorkersStatus(APIView):
    """The collectors of all exchanges (document 2)."""

    authentication_classes = ()
    permission_classes = [AllowAny]

    @_described("exchanges_workers_status", ABSENT_ON_EXCHANGES)
    def get(self, request: Request) -> Response:
        try:
            return Response(workers.render(status.read(clock.now())), headers=NO_STORE)
        except (status.CollectorAbsent, DatabaseFault):
            return Response(workers.absent_on_exchanges(), status=503, headers=NO_STORE)


# --- workers ----------------------------------------------------------------------------------------------------


def view_of(worker: Worker, now: datetime) -> WorkerView:
    """The worker by the rules at `now`; its stored status is only as fresh as the last sweep."""
    return freshness.view(status.facts(worker, now), now)


class WorkerSerializer(serializers.ModelSerializer[Worker]):
    exchange = serializers.CharField(source="exchange_id")
    status = serializers.SerializerMethodField()
    last_update = serializers.DateTimeField(source="stored_at", allow_null=True)
    transport = serializers.SerializerMethodField(help_text="What its quotes come by now: stream, poll or none.")
    transport_since = serializers.SerializerMethodField(help_text="Known where a stream was tried.")

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
        ]
        read_only_fields = fields

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
    """Status is a reading of the clock, so it is read here: one more query over at most some hundred workers."""
    matching = [worker.pk for worker in queryset.select_related("exchange") if view_of(worker, now).status == wanted]
    return queryset.filter(pk__in=matching)


@extend_schema(tags=["state"])
class WorkerViews(ReadOnlyModelViewSet[Worker]):
    """The collector of each exchange: is it alive, and what did it last prove."""

    queryset = Worker.objects.filter(exchange__removed_at__isnull=True).select_related("exchange__stream")
    permission_classes = [AllowAny]
    filterset_class = WorkerFilters
    orderings = ("exchange", "-exchange", "error_count", "-error_count", "status_since", "-status_since")

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Worker]]:
        return StaffWorkerSerializer if may_see(self.request, "collectors.view_worker") else WorkerSerializer


# --- pipelines and their history ----------------------------------------------------------------------------------


class PipelineSerializer(serializers.ModelSerializer[Pipeline]):
    id = serializers.IntegerField(source="market_id")
    exchange = serializers.CharField(source="market.exchange_id")
    symbol = serializers.CharField(source="market.symbol")
    source = serializers.CharField(source="market.source")  # type: ignore[assignment]
    active = serializers.BooleanField(source="market.active")
    cadence_reason = serializers.SerializerMethodField(help_text="Why it is expected so often.")
    origins = serializers.SerializerMethodField(help_text="Rows of the last hour by where they come from.")

    class Meta:
        model = Pipeline
        fields = [
            "id",
            "exchange",
            "symbol",
            "source",
            "active",
            "received_at",
            "exchange_at",
            "changed_at",
            "last",
            "bid",
            "ask",
            "high",
            "low",
            "base_volume",
            "quote_volume",
            "expected_seconds",
            "cadence_reason",
            "gaps_24h",
            "gap_open",
            "frozen",
            "origins",
        ]
        read_only_fields = fields

    def get_cadence_reason(self, pipeline: Pipeline) -> str:
        return cadence.reason(
            pipeline.expected_seconds,
            poll_seconds=pipeline.market.exchange.poll_interval_seconds,
            ceiling_seconds=settings.CADENCE_CEILING_SECONDS,
        )

    @extend_schema_field(
        inline_serializer("origins", {origin.name.lower(): serializers.IntegerField() for origin in Origin})
    )
    def get_origins(self, pipeline: Pipeline) -> dict[str, int]:
        counts = getattr(pipeline, "origins", None) or {}
        return {origin.name.lower(): counts.get(str(origin.value), 0) for origin in Origin}


class PipelineFilters(django_filters.FilterSet):
    exchange = django_filters.CharFilter(field_name="market__exchange_id")
    symbol = django_filters.CharFilter(field_name="market__symbol")
    source = django_filters.CharFilter(field_name="market__source")
    base = django_filters.CharFilter(field_name="market__base")
    quote = django_filters.CharFilter(field_name="market__quote")
    active = django_filters.BooleanFilter(field_name="market__active")
    received_before = django_filters.IsoDateTimeFilter(field_name="received_at", lookup_expr="lt")
    received_after = django_filters.IsoDateTimeFilter(field_name="received_at", lookup_expr="gte")

    class Meta:
        model = Pipeline
        fields = ["gap_open", "frozen"]


class HistoryQuerySerializer(serializers.Serializer[Any]):
    grain = serializers.ChoiceField(choices=["auto", "raw", "minute"], default="auto")
    limit = serializers.IntegerField(min_value=1, max_value=1000, default=1000)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # `from` is no name for a class attribute.
        start = serializers.DateTimeField(required=False, help_text="Default: an hour before `to`.")
        end = serializers.DateTimeField(required=False, help_text="Exclusive. Default: now.")
        return {"from": start, "to": end, **super().get_fields()}

    def validate(self, query: dict[str, Any]) -> dict[str, Any]:
        end = query.setdefault("to", self.context["now"])
        if "from" not in query:
            query["from"] = max(end, EARLIEST + timedelta(hours=1)) - timedelta(hours=1)
        if query["from"] >= end:
            raise serializers.ValidationError({"from": ["It must be before `to`."]})
        longest = timedelta(days=settings.ROLLUP_RETENTION_DAYS + 1)
        if end - query["from"] > longest:
            raise serializers.ValidationError({"from": [f"At most {longest.days} days before `to`; more is not kept."]})
        return query


EARLIEST = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class HistorySerializer(serializers.Serializer[Any]):
    pipeline = serializers.IntegerField()
    grain = serializers.ChoiceField(choices=["raw", "minute"])
    columns = serializers.ListField(child=serializers.CharField())
    rows = serializers.ListField(child=serializers.ListField(), help_text="Oldest first, values as in `columns`.")
    is_cut = serializers.BooleanField(help_text="True when `limit` left rows out: continue with a later `from`.")


@extend_schema(tags=["state"])
class PipelineViews(ReadOnlyModelViewSet[Pipeline]):
    """The ingestion of each market: its newest stored quote and its gaps."""

    queryset = Pipeline.objects.select_related("market__exchange")
    serializer_class = PipelineSerializer
    permission_classes = [AllowAny]
    filterset_class = PipelineFilters
    orderings = ("id", "-id", "gaps_24h", "-gaps_24h")

    def get_queryset(self) -> QuerySet[Pipeline]:
        return history.with_origins(super().get_queryset(), since=clock.now() - timedelta(hours=1))

    @extend_schema(parameters=[HistoryQuerySerializer], responses=HistorySerializer, filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def history(self, request: Request, pk: str) -> Response:
        """Stored quotes of a span: raw while they are kept and the span is short, else by the minute."""
        now = clock.now()
        query = HistoryQuerySerializer(data=request.query_params, context={"now": now})
        query.is_valid(raise_exception=True)
        wanted = query.validated_data
        pipeline_id = self.get_object().pk
        found = history.read(
            pipeline_id,
            start=wanted["from"],
            end=wanted["to"],
            limit=wanted["limit"],
            grain=wanted["grain"],
            now=now,
        )
        body = {"pipeline": pipeline_id, "grain": found.grain, "columns": found.columns, "rows": found.rows}
        return Response({**body, "is_cut": found.is_cut})


# --- runs, gaps, transitions ------------------------------------------------------------------------------------


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
            "rows_answered",
            "rows_stored",
            "rows_quarantined",
            "http_status",
        ]
        read_only_fields = fields


class StaffRunSerializer(RunSerializer):
    class Meta(RunSerializer.Meta):
        fields = [*RunSerializer.Meta.fields, "error", "excerpt", "quarantine", "correlation_id"]


class RunFilters(django_filters.FilterSet):
    exchange = django_filters.CharFilter(field_name="exchange_id")
    outcome = django_filters.MultipleChoiceFilter(choices=Outcome.choices)
    started_after = django_filters.IsoDateTimeFilter(field_name="started_at", lookup_expr="gte")
    started_before = django_filters.IsoDateTimeFilter(field_name="started_at", lookup_expr="lt")

    class Meta:
        model = Run
        fields: ClassVar[list[str]] = []


@extend_schema(tags=["state"])
class RunViews(ReadOnlyModelViewSet[Run]):
    """Collection cycles, newest first."""

    queryset = Run.objects.all()
    permission_classes = [AllowAny]
    filterset_class = RunFilters
    orderings = ("-started_at", "started_at")

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Run]]:
        return StaffRunSerializer if may_see(self.request, "collectors.view_run") else RunSerializer


class GapSerializer(serializers.ModelSerializer[Gap]):
    pipeline = serializers.IntegerField(source="pipeline_id")
    exchange = serializers.CharField(source="pipeline.market.exchange_id")
    symbol = serializers.CharField(source="pipeline.market.symbol")
    is_open = serializers.BooleanField()
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

    def get_progress(self, gap: Gap) -> float:
        return round(gap.progress(clock.now()), 3)


class GapFilters(django_filters.FilterSet):
    exchange = django_filters.CharFilter(field_name="pipeline__market__exchange_id")
    symbol = django_filters.CharFilter(field_name="pipeline__market__symbol")
    pipeline = django_filters.NumberFilter(field_name="pipeline_id", min_value=0, max_value=2**31 - 1, decimal_places=0)
    cause = django_filters.MultipleChoiceFilter(choices=GapCause.choices)
    state = django_filters.MultipleChoiceFilter(choices=GapState.choices)
    open = django_filters.BooleanFilter(field_name="ended_at", lookup_expr="isnull")
    started_after = django_filters.IsoDateTimeFilter(field_name="started_at", lookup_expr="gte")
    started_before = django_filters.IsoDateTimeFilter(field_name="started_at", lookup_expr="lt")

    class Meta:
        model = Gap
        fields: ClassVar[list[str]] = []


@extend_schema(tags=["state"])
class GapViews(ReadOnlyModelViewSet[Gap]):
    """Silences of pipelines, newest first."""

    queryset = Gap.objects.select_related("pipeline__market")
    serializer_class = GapSerializer
    permission_classes = [AllowAny]
    filterset_class = GapFilters
    orderings = ("-started_at", "started_at", "-missed_count")


# --- exports ------------------------------------------------------------------------------------------------------


class ExportQuerySerializer(serializers.Serializer[Any]):
    exchange = serializers.CharField(required=False, max_length=64)
    symbol = serializers.CharField(required=False, max_length=100)
    pipeline = serializers.IntegerField(required=False, min_value=0, max_value=2**31 - 1)
    cause = serializers.ChoiceField(choices=GapCause.choices, required=False)
    state = serializers.ChoiceField(choices=GapState.choices, required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        start = serializers.DateTimeField(help_text="Inclusive.")
        end = serializers.DateTimeField(required=False, help_text="Exclusive. Default: now.")
        kind = self.context.get("kind")
        filters = {name: field for name, field in super().get_fields().items() if kind is None or name in kind.filters}
        return {"from": start, "to": end, **filters}

    def validate(self, query: dict[str, Any]) -> dict[str, Any]:
        kind: exports.Kind = self.context["kind"]
        start, end = query["from"], query.setdefault("to", self.context["now"])
        if start >= end:
            raise serializers.ValidationError({"from": ["It must be before `to`."]})
        if end - start > kind.longest:
            raise serializers.ValidationError({"from": [f"At most {kind.longest.days} days before `to`."]})
        if kind.needs_one_of and not any(name in query for name in kind.needs_one_of):
            raise serializers.ValidationError({name: ["Name one of these."] for name in kind.needs_one_of})
        return query


class MayExport(MayManage):
    """The admin key, or staff who may read these rows in the admin: an export costs far more than a page."""


@extend_schema(
    tags=["exports"],
    parameters=[ExportQuerySerializer],
    responses={(200, "text/csv"): OpenApiTypes.STR, 503: OpenApiResponse(description="Too many exports are running.")},
)
class ExportViews(ViewSet):
    """Gaps, ticks and rollups as CSV, streamed. Cells that a spreadsheet would take for formulas are quoted."""

    authentication_classes = [AdminKeyAuthentication, StaffSession]
    permission_classes = [MayExport]

    def permission_of(self, action: str | None) -> str:
        return {"ticks": "collectors.view_pipeline", "rollups": "collectors.view_pipeline"}.get(
            action or "", "collectors.view_gap"
        )

    def gaps(self, request: Request) -> HttpResponseBase:
        """Gaps that started in a span of at most a month."""
        return self._export("gaps", request)

    def ticks(self, request: Request) -> HttpResponseBase:
        """Stored quotes of an exchange or a pipeline, at most a day."""
        return self._export("ticks", request)

    def rollups(self, request: Request) -> HttpResponseBase:
        """Minutes of an exchange or a pipeline, at most a week."""
        return self._export("rollups", request)

    def _export(self, name: str, request: Request) -> HttpResponseBase:
        kind, now = exports.KINDS[name], clock.now()
        query = ExportQuerySerializer(data=request.query_params, context={"kind": kind, "now": now})
        query.is_valid(raise_exception=True)
        wanted = dict(query.validated_data)
        start, end = wanted.pop("from"), wanted.pop("to")
        try:
            chunks = exports.stream(kind, {"start": start, "end": end, **wanted})
        except exports.TooMany as error:
            raise ServiceUnavailable(f"{error}; try again in a minute.") from error
        disposition = f'attachment; filename="{name}-{start:%Y%m%dT%H%M%SZ}.csv"'
        headers = {**NO_STORE, "Content-Disposition": disposition}
        return StreamingHttpResponse(chunks, content_type="text/csv; charset=utf-8", headers=headers)


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
    happened_after = django_filters.IsoDateTimeFilter(field_name="happened_at", lookup_expr="gte")
    happened_before = django_filters.IsoDateTimeFilter(field_name="happened_at", lookup_expr="lt")

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
