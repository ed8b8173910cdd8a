"""The quality that goes with every answer, refusals of what falls short of it, and calendars of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

import orjson
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import exceptions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access import data
from access.models import Endpoint
from collectors.api import as_of
from collectors.history import quality
from collectors.models import Pipeline
from collectors.rules import quality as rules
from collectors.rules.quality import Quality
from collectors.status.packets import QualitySerializer as QualitySerializer
from exchanges import symbols
from lib import clock
from web.queries import StrictQuery

HEADER = "X-Data-Quality"
MOST_PIPELINES = 50
LONGEST = timedelta(days=31)


class QualityTooLow(exceptions.APIException):
    """The refusal of data that is worse than what was asked for at least."""

    status_code = status.HTTP_409_CONFLICT

    def __init__(self, found: Quality, least: str | float) -> None:
        message = f"The quality of this span is {found.condition}, {_percent(found)} complete; asked for: {least}."
        super().__init__(message)
        self.body = {"error": "quality_too_low", "message": message, "quality": found.body()}


def _percent(found: Quality) -> str:
    return "not known how" if found.completeness is None else f"{int(found.completeness * 1e5) / 1e3:g} %"


@extend_schema_field(OpenApiTypes.STR)
class LeastQualityField(serializers.Field[Any, Any, Any, Any]):
    """A condition or a share that the data must have at least."""

    def __init__(self, **kwargs: Any) -> None:
        words = "Refused with 409 below it: `available`, `degraded` (anything there is), or a share such as 0.99."
        super().__init__(**{"required": False, "help_text": words, **kwargs})

    def to_internal_value(self, data: Any) -> Any:
        try:
            return rules.parse_least(str(data)[:20])
        except ValueError as error:
            raise serializers.ValidationError("available, degraded, or a share from 0 to 1.") from error


def require(found: Quality, least: str | float | None) -> Quality:
    """Returns the quality. Raises QualityTooLow below what was asked for."""
    if least is not None and not found.meets(least):
        raise QualityTooLow(found, least)
    return found


def headers(found: Quality) -> dict[str, str]:
    """Returns the packet as a header, for answers that have no place for it."""
    return {HEADER: orjson.dumps(found.body()).decode()}


# --- routes -----------------------------------------------------------------------------------------------------


class SpanSerializer(StrictQuery):
    exchange = serializers.CharField(required=False, max_length=64)
    symbol = serializers.CharField(max_length=100, help_text="In any usual spelling.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # `from` is no name for a class attribute.
        start = serializers.DateTimeField(required=False, help_text="Default: a day before `to`.")
        end = serializers.DateTimeField(required=False, help_text="Exclusive. Default: now.")
        return {**super().get_fields(), "from": start, "to": end, "as_of": as_of.field()}

    def validate(self, query: dict[str, Any]) -> dict[str, Any]:
        as_of.require_past(query.get("as_of"), self.context["now"])
        end = query.setdefault("to", query.get("as_of") or self.context["now"])
        start = query.setdefault("from", end - timedelta(days=1))
        if start >= end or end - start > LONGEST:
            raise serializers.ValidationError({"from": [f"Before `to`, by at most {LONGEST.days} days."]})
        return query


class PipelineQualitySerializer(serializers.Serializer[Any]):
    pipeline = serializers.IntegerField()
    exchange = serializers.CharField()
    symbol = serializers.CharField()
    quality = QualitySerializer()


class QualitiesSerializer(serializers.Serializer[Any]):
    results = PipelineQualitySerializer(many=True, help_text="One for each exchange that has it.")


@extend_schema(tags=["data"])
class QualityViews(data.DataView, APIView):
    """The quality of a pair's data, on each exchange that has it."""

    data_endpoint = Endpoint.HISTORY

    @extend_schema(parameters=[SpanSerializer], responses=QualitiesSerializer)
    def get(self, request: Request) -> Response:
        """Returns the quality in [from, to) of the market on one exchange or on all."""
        now = clock.now()
        wanted = _valid(SpanSerializer, request, now)
        numbers = symbols.resolved_ids(wanted["symbol"], exchange_id=wanted.get("exchange"))
        pipelines = Pipeline.objects.filter(pk__in=numbers).select_related("market").order_by("market__exchange_id")
        span = {"start": wanted["from"], "end": wanted["to"], "now": now, "as_of": wanted.get("as_of")}
        as_of.require_known(wanted.get("as_of"))
        rows = [
            {"pipeline": each.pk, "exchange": each.market.exchange_id, "symbol": each.market.symbol,
             "quality": quality.of_span(each.pk, **span).body()}
            for each in pipelines[:MOST_PIPELINES]
        ]  # fmt: skip
        data.charge(request, len(rows))
        return Response({"results": rows}, headers=as_of.headers(wanted.get("as_of"), now))


class CalendarQuerySerializer(StrictQuery):
    exchange = serializers.CharField(max_length=64)
    symbol = serializers.CharField(max_length=100, help_text="In any usual spelling.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        first = serializers.DateField(required=False, help_text="Default: 90 days with `to`.")
        last = serializers.DateField(required=False, help_text="Inclusive. Default: today.")
        return {**super().get_fields(), "from": first, "to": last}

    def validate(self, query: dict[str, Any]) -> dict[str, Any]:
        last: date = query.setdefault("to", self.context["now"].date())
        first: date = query.setdefault("from", last - timedelta(days=89))
        if not 0 <= (last - first).days < quality.KEPT_DAYS:
            raise serializers.ValidationError({"from": [f"Not after `to`, and at most {quality.KEPT_DAYS} days."]})
        return query


class CalendarDaySerializer(serializers.Serializer[Any]):
    day = serializers.DateField()
    condition = serializers.ChoiceField(choices=rules.CONDITIONS)
    completeness = serializers.FloatField(allow_null=True)
    expected = serializers.IntegerField()
    stored = serializers.IntegerField()
    filled = serializers.IntegerField()
    longest_gap_seconds = serializers.FloatField()
    worst_cause = serializers.CharField(allow_null=True)


class CalendarSerializer(serializers.Serializer[Any]):
    exchange = serializers.CharField()
    symbol = serializers.CharField()
    days = CalendarDaySerializer(
        many=True, help_text="Oldest first; days (UTC) of which nothing is known are left out."
    )


@extend_schema(tags=["data"])
class QualityCalendar(data.DataView, APIView):
    """The quality of one market's data day by day, for as long as 400 days."""

    data_endpoint = Endpoint.HISTORY

    @extend_schema(parameters=[CalendarQuerySerializer], responses=CalendarSerializer)
    def get(self, request: Request) -> Response:
        """Returns the days (UTC) from `from` to `to`, both inclusive."""
        now = clock.now()
        wanted = _valid(CalendarQuerySerializer, request, now)
        market = symbols.resolved(wanted["exchange"], wanted["symbol"])
        days = quality.calendar(market.id, first=wanted["from"], last=wanted["to"], now=now)
        rows = [_day(row) for row in days if row[1] or row[2]]
        data.charge(request, len(rows))
        return Response({"exchange": market.exchange_id, "symbol": market.symbol, "days": rows})


def _day(row: tuple[Any, ...]) -> Mapping[str, Any]:
    day, expected, stored, filled, longest, worst_cause = row
    found = Quality(expected, stored, filled, {}, has_rows=stored > 0, worst_cause=worst_cause or None).body()
    kept = {name: found[name] for name in ("condition", "completeness", "expected", "stored", "filled", "worst_cause")}
    return {"day": day, **kept, "longest_gap_seconds": round(longest, 3)}


def _valid(kind: type[StrictQuery], request: Request, now: datetime) -> dict[str, Any]:
    query = kind(data=request.query_params, context={"now": now})
    query.is_valid(raise_exception=True)
    return dict(query.validated_data)
