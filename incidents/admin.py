"""Admin pages of incidents, with what people do to them; of channels, routes and planned work; and of the outbox."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from incidents import beats, configuration, drills, people, testing
from incidents.models import (
    AlertChannel,
    AlertRoute,
    Beat,
    ChannelKind,
    Delivery,
    DeliveryState,
    Incident,
    Maintenance,
)
from incidents.rules.words import IncidentKind, Level, Stage
from lib import clock
from lib.admin_pages import PageAdmin, find_row_id
from web.admin import MachineAdmin, back_to_page, cut, since, utc, word_filter

SEVERITY_LABELS = {"info": "info", "warning": "warning", "critical": "danger"}
STAGE_LABELS = {
    Stage.INVESTIGATING: "danger",
    Stage.IDENTIFIED: "warning",
    Stage.MONITORING: "info",
    Stage.RESOLVED: "success",
}
DELIVERY_LABELS = {"sent": "success", "failed": "danger", "unconfirmed": "warning", "queued": "info"}
HOURS = [("1", "1 hour"), ("4", "4 hours"), ("8", "8 hours"), ("24", "24 hours"), ("72", "3 days")]
LEAST_PERIOD_SECONDS, LONGEST_PERIOD_SECONDS = 10, 7 * 86_400
CHANGELIST = "admin:incidents_incident_changelist"


# --- dialogs ------------------------------------------------------------------------------------------------------


def _number(object_id: str) -> int:
    """Returns the number of a row in an address. Raises Http404."""
    number = find_row_id(object_id)
    if number is None:
        raise Http404
    return number


class PauseDialog(BaseDialogForm):
    hours = forms.ChoiceField(choices=HOURS, initial="4", label="For", widget=UnfoldAdminSelectWidget)
    comment = forms.CharField(max_length=500, required=False, widget=UnfoldAdminTextInputWidget)


class NoteDialog(BaseDialogForm):
    text = forms.CharField(max_length=people.TEXT_CHARACTERS, widget=UnfoldAdminTextareaWidget)
    is_public = forms.BooleanField(required=False, label="Show it on the public status page")
    state = forms.ChoiceField(
        choices=[("", "as it is"), *[(stage.value, stage.value) for stage in Stage if stage != Stage.RESOLVED]],
        required=False,
        widget=UnfoldAdminSelectWidget,
    )


class ResolveDialog(BaseDialogForm):
    text = forms.CharField(
        max_length=people.TEXT_CHARACTERS, required=False, widget=UnfoldAdminTextInputWidget,
        label="Public message",
    )  # fmt: skip


class CodeDialog(BaseDialogForm):
    code = forms.CharField(
        max_length=8, widget=UnfoldAdminTextInputWidget, help_text="From the newest test message, as you read it there."
    )


class SendDialog(BaseDialogForm):
    """A form with nothing to fill in: its hidden field proves that the dialog was confirmed."""


def _dialog(title: str, submit: str, form: type[BaseDialogForm], *, icon: str, label: str) -> Callable[..., Any]:
    return action(  # type: ignore[no-any-return]
        description=label,
        icon=icon,
        permissions=["change"],
        dialog={"title": title, "description": "", "form_class": form, "form_submit_text": submit},
    )


def _act(title: str, submit: str, form: type[BaseDialogForm], *, icon: str, label: str) -> Callable[..., Any]:
    return action(  # type: ignore[no-any-return]
        description=label,
        icon=icon,
        permissions=["act"],
        dialog={"title": title, "description": "", "form_class": form, "form_submit_text": submit},
    )


# --- incidents ----------------------------------------------------------------------------------------------------

OPEN = word_filter(
    "open",
    (("yes", "Yes"), ("no", "No")),
    parameter="open",
    narrow=lambda rows, word: rows.filter(ended_at__isnull=word == "yes"),
)


def _words_filter(name: str, words: Any) -> Any:
    return word_filter(
        name, [(str(word), str(word)) for word in words], parameter=name,
        narrow=lambda rows, word: rows.filter(**{name: word}),
    )  # fmt: skip


@admin.register(Incident)
class IncidentAdmin(MachineAdmin):
    """Incidents: found by themselves, so nothing of them is edited; people take them, write to them, end them."""

    list_display = ("title", "gravity", "stage", "began", "lasted", "owner", "rows_missing", "cause_of")
    list_select_related = ("parent",)
    list_filter = (OPEN, _words_filter("kind", IncidentKind), _words_filter("severity", Level))
    search_fields = ("title__icontains",)
    ordering = ("-opened_at", "-id")
    actions_detail = ("acknowledge", "snooze", "note", "resolve")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_act_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("incidents.change_incident")

    @display(description="severity", label=SEVERITY_LABELS)
    def gravity(self, row: Incident) -> str:
        return row.severity

    @display(description="state", label=STAGE_LABELS)
    def stage(self, row: Incident) -> str:
        return row.state

    @display(description="since", header=True)
    def began(self, row: Incident) -> tuple[str, str]:
        return since(row.since)

    @display(description="until")
    def lasted(self, row: Incident) -> str:
        return utc(row.ended_at) if row.ended_at else "it lasts"

    @display(description="on it")
    def owner(self, row: Incident) -> str:
        return row.acknowledged_by or "-"

    @display(description="part of")
    def cause_of(self, row: Incident) -> str:
        return cut(row.parent.title) if row.parent is not None else "-"

    def _carry_out(self, request: HttpRequest, act: Callable[[], Any], said: str) -> HttpResponse:
        try:
            act()
            messages.success(request, said)
        except (people.IncidentRefused, Incident.DoesNotExist) as refusal:
            messages.error(request, str(refusal))
        return back_to_page(request, CHANGELIST)

    def _facts(self, request: HttpRequest) -> dict[str, Any]:
        return {"by": request.user.get_username(), "now": clock.now()}

    def _paused(self, request: HttpRequest, form: PauseDialog, object_id: str, pause: Any, said: str) -> HttpResponse:
        facts = self._facts(request)
        until = facts["now"] + timedelta(hours=int(form.cleaned_data["hours"]))
        comment = form.cleaned_data["comment"]
        return self._carry_out(request, lambda: pause(_number(object_id), until=until, comment=comment, **facts), said)

    @_act("Say that you are on it", "I am on it", PauseDialog, icon="pan_tool", label="Acknowledge…")
    def acknowledge(self, request: HttpRequest, form: PauseDialog, object_id: str) -> HttpResponse:
        """Takes the incident."""
        return self._paused(
            request, form, object_id, people.acknowledge, "You are on it. Nobody else is told meanwhile."
        )

    @_act("Put off telling", "Snooze", PauseDialog, icon="snooze", label="Snooze…")
    def snooze(self, request: HttpRequest, form: PauseDialog, object_id: str) -> HttpResponse:
        """Puts telling off."""
        return self._paused(request, form, object_id, people.snooze, "Nobody is told meanwhile.")

    @_act("Write to the timeline", "Write", NoteDialog, icon="edit_note", label="Note…")
    def note(self, request: HttpRequest, form: NoteDialog, object_id: str) -> HttpResponse:
        """Writes a note."""
        sent = {name: form.cleaned_data[name] for name in ("text", "is_public", "state")}
        write = lambda: people.write(_number(object_id), **sent, **self._facts(request))  # noqa: E731
        return self._carry_out(request, write, "Written.")

    @_act("End this incident", "Resolve", ResolveDialog, icon="task_alt", label="Resolve…")
    def resolve(self, request: HttpRequest, form: ResolveDialog, object_id: str) -> HttpResponse:
        """Ends the incident."""
        text = form.cleaned_data["text"]
        end = lambda: people.resolve(_number(object_id), text=text, **self._facts(request))  # noqa: E731
        return self._carry_out(request, end, "It is over.")


@admin.register(Delivery)
class DeliveryAdmin(MachineAdmin):
    list_display = ("created", "channel", "event", "incident", "outcome", "attempts", "took", "said")
    list_select_related = ("channel", "incident")
    list_filter = (_words_filter("state", DeliveryState.values),)
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


# --- what is configured -------------------------------------------------------------------------------------------


class AuditedAdmin(PageAdmin):
    """Rows that operators make; each change is in the audit log."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        self._record(request, f"{'change' if change else 'add'} {self.opts.verbose_name}", str(obj))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self._record(request, f"delete {self.opts.verbose_name}", str(obj))
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for row in queryset:
            self._record(request, f"delete {self.opts.verbose_name}", str(row))
        super().delete_queryset(request, queryset)

    def _record(self, request: HttpRequest, verb: str, what: str) -> None:
        configuration.record(verb, by=request.user.get_username(), now=clock.now(), what=what, origin="admin")


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

    @_dialog("Send a test", "Send", SendDialog, icon="send", label="Test…")
    def send_test(self, request: HttpRequest, form: SendDialog, object_id: str) -> HttpResponse:
        """Sends a test message with a code."""
        channel = self.get_object(request, object_id)
        if channel is not None:
            testing.send_test(channel, now=clock.now())
            messages.success(request, "A test is on its way. Type its code back with Verify.")
        return back_to_page(request, "admin:incidents_alertchannel_changelist")

    @_dialog("Type back the code of the test", "Verify", CodeDialog, icon="verified", label="Verify…")
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
    list_display = ("name", "is_enabled", "matches", "leads_to")
    search_fields = ("name__icontains",)
    ordering = ("name",)

    actions_detail = ("drill",)

    @_dialog("Send a drill through this route", "Send", SendDialog, icon="exercise", label="Drill…")
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

    @display(description="leads to")
    def leads_to(self, row: AlertRoute) -> str:
        return cut(", then ".join(", ".join(step.get("channels", ())) for step in row.steps))


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
