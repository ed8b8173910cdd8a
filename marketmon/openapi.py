"""Adds to the OpenAPI schema how every route below /api/v1 refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

REFUSALS = {
    400: "The request is wrong; `details` names the fields.",
    401: "No valid admin key.",
    403: "Staff without the permission, or without a CSRF token.",
    404: "There is no such row.",
    409: "The data has less than `min_quality`, or nobody wrote down what was known at `as_of`.",
    413: "The body is too large.",
    415: "The body is no JSON.",
    429: "Too many requests, or too many wrong keys from this address; Retry-After says for how long.",
    503: "The state cannot be read now.",
}
EITHER = {"EitherError", "StatusOfEitherDocument"}
PROBLEM = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
CONFLICT_FIELDS = ("error", "message")
CONFLICT = {
    "application/json": {
        "schema": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in CONFLICT_FIELDS},
            "required": [*CONFLICT_FIELDS],
        }
    }
}
ASKS_FOR_MORE = {"as_of", "min_quality"}

Operation = dict[str, Any]


def without_escapes(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """Returns the endpoints with paths as a caller writes them: a route's pattern has a backslash before each dot."""
    return [(path.replace("\\.", "."), pattern, method, view) for path, pattern, method, view in endpoints]


def describe_refusals(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Adds the refusals, as a hook of drf-spectacular's. What a view describes itself stays as it is."""
    for path, operations in result["paths"].items():
        if path.startswith("/api/v1/"):
            for operation in operations.values():
                _complete(path, operation)
    _admit_either(result)
    return result


def _admit_either(result: dict[str, Any]) -> None:
    """Allows either error shape where a path has two: one may fit both, and `oneOf` would then refuse it."""
    schemas = result.get("components", {}).get("schemas", {})
    for name in EITHER & schemas.keys():
        schemas[name]["anyOf"] = schemas[name].pop("oneOf")


def _complete(path: str, operation: Operation) -> None:
    responses = operation["responses"]
    for status in _refusals_of(path, operation):
        described = responses.setdefault(str(status), {"description": REFUSALS[status]})
        described.setdefault("content", CONFLICT if status == 409 else PROBLEM)
    operation["responses"] = dict(sorted(responses.items()))


def _refusals_of(path: str, operation: Mapping[str, Any]) -> Iterator[int]:
    yield from (400, 503)  # 400: control characters are refused in every path and every query
    if operation.get("requestBody"):
        yield from (413, 415)
    if "{" in path:
        yield 404
    if ASKS_FOR_MORE & {parameter["name"] for parameter in operation.get("parameters", ())}:
        yield 409
    yield 429
    if any("AdminKey" in way for way in operation.get("security", ())):
        yield from (401, 403)
