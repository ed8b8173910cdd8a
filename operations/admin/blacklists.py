"""Shows what is blacklisted now and was before: exchanges, and single markets by people or by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import display

from exchanges.models import BlacklistEntry, MarketBlacklistEntry
from operations import permissions
from operations.admin.acting import carry_out
from operations.admin.buttons import LIFT_MARKET, RESUMES, Words, dialog
from operations.admin.dialogs import ConfirmForm
from web.admin import MachineAdmin, back_to_page, cut, since, utc, word_filter

YES_NO = (("yes", "Yes"), ("no", "No"))
RUNNING = word_filter(
    "running",
    YES_NO,
    parameter="running",
    narrow=lambda entries, word: entries.filter(lifted_at__isnull=word == "yes"),
)


ENTRY_FIELDS = ("reason", "listed_at", "listed_by", "expires_at", "lifted_at", "lifted_by")
LIFT_EXCHANGE = Words("Lift…", "lock_open", "Take this exchange off the blacklist", RESUMES, "Lift")


class EntryAdmin(MachineAdmin):
    """The columns and buttons that both kinds of blacklist entries have."""

    ordering = ("-listed_at", "-id")
    actions_row = ("lift",)
    actions_detail = ("lift",)

    @display(description="listed", header=True)
    def listed(self, entry: Any) -> tuple[str, str]:
        return since(entry.listed_at)

    @display(description="why")
    def why(self, entry: Any) -> str:
        return cut(entry.reason) or "-"

    @display(description="until")
    def until(self, entry: Any) -> str:
        return utc(entry.expires_at) if entry.expires_at else "somebody lifts it"

    @display(description="lifted", label={"running": "danger"})
    def lifted(self, entry: Any) -> str:
        return f"{utc(entry.lifted_at)} by {entry.lifted_by}" if entry.lifted_at else "running"

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        shown = super().get_actions_detail(request, object_id)
        entry = self.get_object(request, object_id)
        return shown if entry is not None and entry.lifted_at is None else []

    def take_off(
        self, request: HttpRequest, object_id: str, verb: str, place_of: Callable[[Any], Sequence[str]]
    ) -> HttpResponse:
        """Carries out the verb that lifts the entry, and shows the list again."""
        entry = self.get_object(request, object_id)
        if entry is None:
            raise Http404
        carry_out(request, verb, *place_of(entry))
        return back_to_page(request, f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")


@admin.register(BlacklistEntry)
class BlacklistEntryAdmin(EntryAdmin):
    fields = ("exchange", *ENTRY_FIELDS)
    list_display = ("exchange", "listed", "listed_by", "why", "until", "lifted")
    list_select_related = ("exchange",)
    list_filter = (RUNNING, ("exchange", RelatedDropdownFilter))
    search_fields = ("exchange__id__startswith",)

    def has_lift_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(permissions.needed_for("lift"))

    @dialog(LIFT_EXCHANGE, permission="lift")
    def lift(self, request: HttpRequest, form: ConfirmForm, object_id: str) -> HttpResponse:
        return self.take_off(request, object_id, "lift", lambda entry: (entry.exchange_id,))


@admin.register(MarketBlacklistEntry)
class MarketBlacklistEntryAdmin(EntryAdmin):
    fields = ("market", "is_automatic", *ENTRY_FIELDS)
    list_display = ("market", "kind", "listed", "listed_by", "why", "until", "lifted")
    list_select_related = ("market",)
    list_filter = (
        RUNNING,
        word_filter(
            "automatic",
            YES_NO,
            parameter="automatic",
            narrow=lambda entries, word: entries.filter(is_automatic=word == "yes"),
        ),
        ("market__exchange", RelatedDropdownFilter),
    )
    search_fields = ("market__symbol__startswith",)
    search_help_text = "Beginning of a symbol, e.g. BTC/"
    readonly_fields = ("market",)

    @display(description="kind", label={"automatic": "info"})
    def kind(self, entry: MarketBlacklistEntry) -> str:
        return "automatic" if entry.is_automatic else "by hand"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[MarketBlacklistEntry], search_term: str
    ) -> tuple[QuerySet[MarketBlacklistEntry], bool]:
        return super().get_search_results(request, queryset, search_term.upper())  # type: ignore[no-any-return]

    def has_lift_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("exchanges.change_market")

    @dialog(LIFT_MARKET, permission="lift")
    def lift(self, request: HttpRequest, form: ConfirmForm, object_id: str) -> HttpResponse:
        place = attrgetter("market.exchange_id", "market.symbol")
        return self.take_off(request, object_id, "lift market", place)
