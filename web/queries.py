"""Queries of our own API routes: a name that a route does not know is refused, because it would be ignored in silence.

The routes of documented systems take any name, as those did.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework import serializers
from rest_framework.request import Request

PAGES = frozenset({"limit", "ordering", "cursor"})
ANYWHERE = frozenset({"format"})


def require_known(asked: Iterable[str], known: Iterable[str]) -> None:
    """Raises ValidationError for the names that a route does not know."""
    takes = sorted(set(known))
    unknown = sorted(set(asked) - set(takes) - ANYWHERE)
    if unknown:
        words = f"Not known here; this takes {', '.join(takes) or 'nothing'}."
        raise serializers.ValidationError({name[:100]: [words] for name in unknown[:20]})


class StrictFilters(DjangoFilterBackend):
    """Filters of lists and rows, which refuse a name that is no filter of theirs."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        if getattr(view, "action", "list") not in ("list", "retrieve"):
            return queryset  # another route of the same view has a query of its own
        filters = self.get_filterset_class(view, queryset)
        require_known(request.query_params, PAGES | set(filters.base_filters if filters else ()))
        found: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return found


class StrictQuery(serializers.Serializer[Any]):
    """A route's query, with every name that it takes as a field."""

    def to_internal_value(self, data: Any) -> Any:
        require_known(data, self.fields)
        return super().to_internal_value(data)
