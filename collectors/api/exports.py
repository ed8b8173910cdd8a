"""CSV downloads: what may be asked for, and by whom."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.viewsets import ViewSet

from access import data, keys
from access.admin_key import AdminKeyAuthentication, MayManage, StaffSession
from access.authentication import HEADER
from access.models import Endpoint
from collectors.api import as_of, quality
from collectors.history import exports
from collectors.history.quality import of_exchange, of_span
from collectors.models import GapCause, GapState
from collectors.rules.quality import Quality
from exchanges.symbols import resolved_ids
from lib import clock
from web.errors import ServiceUnavailable
from web.queries import StrictQuery

FILTER_OF = {"symbol": "markets"}  # a symbol is resolved before it filters
NO_STORE = {"Cache-Control": "no-store"}


class ExportQuerySerializer(StrictQuery):
    exchange = serializers.CharField(required=False, max_length=64)
    symbol = serializers.CharField(required=False, max_length=100)
    pipeline = serializers.IntegerField(required=False, min_value=0, max_value=2**31 - 1)
    cause = serializers.ChoiceField(choices=GapCause.choices, required=False)
    state = serializers.ChoiceField(choices=GapState.choices, required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        start = serializers.DateTimeField(help_text="Inclusive.")
        end = serializers.DateTimeField(required=False, help_text="Exclusive. Default: now.")
        kind, fields = self.context.get("kind"), {**super().get_fields(), "as_of": as_of.field()}
        if kind is None or kind.has_quality:
            fields["min_quality"] = quality.LeastQualityField()
        count = serializers.BooleanField(
            default=False, help_text="Adds a last line, `# rows: 1500000`: a download without it is not whole."
        )
        filters = {
            name: field
            for name, field in fields.items()
            if kind is None or FILTER_OF.get(name, name) in (*kind.filters, "min_quality")
        }
        return {"from": start, "to": end, "with_count": count, **filters}

    def validate(self, query: dict[str, Any]) -> dict[str, Any]:
        kind: exports.Kind = self.context["kind"]
        as_of.require_past(query.get("as_of"), self.context["now"])
        start, end = query["from"], query.setdefault("to", self.context["now"])
        if start >= end:
            raise serializers.ValidationError({"from": ["It must be before `to`."]})
        if end - start > kind.longest:
            raise serializers.ValidationError({"from": [f"At most {kind.longest.days} days before `to`."]})
        if "symbol" in query:
            query["markets"] = resolved_ids(query.pop("symbol"), exchange_id=query.get("exchange"))
        if kind.needs_one_of and not any(name in query for name in kind.needs_one_of):
            raise serializers.ValidationError({name: ["Name one of these."] for name in kind.needs_one_of})
        return query


class MayExport(MayManage):
    """Permission for the admin key, staff who may read these rows in the admin, and keys of customers, who pay."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if isinstance(request.auth, CustomerKey):
            return data.MayReadData().has_permission(request, view)
        return super().has_permission(request, view)


class CustomerKey:
    """The mark of a request with a customer's key, which its plan judges."""


class CustomerAuthentication(BaseAuthentication):
    """Authentication by a customer's key, in the header X-API-Key; the plan decides what it opens."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, CustomerKey] | None:
        is_customers = keys.parse(request.headers.get(HEADER, "")) is not None
        return (AnonymousUser(), CustomerKey()) if is_customers else None


class CustomerKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = CustomerAuthentication
    name = "CustomerKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "header", "name": HEADER}


@extend_schema(
    tags=["exports"],
    parameters=[ExportQuerySerializer],
    responses={(200, "text/csv"): OpenApiTypes.STR, 503: OpenApiResponse(description="Too many exports are running.")},
)
class ExportViews(data.DataView, ViewSet):
    """Gaps, ticks and rollups as CSV, streamed. Cells that a spreadsheet would take for formulas are quoted.

    A download that fails on the way ends with a reset of its connection, which every client reports as an error. A
    reader who takes nothing for a minute is cut off in the same way.
    """

    authentication_classes = [CustomerAuthentication, AdminKeyAuthentication, StaffSession]
    permission_classes = [MayExport]
    data_endpoint = Endpoint.HISTORY

    def permission_of(self, action: str | None) -> str:
        return {"ticks": "collectors.view_pipeline", "rollups": "collectors.view_pipeline"}.get(
            action or "", "collectors.view_gap"
        )

    def gaps(self, request: Request) -> HttpResponseBase:
        """Returns gaps that started in a span of at most a month."""
        return self._export("gaps", request)

    def ticks(self, request: Request) -> HttpResponseBase:
        """Returns stored quotes of an exchange or a pipeline, at most a day."""
        return self._export("ticks", request)

    def rollups(self, request: Request) -> HttpResponseBase:
        """Returns minutes of an exchange or a pipeline, at most a week."""
        return self._export("rollups", request)

    def _export(self, name: str, request: Request) -> HttpResponseBase:
        kind, now = exports.KINDS[name], clock.now()
        query = ExportQuerySerializer(data=request.query_params, context={"kind": kind, "now": now})
        query.is_valid(raise_exception=True)
        wanted = dict(query.validated_data)
        start, end, with_count = wanted.pop("from"), wanted.pop("to"), wanted.pop("with_count")
        as_of.require_known(wanted.get("as_of"))
        packet = _quality(wanted, start, end, now) if kind.has_quality else None
        if packet is not None:
            quality.require(packet, wanted.pop("min_quality", None))
        values = {"start": start, "end": end, "now": now, **wanted}
        rows = _affordable_rows(request, kind, values)
        try:
            chunks = exports.stream(kind, values, with_count=with_count)
        except exports.TooMany as error:
            raise ServiceUnavailable(f"{error}; try again in a minute.") from error
        try:
            data.charge(request, rows)
        except data.DataRefused:
            exports.abandon(chunks)
            raise
        disposition = f'attachment; filename="{name}-{start:%Y%m%dT%H%M%SZ}.csv"'
        headers = {**NO_STORE, "Content-Disposition": disposition, **as_of.headers(wanted.get("as_of"), now)}
        headers |= quality.headers(packet) if packet is not None else {}
        return StreamingHttpResponse(chunks, content_type="text/csv; charset=utf-8", headers=headers)


def _affordable_rows(request: Request, kind: exports.Kind, values: Mapping[str, Any]) -> int:
    """Returns how many rows a key pays for, before the first one; 0 without a key. Refuses more than its plan gives."""
    most = data.reader_of(request).max_rows
    rows = 0 if most is None else exports.count(kind, values, most=most)
    if most is not None and rows > most:
        words = f"More rows than the {most:,} that your plan gives; ask for less."
        raise serializers.ValidationError({"from": [words]})
    return rows


def _quality(wanted: Mapping[str, Any], start: datetime, end: datetime, now: datetime) -> Quality:
    """Returns the quality of the one market that is exported, or what was counted live of the whole exchange."""
    numbers = [wanted["pipeline"]] if "pipeline" in wanted else wanted.get("markets", ())
    if len(numbers) == 1:
        return of_span(numbers[0], start=start, end=end, now=now, as_of=wanted.get("as_of"))
    return of_exchange(wanted.get("exchange", ""), start=start, end=end)
