"""Describes the pairs and pipelines APIs in the OpenAPI schema: fields, errors and their documented examples."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_view,
    inline_serializer,
)
from rest_framework import serializers as fields

from collectors.status.rates_schema import RATES, RATES_EXAMPLE

KEY_HEADER = OpenApiParameter("X-API-Key", str, OpenApiParameter.HEADER, description="The API key.")
KEY_QUERY = OpenApiParameter("api-key", str, description="The API key; the header wins when both are present.")


def _parameter(name: str, description: str, kind: Any = str) -> OpenApiParameter:
    return OpenApiParameter(name, kind, description=description)


# --- errors -----------------------------------------------------------------------------------------------------

PAIRS_ERROR = inline_serializer(
    "Document3Error",
    {
        "error": fields.CharField(),
        "message": fields.CharField(),
        "status": fields.IntegerField(),
        "detail": fields.CharField(required=False),
        "retry_after_seconds": fields.IntegerField(required=False),
        "tier": fields.CharField(required=False),
        "tier_limit": fields.CharField(required=False),
        "required_tier": fields.CharField(required=False),
    },
)
PIPELINES_ERROR = inline_serializer(
    "Document4Error",
    {
        "error": fields.CharField(),
        "message": fields.CharField(),
        "required_tier": fields.CharField(required=False, help_text="The lowest plan that would do."),
    },
)
PAIRS_BAD_KEY = {
    "error": "unauthorized",
    "message": "Invalid or missing API key. Include a valid key in the X-API-Key header.",
    "status": 401,
}
PAIRS_LIMITED = {
    "error": "rate_limit_exceeded",
    "message": "Rate limit exceeded. Retry after 42 seconds.",
    "status": 429,
    "detail": "You have used 10/10 requests this minute",
    "retry_after_seconds": 42,
    "tier": "free",
    "tier_limit": "10 req/min",
}
PIPELINES_BAD_KEY = {"error": "unauthorized", "message": "Missing or invalid api-key."}
PIPELINES_LOCKED = {
    "error": "tier_locked",
    "message": "Your plan does not have access to this endpoint.",
    "required_tier": "pro",
}
PIPELINES_LIMITED = {"error": "rate_limit_exceeded", "message": "Rate limit exceeded. Retry after 12 seconds."}
PIPELINES_UNPAID = {
    "error": "credits_exhausted",
    "message": "This request costs 25 credits and 10 are left. They are renewed at 2026-04-01T00:00:00Z.",
}
PIPELINES_BAD_SOURCE = {"error": "invalid_source", "message": "The source value is not recognized."}


def _response(shape: Any, description: str, example: dict[str, Any] | None = None) -> OpenApiResponse:
    return OpenApiResponse(shape, description, examples=[OpenApiExample(description, example)] if example else [])


def _errors_3() -> dict[int, Any]:
    return {
        400: _response(PAIRS_ERROR, "A parameter is wrong"),
        401: _response(PAIRS_ERROR, "No valid key", PAIRS_BAD_KEY),
        403: _response(PAIRS_ERROR, "The key may not be used for this"),
        429: _response(PAIRS_ERROR, "Rate limit or monthly quota", PAIRS_LIMITED),
        503: _response(PAIRS_ERROR, "The status cannot be read now"),
    }


def _errors_4() -> dict[int, Any]:
    return {
        400: _response(PIPELINES_ERROR, "A parameter is wrong", PIPELINES_BAD_SOURCE),
        401: _response(PIPELINES_ERROR, "No valid key", PIPELINES_BAD_KEY),
        402: _response(PIPELINES_ERROR, "No credits left", PIPELINES_UNPAID),
        403: _response(PIPELINES_ERROR, "The plan does not open this", PIPELINES_LOCKED),
        429: _response(PIPELINES_ERROR, "Rate limit", PIPELINES_LIMITED),
        503: _response(PIPELINES_ERROR, "The status cannot be read now"),
    }


# --- answers ----------------------------------------------------------------------------------------------------

PAIRS = inline_serializer(
    "PairsStatus",
    {
        "status": fields.ChoiceField(["operational", "degraded", "outage"]),
        "collectors": inline_serializer(
            "PairsCollector",
            {
                "exchange": fields.CharField(),
                "status": fields.ChoiceField(["running", "stopped", "error"]),
                "last_heartbeat": fields.DateTimeField(allow_null=True),
            },
            many=True,
        ),
        "pairs": inline_serializer(
            "Pair",
            {
                "pair": fields.CharField(),
                "last_update": fields.DateTimeField(allow_null=True),
                "freshness_seconds": fields.IntegerField(allow_null=True),
                "status": fields.ChoiceField(["fresh", "stale", "unavailable"]),
            },
            many=True,
        ),
        "timestamp": fields.DateTimeField(),
    },
)
PAIRS_EXAMPLE = {
    "status": "operational",
    "collectors": [{"exchange": "luno", "status": "running", "last_heartbeat": "2026-03-23T11:59:55Z"}],
    "pairs": [
        {"pair": "BTCNGN", "last_update": "2026-03-23T11:59:53Z", "freshness_seconds": 7, "status": "fresh"},
    ],
    "timestamp": "2026-03-23T12:00:00Z",
}
PIPELINES = inline_serializer(
    "PipelinesStatus",
    {
        "data": inline_serializer(
            "PipelineStatus",
            {
                "source": fields.CharField(),
                "symbol": fields.CharField(),
                "last_ingested": fields.DateTimeField(allow_null=True),
                "delay_seconds": fields.IntegerField(allow_null=True),
                "status": fields.ChoiceField(["healthy", "degraded", "down"]),
                "gaps_last_24h": fields.IntegerField(),
            },
            many=True,
        ),
        "meta": inline_serializer(
            "PipelinesMeta",
            {
                "symbol": fields.CharField(allow_null=True),
                "source": fields.CharField(allow_null=True),
                "interval": fields.CharField(allow_null=True),
                "count": fields.IntegerField(),
                "next_cursor": fields.CharField(allow_null=True),
                "capped": fields.BooleanField(required=False, help_text="Only when the plan gives fewer rows."),
            },
        ),
    },
)
PIPELINES_EXAMPLE = {
    "data": [
        {
            "source": "binance_spot",
            "symbol": "BTC",
            "last_ingested": "2026-03-09T14:22:58Z",
            "delay_seconds": 2,
            "status": "healthy",
            "gaps_last_24h": 0,
        }
    ],
    "meta": {"symbol": "BTC", "source": "binance_spot", "interval": None, "count": 1, "next_cursor": None},
}
LIMITS = inline_serializer(
    "Limits",
    {
        "plan": fields.CharField(),
        "credits": inline_serializer(
            "Credits",
            {
                "used": fields.IntegerField(),
                "limit": fields.IntegerField(allow_null=True),
                "remaining": fields.IntegerField(allow_null=True),
            },
        ),
        "rate_limits": inline_serializer(
            "RateLimits",
            {
                "requests_per_minute": fields.IntegerField(allow_null=True),
                "requests_per_hour": fields.IntegerField(allow_null=True),
                "current_minute": fields.IntegerField(allow_null=True),
                "current_hour": fields.IntegerField(allow_null=True),
            },
        ),
        "features": fields.DictField(child=fields.BooleanField()),
        "max_rows_per_request": fields.IntegerField(),
    },
)
LIMITS_EXAMPLE = {
    "plan": "pro",
    "credits": {"used": 50, "limit": 2500000, "remaining": 2499950},
    "rate_limits": {
        "requests_per_minute": 120,
        "requests_per_hour": 3600,
        "current_minute": 3,
        "current_hour": 3,
    },
    "features": {"pairs": True, "pipelines": True, "rates": True, "sources": True, "limits": True},
    "max_rows_per_request": 10000,
}
SOURCES = inline_serializer(
    "Sources",
    {
        "data": inline_serializer(
            "Source",
            {
                "source": fields.CharField(),
                "display_name": fields.CharField(),
                "symbols": fields.ListField(child=fields.CharField()),
                "intervals": fields.ListField(child=fields.CharField()),
            },
            many=True,
        )
    },
)
SOURCES_EXAMPLE = {
    "data": [
        {
            "source": "binance_spot",
            "display_name": "Binance Spot",
            "symbols": ["BTC", "ETH"],
            "intervals": ["1m", "5m", "1h"],
        }
    ]
}

FILTERS = [
    _parameter("source", "One source, like binance_spot, in any case."),
    _parameter("symbol", "One base asset, like BTC, in any case."),
    OpenApiParameter("limit", OpenApiTypes.INT, description="Rows at most; the plan caps it."),
    _parameter("after", "Where to go on: `meta.next_cursor` of the answer before."),
]


def _described(operation_id: str, shape: Any, example: Any, errors: dict[int, Any], **more: Any) -> Any:
    answered = OpenApiResponse(shape, examples=[OpenApiExample("Answer", example)])
    return extend_schema_view(
        get=extend_schema(operation_id=operation_id, auth=[], responses={200: answered, **errors}, **more)
    )


pairs = _described(
    "v1_status_pairs", PAIRS, PAIRS_EXAMPLE, _errors_3(), tags=["pair freshness"], parameters=[KEY_HEADER]
)
rates = _described(
    "v1_rates_live",
    RATES,
    RATES_EXAMPLE,
    _errors_3(),
    tags=["pair freshness"],
    parameters=[
        KEY_HEADER,
        _parameter("pairs", "Pairs with commas between them; all when omitted."),
        OpenApiParameter(
            "max_age", OpenApiTypes.INT, description="Older sources are left out while there are others (1-1800, 60)."
        ),
        OpenApiParameter("kind", str, enum=["spot", "perpetual", "all"], description="Which markets count (all)."),
    ],
)
pipelines = _described(
    "v1_status_pipelines",
    PIPELINES,
    PIPELINES_EXAMPLE,
    _errors_4(),
    tags=["pipelines"],
    parameters=[KEY_HEADER, KEY_QUERY, *FILTERS],
)
limits = _described(
    "v1_limits", LIMITS, LIMITS_EXAMPLE, _errors_4(), tags=["pipelines"], parameters=[KEY_HEADER, KEY_QUERY]
)
sources = _described(
    "v1_sources", SOURCES, SOURCES_EXAMPLE, _errors_4(), tags=["pipelines"], parameters=[KEY_HEADER, KEY_QUERY]
)

_EITHER = PolymorphicProxySerializer("StatusOfEitherDocument", [PAIRS, PIPELINES], resource_type_field_name=None)
_EITHER_ERROR = PolymorphicProxySerializer("EitherError", [PAIRS_ERROR, PIPELINES_ERROR], resource_type_field_name=None)
status = extend_schema_view(
    get=extend_schema(
        operation_id="v1_status",
        auth=[],
        tags=["pair freshness", "pipelines"],
        description="Pairs; with any of api-key, source, symbol, limit or after in the query, pipelines "
        "(the pipelines API).",
        parameters=[KEY_HEADER, KEY_QUERY, *FILTERS],
        responses={
            200: OpenApiResponse(
                _EITHER,
                examples=[OpenApiExample("Pairs", PAIRS_EXAMPLE), OpenApiExample("Pipelines", PIPELINES_EXAMPLE)],
            ),
            **{code: OpenApiResponse(_EITHER_ERROR) for code in (400, 401, 402, 403, 429, 503)},
        },
    )
)
