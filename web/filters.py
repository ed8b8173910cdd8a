"""Query filters that refuse what they do not understand, where django-filter would answer as if nothing was asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import django_filters
from django import forms
from django_filters.fields import IsoDateTimeField

WORDS = {"true": True, "1": True, "false": False, "0": False}


class YesNoField(forms.Field):
    def to_python(self, value: Any) -> bool | None:
        if value in self.empty_values:
            return None
        word = WORDS.get(str(value).lower())
        if word is None:
            raise forms.ValidationError("Either true or false.")
        return word


class YesNoFilter(django_filters.BooleanFilter):
    field_class = YesNoField


class MomentField(IsoDateTimeField):
    def to_python(self, value: Any) -> datetime | None:
        """Returns the moment in UTC, where the first hours of the year 1 elsewhere do not exist."""
        try:
            moment: datetime | None = super().to_python(value)
            return moment.astimezone(UTC) if moment is not None else None
        except OverflowError:
            raise forms.ValidationError("A moment from the year 1 to the year 9999, in UTC.") from None


class MomentFilter(django_filters.IsoDateTimeFilter):
    field_class = MomentField
