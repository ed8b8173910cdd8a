"""The form of an API key: what is stored as lists is chosen and typed as people would."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextareaWidget

from access.models import ApiKey, Endpoint

BETWEEN = re.compile(r"[\s,;]+")
MOST_CHARACTERS = 20_000


class AddressesField(forms.CharField):
    """Addresses or networks, one a line or with commas between; a list in the database."""

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, Sequence) and not isinstance(value, str) else value

    def to_python(self, value: Any) -> Any:
        return [text for text in BETWEEN.split(super().to_python(value) or "") if text]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(list(initial or []) != self.to_python(data))


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    """A form of what a key may do and from where; the model's own checks judge what was typed."""

    scopes = forms.MultipleChoiceField(
        choices=Endpoint.choices,
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="None chosen: all that the plan opens.",
    )
    allowed_ips = AddressesField(
        required=False,
        max_length=MOST_CHARACTERS,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        label="Allowed IPs",
        help_text="Addresses or networks, one a line: 203.0.113.7, 10.0.0.0/8. Empty: from anywhere.",
    )

    class Meta:
        model = ApiKey
        fields = ("name", "tier", "scopes", "allowed_ips", "expires_at")
