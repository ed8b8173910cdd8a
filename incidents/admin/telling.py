"""Admin pages of telling: channels, routes, and the outbox."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from incidents import configuration, drills, testing
from incidents.admin.kit import AuditedAdmin, SendDialog, dialog, words_filter
from incidents.models import AlertChannel, AlertRoute, ChannelKind, Delivery, DeliveryState
from lib import clock
from web.admin import MachineAdmin, back_to_page, cut, since, utc

DELIVERY_LABELS = {"sent": "success", "failed": "danger", "unconfirmed": "warning", "queued": "info"}


class CodeDialog(BaseDialogForm):
    code = forms.CharField(
        max_length=8, widget=UnfoldAdminTextInputWidget, help_text="From the newest test message, as you read it there."
    )


class ChannelForm(forms.ModelForm):  # type: ignore[type-arg]
    kind = forms.ChoiceField(choices=ChannelKind.choices, widget=UnfoldAdminSelectWidget)
    new_address = forms.CharField(
        max_length=2000, required=False, widget=UnfoldAdminTextInputWidget, label="Address",
        help_text="Kept sealed and never shown again. Empty keeps the one that is set.",
    )  # fmt: skip
    secret = forms.CharField(
        max_length=400, required=False, widget=UnfoldAdminTextInputWidget,
        help_text="A webhook's signing secret (made when empty, and shown once), or a token of Alertmanager or ntfy.",
    )  # fmt: skip

    class Meta:
        model = AlertChannel
        fields = ("name", "kind", "is_enabled")

    def clean(self) -> dict[str, Any]:
        sent: dict[str, Any] = super().clean() or {}
        self.made_secret = ""
        address, kind = sent.get("new_address", ""), sent.get("kind", "")
        if not address:
            if not self.instance.address or kind != self.instance.kind or sent.get("secret"):
                raise forms.ValidationError({"new_address": "Give the address."})
            return sent
        try:
            self.made_secret = configuration.set_address(self.instance, kind, address, sent.get("secret", ""))
        except configuration.Misconfigured as error:
            raise forms.ValidationError({"new_address": error.faults["address"]}) from error
        return sent


@admin.register(AlertChannel)
class AlertChannelAdmin(AuditedAdmin):
    form = ChannelForm
    list_display = ("name", "kind", "shown", "is_enabled", "verified", "last_good", "failing", "last_error")
    search_fields = ("name__icontains",)
    ordering = ("name",)
    fields = ("name", "kind", "new_address", "secret", "is_enabled", "shown", "verified", "last_good", "failing")
    readonly_fields = ("shown", "verified", "last_good", "failing")
    actions_detail = ("send_test", "verify")

    @display(description="verified")
    def verified(self, row: AlertChannel) -> str:
        return utc(row.verified_at) if row.verified_at else "never: nobody typed back a test's code"

    @display(description="last good", header=True)
    def last_good(self, row: AlertChannel) -> tuple[str, str]:
        return since(row.last_good_at)

    @display(description="failing")
    def failing(self, row: AlertChannel) -> str:
        return f"since {utc(row.failing_since)}: {cut(row.last_error)}" if row.failing_since else "-"

    def save_model(self, request: HttpRequest, obj: AlertChannel, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if form.made_secret:
            messages.warning(request, f"The signing secret, shown this once: {form.made_secret}")

    @dialog("Send a test", "Send", SendDialog, icon="send", label="Test…")
    def send_test(self, request: HttpRequest, form: SendDialog, object_id: str) -> HttpResponse:
        """Sends a test message with a code."""
        channel = self.get_object(request, object_id)
        if channel is not None:
            testing.send_test(channel, now=clock.now())
            messages.success(request, "A test is on its way. Type its code back with Verify.")
        return back_to_page(request, "admin:incidents_alertchannel_changelist")

    @dialog("Type back the code of the test", "Verify", CodeDialog, icon="verified", label="Verify…")
    def verify(self, request: HttpRequest, form: CodeDialog, object_id: str) -> HttpResponse:
        """Verifies the channel by a code."""
        channel = self.get_object(request, object_id)
        if channel is not None and testing.verify(channel, form.cleaned_data["code"], now=clock.now()):
            messages.success(request, "Verified: somebody reads this channel.")
        else:
            messages.error(request, "This is not the code of the newest test.")
        return back_to_page(request, "admin:incidents_alertchannel_changelist")


class RouteForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = AlertRoute
        fields = (
            "name", "is_enabled", "exchanges", "kinds", "severities", "pairs", "steps", "quiet_hours",
            "shortest_seconds", "tells_recovery",
        )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        sent: dict[str, Any] = super().clean() or {}
        try:
            configuration.check_route(
                {name: value for name, value in sent.items() if name not in ("name", "is_enabled")}
            )
        except configuration.Misconfigured as error:
            raise forms.ValidationError(dict(error.faults)) from error
        return sent


@admin.register(AlertRoute)
class AlertRouteAdmin(AuditedAdmin):
    form = RouteForm
    list_display = ("name", "is_enabled", "matches", "leads_to", "past")
    search_fields = ("name__icontains",)
    ordering = ("name",)

    actions_detail = ("drill",)

    @dialog("Send a drill through this route", "Send", SendDialog, icon="exercise", label="Drill…")
    def drill(self, request: HttpRequest, form: SendDialog, object_id: str) -> HttpResponse:
        """Sends a drill."""
        route = self.get_object(request, object_id)
        if route is not None:
            drills.start(route, by=request.user.get_username(), now=clock.now())
            messages.success(request, "The drill is on its way, marked as one. Its incident tells what arrived.")
        return back_to_page(request, "admin:incidents_alertroute_changelist")

    @display(description="matches")
    def matches(self, row: AlertRoute) -> str:
        lists = (row.exchanges, row.kinds, row.severities, row.pairs)
        return cut("; ".join(", ".join(each) for each in lists if each)) or "everything but what is info"

    @display(description="another limit")
    def past(self, row: AlertRoute) -> str:
        return format_html('<a href="{}">what it would have told</a>', reverse("board-route", args=(row.pk,)))

    @display(description="leads to")
    def leads_to(self, row: AlertRoute) -> str:
        return cut(", then ".join(", ".join(step.get("channels", ())) for step in row.steps))


@admin.register(Delivery)
class DeliveryAdmin(MachineAdmin):
    list_display = ("created", "channel", "event", "incident", "outcome", "attempts", "took", "said")
    list_select_related = ("channel", "incident")
    list_filter = (words_filter("state", DeliveryState.values),)
    ordering = ("-id",)

    @display(description="queued", header=True)
    def created(self, row: Delivery) -> tuple[str, str]:
        return since(row.created_at)

    @display(description="state", label=DELIVERY_LABELS)
    def outcome(self, row: Delivery) -> str:
        return row.state

    @display(description="delivered after")
    def took(self, row: Delivery) -> str:
        return f"{max(0.0, (row.sent_at - row.due_at).total_seconds()):.1f} s" if row.sent_at else "-"

    @display(description="said")
    def said(self, row: Delivery) -> str:
        return cut(row.excerpt) or "-"
