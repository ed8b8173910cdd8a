"""The dialogs between a button and its verb: they show what would stop and ask why, and until when."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.http import HttpRequest
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextInputWidget

from access.models import ApiKey
from lib import clock
from operations import commands

LATELY = timedelta(days=1)


class MomentWidget(UnfoldAdminTextInputWidget):
    input_type = "datetime-local"


def consequences(exchange_ids: list[str]) -> dict[str, Any]:
    """Returns what stopping these would take away, for the dialog's template. Four queries, however many stop."""
    try:
        preview = commands.preview_stop_of(exchange_ids)
    except commands.CommandRefused as refusal:
        return {"refusal": str(refusal)}
    callers = ApiKey.objects.filter(last_used_at__gt=clock.now() - LATELY).count() if preview.pipeline_count else 0
    return {"preview": preview, "callers": callers, "is_one": len(exchange_ids) == 1}


class ConfirmForm(BaseDialogForm):
    """A form with nothing to fill in: its hidden field proves that the dialog was confirmed."""


class StopForm(BaseDialogForm):
    """A form that shows what would stop."""

    form_before_template = "admin/exchanges/preview.html"

    def get_before_template_context(self, request: HttpRequest, object_id: int | str | None = None) -> dict[str, Any]:
        return consequences([str(object_id)]) if object_id else {}


class WhyForm(BaseDialogForm):
    reason = forms.CharField(max_length=500, widget=UnfoldAdminTextInputWidget, help_text="Kept in the history.")
    expires_at = forms.DateTimeField(
        required=False, widget=MomentWidget, label="Until (UTC)", help_text="Empty: until somebody lifts it."
    )

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= clock.now():
            raise forms.ValidationError("This moment has passed.")
        return expires_at


class BlacklistForm(StopForm, WhyForm):
    """A form that shows what would stop, and asks why and until when."""


class RemoveForm(StopForm):
    reason = forms.CharField(
        max_length=500, required=False, widget=UnfoldAdminTextInputWidget, help_text="Kept in the history."
    )


DisableForm = RemoveForm


def details(form: BaseDialogForm) -> dict[str, Any]:
    """Returns what the form adds to the verb, without the field that only proves the confirmation."""
    return {name: value for name, value in form.cleaned_data.items() if not name.startswith("_")}
