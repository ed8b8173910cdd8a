"""Shows the audit log: who did what, why and from where; and takes a verb back within ten minutes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.decorators import action, display

from exchanges.models import AuditEntry
from lib import clock
from lib.admin_pages import find_row_id
from operations import commands, permissions
from operations.admin.acting import call
from operations.admin.dialogs import ConfirmForm
from operations.undo import OPPOSITES, UNDO_WITHIN, find_lost
from web.admin import MachineAdmin, ago, back_to_page, cut, since, utc, word_filter
from web.redaction import hide_named

CHANGELIST = "admin:exchanges_auditentry_changelist"
VERBS = [(verb, verb) for verb in (*OPPOSITES, "restart", "refresh", "bring back", "ask again", "accept list")]


def may_undo(entry: AuditEntry, request: HttpRequest, now: datetime) -> bool:
    """Says whether an entry may be undone, for lists: it does not ask whether something newer stands in the way."""
    is_young = now - entry.happened_at <= UNDO_WITHIN
    is_open = entry.changed and entry.undone_at is None and entry.verb in OPPOSITES
    return (
        is_young and is_open and not find_lost(entry) and request.user.has_perm(permissions.needed_to_undo(entry.verb))
    )


def row_of(entry: AuditEntry, request: HttpRequest, now: datetime) -> dict[str, Any]:
    """Returns one line of an exchange's page."""
    return {
        "when": ago(entry.happened_at, now),
        "moment": utc(entry.happened_at),
        "who": entry.who or "-",
        "verb": entry.verb,
        "market": entry.market,
        "why": cut(entry.why),
        "origin": entry.origin or "-",
        "note": _note(entry),
        "undo_url": reverse("admin:exchanges_auditentry_undo", args=[entry.pk])
        if may_undo(entry, request, now)
        else "",
    }


def _note(entry: AuditEntry) -> str:
    if entry.undone_at:  # the opposite that undoing carries out is marked with its own moment
        return "undo" if entry.undone_at == entry.happened_at else "undone"
    return "" if entry.changed else "no change"


@admin.register(AuditEntry)
class AuditAdmin(MachineAdmin):
    list_display = ("happened", "who", "act", "place", "why_shown", "source", "result")
    list_filter = (word_filter("action", VERBS, parameter="verb", narrow=lambda rows, word: rows.filter(verb=word)),)
    search_fields = ("exchange__startswith", "who__startswith")
    search_help_text = "Beginning of an exchange's id or of a user's name"
    ordering = ("-happened_at", "-id")
    actions_row = ("undo",)
    actions_detail = ("undo",)
    fields = (
        "moment",
        "who",
        "act",
        "place",
        "why_shown",
        "source",
        "correlation_id",
        "result",
        "was_before",
        "undone",
    )
    readonly_fields = ("moment", "act", "place", "why_shown", "source", "result", "was_before", "undone")

    @display(description="when", header=True)
    def happened(self, entry: AuditEntry) -> tuple[str, str]:
        return since(entry.happened_at)

    @display(description="when")
    def moment(self, entry: AuditEntry) -> str:
        return utc(entry.happened_at)

    @display(description="undone")
    def undone(self, entry: AuditEntry) -> str:
        return utc(entry.undone_at)

    @display(description="before")
    def was_before(self, entry: AuditEntry) -> str:
        """Shows what undoing needs. Older entries may hold a proxy's password, which nobody has to see."""
        return ", ".join(f"{name}: {hide_named(name, str(value))}" for name, value in entry.before.items()) or "-"

    @display(description="action")
    def act(self, entry: AuditEntry) -> str:
        return entry.verb

    @display(description="source")
    def source(self, entry: AuditEntry) -> str:
        return entry.origin or "-"

    @display(description="exchange")
    def place(self, entry: AuditEntry) -> str:
        return ":".join(filter(None, (entry.exchange, entry.market))) or "all"

    @display(description="reason")
    def why_shown(self, entry: AuditEntry) -> str:
        return cut(entry.why) or "-"

    @display(description="result", label={"undo": "info", "undone": "info", "no change": "warning"})
    def result(self, entry: AuditEntry) -> str | None:
        return _note(entry) or None

    def has_undo_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Says whether to show the button; the permission that an entry needs is asked when it is pressed."""
        return any(request.user.has_perm(permissions.needed_to_undo(verb)) for verb in OPPOSITES)

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        entry = AuditEntry.objects.filter(pk=find_row_id(object_id) or 0).first()
        shown = super().get_actions_detail(request, object_id)
        return shown if entry and may_undo(entry, request, clock.now()) else []

    @action(
        description="Undo…",
        icon="undo",
        permissions=["undo"],
        dialog={
            "title": "Undo this",
            "description": "The opposite is carried out. Possible for ten minutes, "
            "and as long as nothing newer stands in the way.",
            "form_class": ConfirmForm,
            "form_submit_text": "Undo",
        },
    )
    def undo(self, request: HttpRequest, form: ConfirmForm, object_id: str) -> HttpResponse:
        entry = AuditEntry.objects.filter(pk=find_row_id(object_id) or 0).first()
        if entry is not None and not request.user.has_perm(permissions.needed_to_undo(entry.verb)):
            raise PermissionDenied
        try:
            undone = commands.undo(entry.pk if entry else 0, **call(request))
        except commands.CommandRefused as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, f"Undone: {undone.verb} {undone.exchange} {undone.market}".strip() + ".")
        if entry is not None and entry.verb == "add":  # its page is gone
            return back_to_page(request, "admin:exchanges_exchange_changelist", is_gone=True)
        return back_to_page(request, CHANGELIST)
