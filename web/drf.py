"""What DRF uses on all our API routes: guarded request bodies, content negotiation, and pages by cursor."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import orjson
from django.core import signing
from django.core.exceptions import ValidationError
from django.db import OperationalError, connections, transaction
from django.db.models import Field, ForeignKey, Model, Q, QuerySet
from django.http import HttpRequest
from django.template import loader
from rest_framework import exceptions, status
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.pagination import BasePagination
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

if TYPE_CHECKING:  # DRF's settings name this module, so its views cannot be imported here
    from rest_framework.views import APIView

# --- bodies in and out ------------------------------------------------------------------------------------------

BODY_BYTES = 64 * 1024  # our longest documented body is under 1 KB
BODY_DEPTH = 32
LIST_SECONDS = 3
QUERY_CANCELED = "57014"
# A string without an end goes to the end of the text: nothing in it is looked at twice.
_BRACKETS_OUTSIDE_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class PayloadTooLarge(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = f"The request body may have {BODY_BYTES // 1024} KB."
    default_code = "too_large"


class TooLongToRead(exceptions.APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = (
        f"This list could not be read within {LIST_SECONDS} s. Bound it by time, exchange or pipeline, or try again."
    )
    default_code = "too_long"


class GuardedJSONParser(BaseParser):
    """A parser of JSON of bounded size and depth; orjson refuses NaN, bad UTF-8 and lone surrogates."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        request = (parser_context or {}).get("request")
        announced = request.META.get("CONTENT_LENGTH") or "0" if request is not None else "0"
        if not announced.isdecimal() or int(announced) > BODY_BYTES:
            raise PayloadTooLarge
        body = stream.read(BODY_BYTES + 1)
        if len(body) > BODY_BYTES:
            raise PayloadTooLarge
        if nesting_depth(body) > BODY_DEPTH:
            raise exceptions.ParseError(f"The JSON may be nested {BODY_DEPTH} levels deep.")
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise exceptions.ParseError(f"The body is no JSON: {error}") from error


def nesting_depth(body: bytes) -> int:
    depth = deepest = 0
    for token in _BRACKETS_OUTSIDE_STRINGS.finditer(body):
        first = token[0][:1]
        depth += (first in b"[{") - (first in b"]}")
        deepest = max(deepest, depth)
    return deepest


class JsonUnlessBrowser(DefaultContentNegotiation):
    """Negotiation that ignores `Accept`, as the replaced systems did: to ask for something else gets JSON, not 406."""

    def filter_renderers(self, renderers: Iterable[BaseRenderer], form: str) -> list[BaseRenderer]:
        """Returns the renderers for `?format=`; DRF's own answer is a 404, as if there was no such route."""
        found = [renderer for renderer in renderers if renderer.format == form]
        if not found:
            forms = ", ".join(dict.fromkeys(str(renderer.format) for renderer in renderers))
            raise exceptions.ParseError(f"format is one of {forms}.")
        return found

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderers = list(renderers)
        try:
            return cast("tuple[BaseRenderer, str]", super().select_renderer(request, renderers, format_suffix))
        except exceptions.NotAcceptable:
            return renderers[0], renderers[0].media_type


class BrowsableRenderer(BrowsableAPIRenderer):
    """DRF's pages in our words, and without forms that would list every exchange or market in a dropdown."""

    template = "rest_framework/marketmon.html"

    def get_filter_form(self, data: Any, view: APIView, request: Request) -> None:
        return None


def may_see(request: Request | HttpRequest | None, permission: str) -> bool:
    """Says whether the caller is staff who may read this in the admin, too."""
    user = getattr(request, "user", None)
    return user is not None and user.is_staff and bool(user.has_perm(permission))


# --- cursor pages -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row of a page: the value it was ordered by, and its key."""

    ordering: str
    value: str
    key: str


class CursorPages(BasePagination):
    """Pages by key instead of by number: no COUNT, no OFFSET, no row twice while rows arrive.

    A view lists its `orderings`, the first being the default, each a column that is never null; the primary key
    breaks ties in the same direction. DRF's own cursor counts offsets among equal values and loses rows when more
    than 1,000 are equal, which one poll of a large exchange brings about.
    """

    default_limit = 100
    max_limit = 1000
    _next_url: str | None = None

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any]:
        limit = self._limit(request)
        ordering = _ordering(request, getattr(view, "orderings", ("id",)))
        column, key = _column(ordering), queryset.model._meta.pk.attname
        ordered = _after(queryset, _decode(request, ordering), ordering)
        direction = "-" if ordering.startswith("-") else ""
        rows = _bounded(ordered.order_by(*dict.fromkeys([f"{direction}{column}", f"{direction}pk"]))[: limit + 1])
        if len(rows) > limit:
            last = rows[limit - 1]
            cursor = Cursor(ordering, _text(_value(last, column)), _text(getattr(last, key)))
            self._next_url = replace_query_param(request.build_absolute_uri(), "cursor", _encode(cursor))
        self.display_page_controls = self._next_url is not None
        return rows[:limit]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self._next_url, "results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        following = {"type": "string", "format": "uri", "nullable": True, "description": "The next page, if any."}
        return {
            "type": "object",
            "required": ["next", "results"],
            "properties": {"next": following, "results": schema},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        orderings = list(getattr(view, "orderings", ("id",)))
        return [
            _parameter("limit", "Rows a page.", type="integer", minimum=1, maximum=self.max_limit, default=100),
            _parameter("ordering", "A leading minus turns it around.", type="string", enum=orderings),
            _parameter("cursor", "Where the page starts: taken from `next`.", type="string"),
        ]

    def to_html(self) -> str:
        template = loader.get_template("rest_framework/pagination/previous_and_next.html")
        return str(template.render({"previous_url": None, "next_url": self._next_url}))

    def _limit(self, request: Request) -> int:
        text = request.query_params.get("limit", str(self.default_limit))
        if not re.fullmatch(r"[0-9]{1,4}", text, re.ASCII) or not 1 <= int(text) <= self.max_limit:
            raise exceptions.ValidationError({"limit": [f"A whole number from 1 to {self.max_limit}."]})
        return int(text)


def _bounded(queryset: QuerySet[Any]) -> list[Any]:
    """Reads the rows, within seconds: filters that match next to nothing would look through all of the history."""
    try:
        with transaction.atomic(using=queryset.db, savepoint=False):
            with connections[queryset.db].cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = '{LIST_SECONDS}s'")
            return list(queryset)
    except OperationalError as error:
        if getattr(error.__cause__, "pgcode", "") != QUERY_CANCELED:
            raise
        raise TooLongToRead from error


def _parameter(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def _ordering(request: Request, allowed: Sequence[str]) -> str:
    wanted = request.query_params.get("ordering") or allowed[0]
    if wanted not in allowed:
        raise exceptions.ValidationError({"ordering": [f"One of {', '.join(allowed)}."]})
    return wanted


def _column(ordering: str) -> str:
    name = ordering.removeprefix("-")
    return "pk" if name == "id" else name


def _after(queryset: QuerySet[Any], cursor: Cursor | None, ordering: str) -> QuerySet[Any]:
    if cursor is None:
        return queryset
    column, beyond = _column(ordering), "lt" if ordering.startswith("-") else "gt"
    key = _parsed(queryset.model._meta.pk, cursor.key)
    if column in ("pk", queryset.model._meta.pk.name):  # the key alone decides
        return queryset.filter(**{f"pk__{beyond}": key})
    value = _parsed(cast("Field[Any, Any]", queryset.model._meta.get_field(column)), cursor.value)
    # The first condition repeats what the second implies, in a form that an index range scan understands.
    at_or_beyond = queryset.filter(**{f"{column}__{beyond}e": value})
    return at_or_beyond.filter(Q(**{f"{column}__{beyond}": value}) | Q(**{f"pk__{beyond}": key}))


def _value(row: Model, column: str) -> Any:
    return row.pk if column == "pk" else getattr(row, row._meta.get_field(column).attname)  # type: ignore[union-attr]


def _text(value: Any) -> str:
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)


def _parsed(field: Field[Any, Any], text: str) -> Any:
    target = field.target_field if isinstance(field, ForeignKey) else field
    try:
        return target.to_python(text)
    except (ValidationError, ValueError) as error:
        raise exceptions.ValidationError({"cursor": ["Take it from `next` unchanged."]}) from error


def _encode(cursor: Cursor) -> str:
    return signing.dumps([cursor.ordering, cursor.value, cursor.key], salt="cursor")


def _decode(request: Request, ordering: str) -> Cursor | None:
    text = request.query_params.get("cursor")
    if not text:
        return None
    try:
        cursor = Cursor(*signing.loads(text, salt="cursor"))
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise exceptions.ValidationError({"cursor": ["Take it from `next` unchanged."]}) from error
    if cursor.ordering != ordering:
        raise exceptions.ValidationError({"cursor": [f"It belongs to ordering={cursor.ordering}."]})
    return cursor
