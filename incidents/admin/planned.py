"""Admin pages of planned work, and of the heartbeats that others owe us."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.http import HttpRequest
from unfold.decorators import display

from incidents import beats, configuration
from incidents.admin.kit import AuditedAdmin
from incidents.models import Beat, Maintenance
from lib import clock
from web.admin import since

LEAST_PERIOD_SECONDS, LONGEST_PERIOD_SECONDS = 10, 7 * 86_400


class MaintenanceForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Maintenance
        fields = ("reason", "exchanges", "starts_at", "ends_at", "rrule", "zone", "expires_at", "is_public")

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.fields["expires_at"].required = False

    def clean(self) -> dict[str, Any]:
        sent: dict[str, Any] = super().clean() or {}
        if self.errors:
            return sent
        row = Maintenance(**sent)
        try:
            configuration.check_maintenance(row, clock.now())
        except configuration.Misconfigured as error:
            raise forms.ValidationError(dict(error.faults)) from error
        return sent | {"expires_at": row.expires_at}


@admin.register(Maintenance)
class MaintenanceAdmin(AuditedAdmin):
    form = MaintenanceForm
    list_display = ("reason", "covers", "starts_at", "ends_at", "rrule", "zone", "expires_at", "is_public")
    ordering = ("-starts_at", "-id")

    @display(description="covers")
    def covers(self, row: Maintenance) -> str:
        return ", ".join(row.exchanges) or "everything"

    def save_model(self, request: HttpRequest, obj: Maintenance, form: Any, change: bool) -> None:
        obj.created_by = obj.created_by or request.user.get_username()[:150]
        super().save_model(request, obj, form, change)


class BeatForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Beat
        fields = ("name", "period_seconds", "grace_seconds", "is_enabled")

    def clean_period_seconds(self) -> int:
        seconds: int = self.cleaned_data["period_seconds"]
        if not LEAST_PERIOD_SECONDS <= seconds <= LONGEST_PERIOD_SECONDS:
            raise forms.ValidationError(f"From {LEAST_PERIOD_SECONDS} to {LONGEST_PERIOD_SECONDS} seconds.")
        return seconds

    def clean_grace_seconds(self) -> int:
        seconds: int = self.cleaned_data["grace_seconds"]
        if not 0 <= seconds <= LONGEST_PERIOD_SECONDS:
            raise forms.ValidationError(f"From 0 to {LONGEST_PERIOD_SECONDS} seconds.")
        return seconds


@admin.register(Beat)
class BeatAdmin(AuditedAdmin):
    """Heartbeats that others owe us; the address to beat at is shown once, when one is made."""

    form = BeatForm
    list_display = ("name", "period_seconds", "grace_seconds", "is_enabled", "seen")
    ordering = ("name",)

    @display(description="last seen", header=True)
    def seen(self, row: Beat) -> tuple[str, str]:
        return since(row.beat_at)

    def save_model(self, request: HttpRequest, obj: Beat, form: Any, change: bool) -> None:
        token = "" if change else beats.new_token()
        if token:
            obj.token_hash = beats.hash_of(token)
            messages.warning(request, f"Shown this once: POST {settings.PUBLIC_URL}/beat/{token}")
        super().save_model(request, obj, form, change)
