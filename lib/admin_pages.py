"""What every admin page of ours is made of: strangers' words in its address and its forms are refused, never a 500."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import get_fields_from_path
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.db.models import JSONField, QuerySet
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

ROW_ID = re.compile(r"[0-9]{1,18}\Z", re.ASCII)


def find_row_id(text: str) -> int | None:
    """Returns the number of a row in an address; None for a text that cannot be one."""
    return int(text) if ROW_ID.match(text) else None


class StoredJSONField(forms.JSONField):
    """JSON that the database can hold; an emptied field is the column's own empty value, never NULL."""

    empty: Callable[[], Any] = staticmethod(lambda: None)

    def to_python(self, value: Any) -> Any:
        try:
            parsed = super().to_python(value)
            text = json.dumps(parsed, allow_nan=False, ensure_ascii=False)
            text.encode()  # half a surrogate pair cannot be stored, nor can NUL
        except (ValueError, RecursionError) as error:  # also numbers of thousands of digits
            raise self._invalid() from error
        if "\\u0000" in text:
            raise self._invalid()
        return self.empty() if parsed is None else parsed

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Returns what the field shows again: the text as it was sent when it cannot be read."""
        try:
            self.to_python(data)
        except ValidationError:
            return InvalidJSONInput(data)
        return super().bound_data(data, initial)

    def _invalid(self) -> ValidationError:
        return ValidationError(self.error_messages["invalid"], code="invalid", params={"value": "…"})


class CarefulChangeList(ChangeList):
    """A filter's value that cannot be one is answered like every wrong parameter: the list without it."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        try:
            return super().get_queryset(request, exclude_parameters)  # type: ignore[no-any-return]
        except (ValueError, ValidationError) as error:
            raise IncorrectLookupParameters(error) from error


# What a filter adds to the name of its field.
LOOKUPS = frozenset({"exact", "in", "isnull", "gt", "gte", "lt", "lte"})


class PageAdmin(ModelAdmin):
    """Every admin page of ours: lists are filtered by what they declare and by nothing else."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CarefulChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Says whether a list may be filtered so; Django allows every column, hashes of keys included."""
        declared = [*self.get_list_filter(request), *filter(None, [self.date_hierarchy])]
        return any(self._declares(each, lookup) for each in declared)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase | None:
        """Carries out the chosen action; rows are chosen by keys. Raises SuspiciousOperation, which is answered 400."""
        try:
            for chosen in request.POST.getlist(ACTION_CHECKBOX_NAME):
                self.opts.pk.to_python(chosen)
        except (ValueError, ValidationError) as error:
            raise SuspiciousOperation("This is no row.") from error
        return super().response_action(request, queryset)  # type: ignore[no-any-return]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if not isinstance(db_field, JSONField):
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        field = super().formfield_for_dbfield(db_field, request, **kwargs, form_class=StoredJSONField)
        field.empty = lambda: None if db_field.null else db_field.get_default()
        return field

    def _declares(self, declared: Any, lookup: str) -> bool:
        if getattr(declared, "parameter_name", None) is not None:
            return bool(lookup == declared.parameter_name)
        path = declared[0] if isinstance(declared, list | tuple) else declared
        if lookup == path:
            return True
        rest = lookup.removeprefix(f"{path}__")
        return rest != lookup and set(rest.split("__")) <= LOOKUPS | {self._key_of(path)}

    def _key_of(self, path: str) -> str:
        """Returns the related row's key of a filter by a relation; Django's and Unfold's filters look it up by that."""
        field: Any = get_fields_from_path(self.model, path)[-1]
        return str(field.target_field.name) if field.is_relation else "exact"
