"""Describes the routes in OpenAPI, with an example for every answer, failures included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, inline_serializer
from rest_framework import serializers

from access.admin_key import AdminKeyRefused

EXAMPLE_TIME = "2026-03-03T10:30:47Z"
CONNECTIVITY_EXAMPLE = {"health": "ok", "capabilities": "ok", "rate_limit": "ok", "worker": "started"}
DISABLED = {
    "error": "Service Unavailable",
    "message": "Admin endpoints are disabled (ADMIN_API_KEY not set)",
    "timestamp": EXAMPLE_TIME,
}
PARAMETER_MISSING = {"error": "Exchange parameter is required"}
COLLECTOR_MISSING = {"error": "Collector service not available"}


class ProblemSerializer(serializers.Serializer[Any]):
    error = serializers.CharField()
    message = serializers.CharField(required=False)
    code = serializers.CharField(required=False)
    timestamp = serializers.DateTimeField(required=False)
    details = serializers.DictField(required=False, help_text="What is wrong, by field.")
    availableExchanges = serializers.ListField(child=serializers.CharField(), required=False)  # noqa: N815
    connectivity = serializers.DictField(child=serializers.CharField(), required=False)


def failure(title: str, message: str, *, now: str = EXAMPLE_TIME, **more: Any) -> dict[str, Any]:
    return {"error": title, "message": message, "timestamp": now, **more}


def answers(
    name: str, success: Mapping[str, Any], *, shape: Any = None, **failures: Sequence[Mapping[str, Any]]
) -> dict[int, Any]:
    """Returns OpenAPI responses: 200 with its example, and every failure with its own.

    The shape is the example's, unless one is given: where a value may be null or absent.
    """
    fields = {key: _field(value) for key, value in success.items()}
    shape = shape or inline_serializer(f"{name}_answer", fields)
    found: dict[int, Any] = {200: OpenApiResponse(shape, examples=[OpenApiExample("Done", success)])}
    for status, examples in failures.items():
        found[int(status.removeprefix("s"))] = OpenApiResponse(
            ProblemSerializer,
            examples=[OpenApiExample(str(example.get("message", example["error"])), example) for example in examples],
        )
    return found


def _field(value: Any) -> serializers.Field[Any, Any, Any, Any]:
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return serializers.ListField(child=serializers.DictField())
    if isinstance(value, list):
        return serializers.ListField(child=serializers.CharField())
    if isinstance(value, Mapping):
        return serializers.DictField()
    if isinstance(value, int | float):
        if isinstance(value, bool):
            return serializers.BooleanField()
        return serializers.FloatField() if isinstance(value, float) else serializers.IntegerField()
    return serializers.DateTimeField() if value == EXAMPLE_TIME else serializers.CharField()


def operator_answers(
    name: str, success: Mapping[str, Any], *, shape: Any = None, **failures: Sequence[Mapping[str, Any]]
) -> dict[int, Any]:
    failures["s503"] = [DISABLED, *failures.get("s503", ())]
    return answers(name, success, shape=shape, s401=[AdminKeyRefused.body], **failures)


EXCHANGE_PARAMETER = OpenApiParameter(
    "exchange", OpenApiTypes.STR, OpenApiParameter.PATH, description="1-64 of a-z, 0-9, _ and -; case does not matter."
)


def header_parameter(name: str, description: str) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.STR, OpenApiParameter.HEADER, description=description, response=[200])
