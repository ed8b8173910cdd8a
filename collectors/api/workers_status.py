"""Worker status in the words of the worker status and exchange management APIs."""

from __future__ import annotations

from typing import Any

from django.db import Error as DatabaseFault
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from collectors.models import WorkerStatus
from collectors.status import workers as status
from collectors.status.dialects import workers
from lib import clock

NO_STORE = {"Cache-Control": "no-store"}


class WorkerEntrySerializer(serializers.Serializer[Any]):
    exchange = serializers.CharField()
    status = serializers.ChoiceField(choices=WorkerStatus.choices)
    last_update = serializers.DateTimeField(allow_null=True, help_text="When a row was last stored.")
    error_count = serializers.IntegerField(help_text="Failed runs in a row.")
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
    """The collectors of all exchanges."""

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
    """The collectors of all exchanges."""

    authentication_classes = ()
    permission_classes = [AllowAny]

    @_described("exchanges_workers_status", ABSENT_ON_EXCHANGES)
    def get(self, request: Request) -> Response:
        try:
            return Response(workers.render(status.read(clock.now())), headers=NO_STORE)
        except (status.CollectorAbsent, DatabaseFault):
            return Response(workers.absent_on_exchanges(), status=503, headers=NO_STORE)
