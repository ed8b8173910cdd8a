"""The list of exchanges, and the page of one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.decorators import display
from unfold.forms import BaseDialogForm

from collectors.api.workers import view_of
from exchanges import catalogue, secrets
from exchanges.models import Exchange
from lib import clock
from lib.admin_pages import PageAdmin
from operations import commands, permissions, tasks
from operations.admin import adding, buttons, panels
from operations.admin.acting import call, carry_out_all, send
from operations.admin.dialogs import ConfirmForm, WhyForm, consequences, details
from operations.admin.forms import CREDENTIAL_FIELDS, FILTER_FIELDS, ExchangeForm
from web.admin import STATUS_LABELS, back_to_page, since
from web.redaction import hide_login

REFUSED = "marketmon.refused"
STATE = (None, {"fields": ("id", "name", "worker_status", "worker_reason", "listing", "is_enabled")})
ABILITIES = (
    "What it can do",
    {"fields": ("capabilities", "timeframes", "created_at"), "classes": ("collapse",)},
)


@admin.register(Exchange)
class ExchangeAdmin(PageAdmin):
    form = ExchangeForm
    list_display = (
        "exchange",
        "worker_status",
        "listing",
        "is_enabled",
        "data",
        "interval",
        "last_update",
        "errors",
        "markets_collected",
    )
    list_select_related = ("worker",)
    list_filter = ("enabled", "blacklisted")
    list_filter_submit = True
    list_fullwidth = True
    list_per_page = 200
    sortable_by = ("exchange",)
    search_fields = ("id__startswith", "name__istartswith")
    ordering = ("id",)
    actions = ("blacklist_selected", "lift_selected", "enable_selected", "disable_selected")
    actions_list = ("refresh_all",)
    actions_row = ("blacklist", "lift", "enable", "disable", "restart", "ask_again", "refresh", "remove")
    actions_detail = (
        "blacklist",
        "lift",
        {
            "title": "More",
            "icon": "more_horiz",
            "items": ["enable", "disable", "restart", "ask_again", "refresh", "remove"],
        },
    )
    change_form_outer_after_template = "admin/exchanges/panels.html"
    fieldsets = (
        STATE,
        (
            "Collection",
            {
                "fields": (
                    "poll_interval_seconds",
                    "transport",
                    "priority",
                    "last_stored",
                    "errors",
                    "markets_collected",
                )
            },
        ),
        ("Which markets", {"fields": FILTER_FIELDS}),
        ("Besides tickers", {"fields": ("depth",)}),
        ("Its limit, where known better", {"fields": ("budget_units", "budget_seconds")}),
        ("How to reach it", {"fields": ("data", "base_url", "proxy", "ca_file")}),
        (
            "Credentials",
            {
                "fields": ("credentials_set", *CREDENTIAL_FIELDS, "forget_credentials"),
                "classes": ("collapse",),
                "description": "Public market data needs none. What is stored is encrypted and never shown again.",
            },
        ),
        ABILITIES,
    )
    fieldsets_for_readers = (
        STATE,
        (
            "Collection",
            {"fields": ("interval", "transport", "priority", "last_stored", "errors", "markets_collected")},
        ),
        ("Which markets", {"fields": ("collects", "depth")}),
        ("Its limit, where known better", {"fields": ("budget_units", "budget_seconds")}),
        ("How to reach it", {"fields": ("data", "base_url", "proxy_shown", "ca_file", "credentials_set")}),
        ABILITIES,
    )
    readonly_fields = (
        "id",
        "worker_status",
        "worker_reason",
        "listing",
        "is_enabled",
        "data",
        "last_stored",
        "errors",
        "markets_collected",
        "credentials_set",
        "capabilities",
        "timeframes",
        "created_at",
    )

    class Media:
        css = {"all": ("marketmon/admin.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Exchange]:
        return super().get_queryset(request).known().select_related("worker")  # type: ignore[no-any-return]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fieldsets if self.has_change_permission(request, obj) else self.fieldsets_for_readers

    # --- what is shown ------------------------------------------------------------------------------------------

    @display(description="exchange", header=True, ordering="id")
    def exchange(self, exchange: Exchange) -> tuple[str, str]:
        return exchange.id, "" if exchange.name == exchange.id else exchange.name

    @display(description="worker", label=STATUS_LABELS)
    def worker_status(self, exchange: Exchange) -> str | None:
        worker = getattr(exchange, "worker", None)
        return view_of(worker, clock.now()).status if worker else None

    @display(description="reason")
    def worker_reason(self, exchange: Exchange) -> str:
        worker = getattr(exchange, "worker", None)
        return (view_of(worker, clock.now()).reason if worker else "it has no worker yet") or "-"

    @display(description="blacklist", label={"blacklisted": "danger"})
    def listing(self, exchange: Exchange) -> str | None:
        return "blacklisted" if exchange.blacklisted else None

    @display(description="enabled", boolean=True)
    def is_enabled(self, exchange: Exchange) -> bool:
        return exchange.enabled

    @display(description="data", label={"simulated": "info"})
    def data(self, exchange: Exchange) -> str:
        return "simulated" if exchange.is_simulated else "real"

    @display(description="interval")
    def interval(self, exchange: Exchange) -> str:
        return f"{exchange.poll_interval_seconds:g} s"

    @display(description="last update", header=True)
    def last_update(self, exchange: Exchange) -> tuple[str, str]:
        worker = getattr(exchange, "worker", None)
        return since(worker.stored_at if worker else None)

    @display(description="last update")
    def last_stored(self, exchange: Exchange) -> str:
        return " · ".join(filter(None, self.last_update(exchange)))

    @display(description="errors")
    def errors(self, exchange: Exchange) -> int:
        return exchange.worker.error_count if hasattr(exchange, "worker") else 0

    @display(description="markets")
    def markets_collected(self, exchange: Exchange) -> int:
        return exchange.worker.symbols_tracked if hasattr(exchange, "worker") else 0

    @display(description="stored")
    def credentials_set(self, exchange: Exchange) -> str:
        names = secrets.names_in(exchange.credentials)
        if exchange.credentials and not names:
            return "set, and no key of ours opens them: set them again"
        return f"set: {', '.join(names)}" if names else "not set"

    @display(description="proxy")
    def proxy_shown(self, exchange: Exchange) -> str:
        return hide_login(exchange.proxy) or "-"

    @display(description="collects")
    def collects(self, exchange: Exchange) -> str:
        wanted = exchange.market_filter
        said = [f"quotes {', '.join(wanted['quotes'])}"] if wanted.get("quotes") else []
        said += [f"of {len(wanted['symbols'])} named markets"] if wanted.get("symbols") else []
        said += [f"the {wanted['top']} largest"] if wanted.get("top") else []
        return ", ".join(said) or "all markets"

    # --- pages --------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[Any]:
        return [*adding.urls(self), *panels.urls(self), *super().get_urls()]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return adding.page(request, self)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        context = {
            **(extra_context or {}),
            **panels.context(request, object_id),
            "show_save_and_add_another": False,
        }
        response: HttpResponse = super().change_view(request, object_id, form_url, context)
        return response

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # history hangs on it; the verb `remove` hides it

    def has_remove_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(permissions.needed_for("remove"))

    def save_model(self, request: HttpRequest, obj: Exchange, form: Any, change: bool) -> None:
        try:
            commands.configure(obj.pk, form.wanted(), **call(request))
        except commands.CommandRefused as refusal:
            request.META[REFUSED] = True
            messages.error(request, f"Not saved: {refusal}")

    def response_change(self, request: HttpRequest, obj: Exchange) -> HttpResponse:
        """Shows no message of success after a refusal, which has its own message."""
        if REFUSED in request.META:
            return HttpResponseRedirect(request.path)
        response: HttpResponse = super().response_change(request, obj)
        return response

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        return [{"changed": {"fields": [form.fields[name].label or name for name in form.changed_data]}}]

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        """Returns only the buttons that would change something."""
        state = Exchange.objects.filter(pk=object_id).values("enabled", "blacklisted").first()
        if state is None:
            return []
        pointless = {
            "lift" if not state["blacklisted"] else "blacklist",
            "enable" if state["enabled"] else "disable",
        }
        if state["blacklisted"] or not state["enabled"]:
            pointless |= {"restart", "ask_again", "refresh"}
        names = {f"exchanges_exchange_{name}" for name in pointless}
        return [each for each in super().get_actions_detail(request, object_id) if each.action_name not in names]

    # --- buttons ------------------------------------------------------------------------------------------------

    blacklist = buttons.blacklist
    lift = buttons.lift
    enable = buttons.enable
    disable = buttons.disable
    restart = buttons.restart
    ask_again = buttons.ask_again
    remove = buttons.remove

    @buttons.dialog(buttons.REFRESH)
    def refresh(self, request: HttpRequest, form: ConfirmForm, object_id: str) -> HttpResponse:
        self._send_refresh(request, [object_id], f"{object_id} is being refreshed; its checks show the result.")
        return back_to_page(request, buttons.CHANGELIST)

    @buttons.dialog(buttons.REFRESH_ALL)
    def refresh_all(self, request: HttpRequest, form: ConfirmForm) -> HttpResponse:
        count = len(catalogue.active_ids())
        self._send_refresh(request, None, f"{count} exchanges are being refreshed, some at a time.")
        return back_to_page(request, buttons.CHANGELIST)

    def _send_refresh(self, request: HttpRequest, exchange_ids: list[str] | None, said: str) -> None:
        who = call(request)
        if send(request, tasks.refresh_exchanges, by=who["by"], origin=who["origin"], exchange_ids=exchange_ids):
            messages.info(request, said)

    @admin.action(description="Blacklist…", permissions=["change"])
    def blacklist_selected(self, request: HttpRequest, queryset: QuerySet[Exchange]) -> HttpResponse | None:
        return self._confirm(request, queryset, "blacklist", WhyForm)

    @admin.action(description="Lift blacklist…", permissions=["change"])
    def lift_selected(self, request: HttpRequest, queryset: QuerySet[Exchange]) -> HttpResponse | None:
        return self._confirm(request, queryset, "lift", ConfirmForm)

    @admin.action(description="Enable…", permissions=["change"])
    def enable_selected(self, request: HttpRequest, queryset: QuerySet[Exchange]) -> HttpResponse | None:
        return self._confirm(request, queryset, "enable", ConfirmForm)

    @admin.action(description="Disable…", permissions=["change"])
    def disable_selected(self, request: HttpRequest, queryset: QuerySet[Exchange]) -> HttpResponse | None:
        return self._confirm(request, queryset, "disable", ConfirmForm)

    def _confirm(
        self, request: HttpRequest, queryset: QuerySet[Exchange], verb: str, form_class: type[BaseDialogForm]
    ) -> HttpResponse | None:
        """Shows the page in between for several at once: first POST shows what is chosen, the second carries it out."""
        chosen = [exchange.id for exchange in queryset.order_by("id")]
        form = form_class(data=request.POST if "_form_submitted" in request.POST else None, request=request)
        if form.is_valid():
            carry_out_all(request, verb, [(exchange_id,) for exchange_id in chosen], **details(form))
            return None
        context = {
            **self.admin_site.each_context(request),
            **(consequences(chosen) if verb in ("blacklist", "disable") else {}),
            "title": f"{verb.capitalize()} {len(chosen)} exchange{'s' if len(chosen) != 1 else ''}",
            "chosen": chosen,
            "chosen_keys": chosen,
            "form": form,
            "verb": verb.capitalize(),
            "is_dangerous": verb in ("blacklist", "disable"),
            "action_name": f"{verb}_selected",
            "list_url": request.get_full_path(),
            "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/exchanges/confirm.html", context)
