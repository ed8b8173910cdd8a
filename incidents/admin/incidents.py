"""Admin pages of incidents, with what people do to them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from unfold.decorators import display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from incidents import people
from incidents.admin.kit import dialog, row_number, words_filter
from incidents.models import Incident
from incidents.rules.words import IncidentKind, Level, Stage
from lib import clock
from web.admin import MachineAdmin, back_to_page, cut, since, utc, word_filter

SEVERITY_LABELS = {"info": "info", "warning": "warning", "critical": "danger"}
STAGE_LABELS = {
    Stage.INVESTIGATING: "danger",
    Stage.IDENTIFIED: "warning",
    Stage.MONITORING: "info",
    Stage.RESOLVED: "success",
}
HOURS = [("1", "1 hour"), ("4", "4 hours"), ("8", "8 hours"), ("24", "24 hours"), ("72", "3 days")]
CHANGELIST = "admin:incidents_incident_changelist"
OPEN = word_filter(
    "open",
    (("yes", "Yes"), ("no", "No")),
    parameter="open",
    narrow=lambda rows, word: rows.filter(ended_at__isnull=word == "yes"),
)


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


@admin.register(Incident)
class IncidentAdmin(MachineAdmin):
    """Incidents: found by themselves, so nothing of them is edited; people take them, write to them, end them."""

    list_display = ("title", "gravity", "stage", "began", "lasted", "owner", "rows_missing", "cause_of")
    list_select_related = ("parent",)
    list_filter = (OPEN, words_filter("kind", IncidentKind), words_filter("severity", Level))
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
        return self._carry_out(
            request, lambda: pause(row_number(object_id), until=until, comment=comment, **facts), said
        )

    @dialog(
        "Say that you are on it", "I am on it", PauseDialog, icon="pan_tool", label="Acknowledge…", permission="act"
    )
    def acknowledge(self, request: HttpRequest, form: PauseDialog, object_id: str) -> HttpResponse:
        """Takes the incident."""
        return self._paused(
            request, form, object_id, people.acknowledge, "You are on it. Nobody else is told meanwhile."
        )

    @dialog("Put off telling", "Snooze", PauseDialog, icon="snooze", label="Snooze…", permission="act")
    def snooze(self, request: HttpRequest, form: PauseDialog, object_id: str) -> HttpResponse:
        """Puts telling off."""
        return self._paused(request, form, object_id, people.snooze, "Nobody is told meanwhile.")

    @dialog("Write to the timeline", "Write", NoteDialog, icon="edit_note", label="Note…", permission="act")
    def note(self, request: HttpRequest, form: NoteDialog, object_id: str) -> HttpResponse:
        """Writes a note."""
        sent = {name: form.cleaned_data[name] for name in ("text", "is_public", "state")}
        write = lambda: people.write(row_number(object_id), **sent, **self._facts(request))  # noqa: E731
        return self._carry_out(request, write, "Written.")

    @dialog("End this incident", "Resolve", ResolveDialog, icon="task_alt", label="Resolve…", permission="act")
    def resolve(self, request: HttpRequest, form: ResolveDialog, object_id: str) -> HttpResponse:
        """Ends the incident."""
        text = form.cleaned_data["text"]
        end = lambda: people.resolve(row_number(object_id), text=text, **self._facts(request))  # noqa: E731
        return self._carry_out(request, end, "It is over.")
