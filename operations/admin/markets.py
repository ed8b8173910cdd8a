"""Shows markets, and takes single ones out of the collection."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import helpers
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import display
from unfold.forms import BaseDialogForm

from exchanges.models import Market, MarketState
from operations import permissions
from operations.admin.acting import carry_out, carry_out_all
from operations.admin.buttons import LIFT_MARKET, Words, dialog
from operations.admin.dialogs import ConfirmForm, WhyForm, details
from web.admin import MachineAdmin, back_to_page, since, word_filter

CHANGELIST = "admin:exchanges_market_changelist"
MOST_AT_ONCE = 200  # each is a transaction of its own
BLACKLIST = Words(
    "Blacklist…", "block", "Blacklist this market",
    "Its quotes are not stored until it is lifted; the silence is no gap.", "Blacklist",
)  # fmt: skip
STATE_LABELS = {
    "collected": "success", "blacklisted": "danger", "left out by filter": "info", "delisted": "warning",
    "halted": "warning",
}  # fmt: skip

# Fixed words: the admin would look for those that occur, in all markets there are.
STATES = word_filter(
    "state", MarketState.choices, parameter="state", narrow=lambda markets, word: markets.filter(state=word)
)


@admin.register(Market)
class MarketAdmin(MachineAdmin):
    list_display = ("symbol", "exchange", "kind", "source", "venue_id", "state", "listed")
    list_select_related = ("exchange",)
    list_filter = (("exchange", RelatedDropdownFilter), STATES, "blacklisted", "excluded")
    list_disable_select_all = True
    list_per_page = 50  # each row brings its buttons along, 10 KB of them
    search_fields = ("symbol__startswith",)
    search_help_text = "Beginning of a symbol, e.g. BTC/"
    ordering = ("-id",)
    actions = ("blacklist_selected", "lift_selected")
    actions_row = ("blacklist", "lift")
    actions_detail = ("blacklist", "lift")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Market]:
        return super().get_queryset(request).filter(exchange__removed_at__isnull=True)  # type: ignore[no-any-return]

    @display(description="state", label=STATE_LABELS)
    def state(self, market: Market) -> str:
        if market.state == MarketState.DELISTED:
            return "delisted"
        if market.blacklisted:
            return "blacklisted"
        if market.excluded:
            return "left out by filter"
        return "halted" if market.state == MarketState.HALTED else "collected"

    @display(description="listed", header=True, ordering="listed_at")
    def listed(self, market: Market) -> tuple[str, str]:
        return since(market.listed_at)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Market], search_term: str
    ) -> tuple[QuerySet[Market], bool]:
        return super().get_search_results(request, queryset, search_term.upper())  # type: ignore[no-any-return]

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(permissions.CHANGE_MARKET)

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        market = self.get_object(request, object_id)
        if market is None:
            return []
        pointless = "exchanges_market_" + ("blacklist" if market.blacklisted else "lift")
        return [each for each in super().get_actions_detail(request, object_id) if each.action_name != pointless]

    @dialog(BLACKLIST, form_class=WhyForm, permission="operate", is_dangerous=True)
    def blacklist(self, request: HttpRequest, form: WhyForm, object_id: str) -> HttpResponse:
        self._carry_out(request, "blacklist market", object_id, **details(form))
        return back_to_page(request, CHANGELIST)

    @dialog(LIFT_MARKET, permission="operate")
    def lift(self, request: HttpRequest, form: ConfirmForm, object_id: str) -> HttpResponse:
        self._carry_out(request, "lift market", object_id)
        return back_to_page(request, CHANGELIST)

    @admin.action(description="Blacklist…", permissions=["operate"])
    def blacklist_selected(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._confirm(request, queryset, "blacklist", WhyForm)

    @admin.action(description="Lift blacklist…", permissions=["operate"])
    def lift_selected(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._confirm(request, queryset, "lift", ConfirmForm)

    def _carry_out(self, request: HttpRequest, verb: str, object_id: str, **more: Any) -> None:
        market = self.get_object(request, object_id)
        if market is None:
            self.message_user(request, "There is no such market.", "error")
            return
        carry_out(request, verb, market.exchange_id, market.symbol, **more)

    def _confirm(
        self, request: HttpRequest, queryset: QuerySet[Market], verb: str, form_class: type[BaseDialogForm]
    ) -> HttpResponse | None:
        chosen = list(queryset.order_by("exchange_id", "symbol")[: MOST_AT_ONCE + 1])
        if len(chosen) > MOST_AT_ONCE:
            self.message_user(request, f"Choose at most {MOST_AT_ONCE} markets at once.", "error")
            return None
        form = form_class(data=request.POST if "_form_submitted" in request.POST else None, request=request)
        if form.is_valid():
            places = [(market.exchange_id, market.symbol) for market in chosen]
            carry_out_all(request, f"{verb} market", places, **details(form))
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb.capitalize()} {len(chosen)} market{'s' if len(chosen) != 1 else ''}",
            "chosen": [str(market) for market in chosen],
            "chosen_keys": [market.pk for market in chosen],
            "form": form,
            "verb": verb.capitalize(),
            "is_dangerous": verb == "blacklist",
            "action_name": f"{verb}_selected",
            "list_url": request.get_full_path(),
            "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/exchanges/confirm.html", context)
