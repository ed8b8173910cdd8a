"""Answers what anybody may read: the configuration and the list of supported exchanges."""

from __future__ import annotations

import orjson
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from exchanges import catalogue
from operations.api.descriptions import EXAMPLE_TIME, answers


class CatalogueViews(ViewSet):
    """The exchanges that are collected, and what they can do."""

    authentication_classes = []
    permission_classes = [AllowAny]

    @extend_schema(
        operation_id="exchanges_config",
        tags=["exchanges"],
        auth=[],
        responses=answers(
            "exchanges_config",
            {
                "exchanges": [
                    {
                        "id": "binance",
                        "name": "Binance",
                        "has": {"fetchTickers": True, "fetchOrderBook": True, "fetchOHLCV": True},
                        "timeframes": ["1m", "1h"],
                        "active_pairs": ["BTC/USDT"],
                        "status": "running",
                        "blacklisted": False,
                    }
                ],
                "config": {"blacklistedExchanges": ["coinbase"]},
                "activeExchanges": ["binance"],
                "availableExchanges": ["binance", "coinbase", "kraken"],
                "timestamp": EXAMPLE_TIME,
            },
        ),
    )
    def config(self, request: Request) -> Response | HttpResponse:
        """Returns every exchange that is not blacklisted. Cached for up to an hour, made anew at every change."""
        return _from_cache(request, catalogue.config())

    @extend_schema(
        operation_id="exchanges_supported",
        tags=["exchanges"],
        auth=[],
        responses=answers("exchanges_supported", {"exchanges": ["binance", "kraken"], "count": 2}),
    )
    def supported(self, request: Request) -> Response | HttpResponse:
        """Returns the ids of the exchanges that are collected, sorted."""
        return _from_cache(request, catalogue.supported())


def _from_cache(request: Request, body: bytes) -> Response | HttpResponse:
    """Returns the cached bytes as they are, except for browsers."""
    if request.accepted_renderer.format == "json":
        return HttpResponse(body, content_type="application/json")
    return Response(orjson.loads(body))
