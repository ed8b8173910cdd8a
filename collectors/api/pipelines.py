"""The ingestion of each market: its newest quote, and what was stored over a span."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

import django_filters
from django.conf import settings
from django.db.models import F, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field, inline_serializer
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from access import data
from access.models import Endpoint
from archive import switch
from collectors.api import as_of, quality
from collectors.history import reading as history
from collectors.history.quality import KEPT_DAYS, of_span
from collectors.models import Origin, Pipeline
from collectors.rules import cadence
from collectors.rules.age import AnswerState, of_json
from collectors.rules.quality import Quality
from collectors.status import disbelief
from exchanges.models import MarketState
from exchanges.symbols import SymbolFilter
from lib import clock
from web.filters import MomentFilter, YesNoFilter
from web.queries import StrictQuery

IN_MINUTES = (Origin.LIVE, Origin.CANDLE, Origin.TRADE)  # what was stamped in the future is in no minute
EARLIEST = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class PipelineSerializer(serializers.ModelSerializer[Pipeline]):
    id = serializers.IntegerField(source="market_id")
    exchange = serializers.CharField(source="market.exchange_id")
    symbol = serializers.CharField(source="market.symbol")
    source = serializers.CharField(source="market.source")  # type: ignore[assignment]
    active = serializers.BooleanField(source="market.active")
    state = serializers.ChoiceField(source="market.state", choices=MarketState.choices)
    is_old = serializers.SerializerMethodField(help_text="The exchange's answers are old by its own time.")
    is_frozen = serializers.BooleanField(source="frozen", help_text="Rows come, and their values stand still.")
    frozen = serializers.BooleanField(help_text="The old name of `is_frozen`.")
    is_unconfirmed = serializers.BooleanField(help_text="Its price has jumped, and nothing else agrees yet.")
    exchange_age_seconds = serializers.SerializerMethodField(
        help_text="Age of the newest answer of its kind by the exchange's own time; null where it tells none."
    )
    reason = serializers.SerializerMethodField(help_text="Why its price is in no rate; empty for a sound one.")
    cadence_reason = serializers.SerializerMethodField(help_text="Why it is expected so often.")
    identity_unproven_before = serializers.DateTimeField(
        source="market.identity_since",
        read_only=True,
        allow_null=True,
        help_text="Rows stored before this may be another market's; null where all are proven.",
    )
    origins = serializers.SerializerMethodField(
        help_text="Rows of the newest hour of finished minutes, which ends about 90 seconds ago, by where they come "
        "from (of candles, the minutes that nothing else covers); null while no minute of the last hour is rolled up."
    )

    class Meta:
        model = Pipeline
        fields = [
            "id",
            "exchange",
            "symbol",
            "source",
            "active",
            "state",
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
            "is_frozen",
            "is_old",
            "is_unconfirmed",
            "exchange_age_seconds",
            "reason",
            "identity_unproven_before",
            "origins",
        ]
        read_only_fields = fields

    def get_is_old(self, pipeline: Pipeline) -> bool:
        state = self._answers(pipeline)
        return state is not None and state.is_old

    def get_exchange_age_seconds(self, pipeline: Pipeline) -> float | None:
        state = self._answers(pipeline)
        if state is None or state.lag_seconds is None:
            return None
        now: datetime = self.context["now"]
        return round(max(0.0, now.timestamp() - state.shown_at), 1)

    def get_reason(self, pipeline: Pipeline) -> str:
        return disbelief.reason(pipeline, self._answers(pipeline))

    def _answers(self, pipeline: Pipeline) -> AnswerState | None:
        known: dict[str, dict[str, AnswerState]] = self.context["answers"]
        exchange = pipeline.market.exchange_id
        if exchange not in known:  # once for each exchange of a page
            known[exchange] = of_json(getattr(pipeline, "answers", None))
        return known[exchange].get(pipeline.market.kind)

    def get_cadence_reason(self, pipeline: Pipeline) -> str:
        return cadence.reason(
            pipeline.expected_seconds,
            poll_seconds=pipeline.market.exchange.poll_interval_seconds,
            ceiling_seconds=settings.CADENCE_CEILING_SECONDS,
        )

    @extend_schema_field(
        inline_serializer(
            "origins", {origin.name.lower(): serializers.IntegerField() for origin in IN_MINUTES}, allow_null=True
        )
    )
    def get_origins(self, pipeline: Pipeline) -> dict[str, int] | None:
        counts: dict[str, int] | None = getattr(pipeline, "origins", None)
        return counts


class PipelineFilters(django_filters.FilterSet):
    exchange = django_filters.CharFilter(field_name="market__exchange_id")
    symbol = SymbolFilter("market_id")
    source = django_filters.CharFilter(field_name="market__source")
    base = django_filters.CharFilter(field_name="market__base")
    quote = django_filters.CharFilter(field_name="market__quote")
    active = YesNoFilter(field_name="market__active")
    gap_open = YesNoFilter()
    frozen = YesNoFilter()
    state = django_filters.ChoiceFilter(field_name="market__state", choices=MarketState.choices)
    unconfirmed = YesNoFilter(field_name="unconfirmed_count", method="filter_unconfirmed")
    received_before = MomentFilter(field_name="received_at", lookup_expr="lt")
    received_after = MomentFilter(field_name="received_at", lookup_expr="gte")

    class Meta:
        model = Pipeline
        fields: ClassVar[list[str]] = []

    def filter_unconfirmed(self, queryset: QuerySet[Pipeline], name: str, value: bool) -> QuerySet[Pipeline]:
        return queryset.filter(unconfirmed_count__gt=0) if value else queryset.filter(unconfirmed_count=0)


class HistoryQuerySerializer(StrictQuery):
    grain = serializers.ChoiceField(choices=["auto", "raw", "minute"], default="auto")
    limit = serializers.IntegerField(min_value=1, max_value=1000, default=1000)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # `from` is no name for a class attribute.
        start = serializers.DateTimeField(required=False, help_text="Default: an hour before `to`.")
        end = serializers.DateTimeField(required=False, help_text="Exclusive. Default: now.")
        return {"from": start, "to": end, "as_of": as_of.field(), "min_quality": quality.LeastQualityField(),
                **super().get_fields()}  # fmt: skip

    def validate(self, query: dict[str, Any]) -> dict[str, Any]:
        as_of.require_past(query.get("as_of"), self.context["now"])
        end = query.setdefault("to", self.context["now"])
        if "from" not in query:
            query["from"] = max(end, EARLIEST + timedelta(hours=1)) - timedelta(hours=1)
        if query["from"] >= end:
            raise serializers.ValidationError({"from": ["It must be before `to`."]})
        days = max(settings.ROLLUP_RETENTION_DAYS, KEPT_DAYS if switch.is_on() else 0)
        longest = timedelta(days=days + 1)
        if end - query["from"] > longest:
            raise serializers.ValidationError({"from": [f"At most {longest.days} days before `to`; more is not kept."]})
        return query


class HistorySerializer(serializers.Serializer[Any]):
    pipeline = serializers.IntegerField()
    grain = serializers.ChoiceField(choices=["raw", "minute"])
    columns = serializers.ListField(child=serializers.CharField())
    as_of = serializers.DateTimeField(allow_null=True, help_text="As asked for.")
    rows = serializers.ListField(child=serializers.ListField(), help_text="Oldest first, values as in `columns`.")
    quality = quality.QualitySerializer(help_text="Of the whole span.")
    is_cut = serializers.BooleanField(help_text="True when `limit` left rows out: continue with a later `from`.")
    identity_unproven_before = serializers.DateTimeField(
        allow_null=True, help_text="Rows from before this may be another market's; null where all are proven."
    )


@extend_schema(tags=["state"])
class PipelineViews(data.DataView, ReadOnlyModelViewSet[Pipeline]):
    """The ingestion of each market: its newest stored quote and its gaps."""

    queryset = Pipeline.objects.select_related("market__exchange")
    serializer_class = PipelineSerializer
    permission_classes = [AllowAny]
    filterset_class = PipelineFilters
    orderings = ("id", "-id", "gaps_24h", "-gaps_24h")
    data_endpoint = Endpoint.HISTORY

    def get_permissions(self) -> Sequence[Any]:
        return [data.MayReadData()] if self.action == "history" else super().get_permissions()

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "answers": {}, "now": clock.now()}

    def get_queryset(self) -> QuerySet[Pipeline]:
        return super().get_queryset().annotate(answers=F("market__exchange__worker__answers"))

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = super().filter_queryset(queryset)
        return chosen if self.action == "history" else history.with_origins(chosen, now=clock.now())

    @extend_schema(parameters=[HistoryQuerySerializer], responses=HistorySerializer, filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def history(self, request: Request, pk: str) -> Response:
        """Returns stored quotes of a span: raw while they are kept and the span is short, else by the minute.

        Minutes count their rows by origin (`live`, `candle`, `trade`); one that only the exchange's candle covers is
        that candle. With `as_of` the same question has the same answer after every later fill.
        """
        now = clock.now()
        query = HistoryQuerySerializer(data=request.query_params, context={"now": now})
        query.is_valid(raise_exception=True)
        wanted = query.validated_data
        pipeline, known = self.get_object(), wanted.get("as_of")
        as_of.require_known(known)
        packet = _quality(pipeline.pk, wanted, now)
        with as_of.refusing_unknown():
            found = history.read(
                pipeline.pk,
                start=wanted["from"],
                end=wanted["to"],
                limit=data.capped(request, wanted["limit"]),
                grain=wanted["grain"],
                now=now,
                as_of=known,
            )
        body = {"pipeline": pipeline.pk, "grain": found.grain, "columns": found.columns, "as_of": known}
        body |= {"rows": found.rows, "is_cut": found.is_cut, "identity_unproven_before": pipeline.market.identity_since}
        data.charge(request, len(found.rows))
        return Response({**body, "quality": packet.body()}, headers=as_of.headers(known, now))


def _quality(pipeline_id: int, wanted: Mapping[str, Any], now: datetime) -> Quality:
    found = of_span(pipeline_id, start=wanted["from"], end=wanted["to"], now=now, as_of=wanted.get("as_of"))
    return quality.require(found, wanted.get("min_quality"))
