"""The dialogs between a button and its verb: they show what would stop and ask why, and until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.http import HttpRequest
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from access.models import ApiKey
from lib import clock
from operations import commands

LATELY = timedelta(days=1)
MORNING, MORNING_HOUR = "morning", 8
LASTS = (
    ("", "until somebody lifts it, or the moment below"),
    ("1", "1 hour"),
    ("4", "4 hours"),
    (MORNING, "until 8 in the morning, your time"),
)


class MomentWidget(UnfoldAdminTextInputWidget):
    input_type = "datetime-local"


def end_of(lasts: str, *, zone: str, now: datetime) -> datetime:
    """Returns when a stop of this kind ends; a morning is the next one where the viewer is."""
    if lasts != MORNING:
        return now + timedelta(hours=int(lasts))
    here = now.astimezone(_zone(zone))
    morning = here.replace(hour=MORNING_HOUR, minute=0, second=0, microsecond=0)
    return (morning if morning > here else morning + timedelta(days=1)).astimezone(UTC)


def _zone(name: str) -> tzinfo:
    """Returns the time zone that a browser names; UTC for what is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # what is no name, no zone, or a folder of them
        return UTC


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
    lasts = forms.ChoiceField(choices=LASTS, required=False, widget=UnfoldAdminSelectWidget, label="For")
    expires_at = forms.DateTimeField(
        required=False, widget=MomentWidget, label="Until (UTC)", help_text="Instead of a choice above."
    )
    zone = forms.CharField(required=False, max_length=100, widget=forms.HiddenInput(attrs={"data-viewers-zone": ""}))

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= clock.now():
            raise forms.ValidationError("This moment has passed.")
        return expires_at

    def clean(self) -> dict[str, Any]:
        """Makes a moment of the choice, so that a verb is given nothing but the moment."""
        values: dict[str, Any] = super().clean() or self.cleaned_data
        lasts, zone = values.pop("lasts", ""), values.pop("zone", "")
        if lasts and values.get("expires_at") is not None:
            self.add_error("expires_at", "Choose a time above, or enter one: not both.")
        elif lasts:
            values["expires_at"] = end_of(lasts, zone=zone, now=clock.now())
        return values


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
