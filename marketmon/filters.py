"""Query filters that refuse what they do not understand, where django-filter would answer as if nothing was asked."""

from __future__ import annotations

from typing import Any

import django_filters
from django import forms

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
