"""Where operators say what is collected. Every change of that state is one of `exchanges.management`'s verbs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextInputWidget

from collectors import schedule
from collectors.api import view_of, with_status
from collectors.models import Worker, WorkerStatus
from exchanges import management
from exchanges.models import SANDBOX_PLACEHOLDER, BlacklistEntry, Exchange, Market
from marketmon.admin import MachineAdmin, back_to_page, cut, since, utc, word_filter
from marketmon.lib import clock

STATUS_LABELS = {"running": "success", "error": "danger", "stopped": "warning"}
CHANGELIST = "admin:exchanges_exchange_changelist"


class ConfirmForm(BaseDialogForm):
    """Nothing to fill in: its hidden field proves that the dialog was confirmed."""


class MomentWidget(UnfoldAdminTextInputWidget):
    input_type = "datetime-local"


class ReasonForm(BaseDialogForm):
    reason = forms.CharField(max_length=500, widget=UnfoldAdminTextInputWidget, help_text="Kept in the history.")
    expires_at = forms.DateTimeField(
        required=False, widget=MomentWidget, label="Until (UTC)", help_text="Empty: until somebody lifts it."
    )

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= clock.now():
            raise forms.ValidationError("This moment has passed.")
        return expires_at


class ExchangeForm(forms.ModelForm):  # type: ignore[type-arg]
    """How to reach an exchange, and how often."""

    def clean_base_url(self) -> str:
        base_url: str = self.cleaned_data["base_url"]
        if base_url and not base_url.startswith(("http://", "https://", SANDBOX_PLACEHOLDER)):
            raise forms.ValidationError(f"Start it with http://, https:// or {SANDBOX_PLACEHOLDER}.")
        return base_url

    def clean_proxy(self) -> str:
        proxy: str = self.cleaned_data["proxy"]
        if proxy and not proxy.startswith(("http://", "https://")):
            raise forms.ValidationError("Start it with http:// or https://.")
        return proxy

    def clean_ca_file(self) -> str:
        ca_file: str = self.cleaned_data["ca_file"]
        if ca_file and not PurePosixPath(ca_file).is_absolute():
            raise forms.ValidationError("Give the whole path, from / on.")
        return ca_file


class BlacklistHistory(TabularInline):
    model = BlacklistEntry
    verbose_name_plural = "Blacklist history"
    fields = readonly_fields = ("listed", "listed_by", "reason", "until", "lifted", "lifted_by")
    ordering = ("-listed_at",)
    extra = 0
    per_page = 10

    @admin.display(description="listed")
    def listed(self, entry: BlacklistEntry) -> str:
        return utc(entry.listed_at)

    @admin.display(description="until")
    def until(self, entry: BlacklistEntry) -> str:
        return utc(entry.expires_at)

    @admin.display(description="lifted")
    def lifted(self, entry: BlacklistEntry) -> str:
        return utc(entry.lifted_at)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


Verb = Callable[..., Any]

# What each button does, and what the message says afterwards.
VERBS: dict[str, tuple[Verb, str]] = {
    "blacklist": (management.blacklist, "{} is blacklisted: nobody calls it any more."),
    "lift": (management.lift, "{} is off the blacklist; it is polled again within one interval."),
    "disable": (management.disable, "{} is disabled: nobody calls it any more."),
    "enable": (management.enable, "{} is enabled; it is polled again within one interval."),
    "restart": (management.restart, "{}'s worker is restarted with a clean record."),
}


def carry_out(request: HttpRequest, verb: str, exchange_id: str, **details: Any) -> None:
    """One verb for one exchange, and what came of it as a message."""
    run, done = VERBS[verb]
    try:
        outcome = run(exchange_id, by=request.user.get_username(), now=clock.now(), **details)
    except management.Refused as refusal:
        messages.error(request, str(refusal))
        return
    if outcome is False:
        messages.info(request, f"{exchange_id} was restarted a moment ago, and has had no error since.")
        return
    messages.success(request, done.format(exchange_id))
    if isinstance(outcome, management.Stopped) and not outcome.was_delivered:
        messages.warning(request, f"{exchange_id}: one request was already on its way; its answer will not be stored.")


@admin.register(Exchange)
class ExchangeAdmin(ModelAdmin):
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
        "symbols",
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
    actions_row = ("blacklist", "lift", "enable", "disable", "restart")
    actions_detail = ("blacklist", "lift", "enable", "disable", "restart")
    inlines = (BlacklistHistory,)
    fieldsets = (
        (None, {"fields": ("id", "name", "worker_status", "worker_reason", "listing", "is_enabled")}),
        ("Collection", {"fields": ("poll_interval_seconds", "last_stored", "errors", "symbols")}),
        ("How to reach it", {"fields": ("data", "base_url", "proxy", "ca_file")}),
        ("What it can do", {"fields": ("capabilities", "timeframes", "created_at"), "classes": ("collapse",)}),
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
        "symbols",
        "capabilities",
        "timeframes",
        "created_at",
    )

    class Media:
        css = {"all": ("marketmon/admin.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Exchange]:
        return super().get_queryset(request).known().select_related("worker")  # type: ignore[no-any-return]

    @display(description="exchange", header=True, ordering="id")
    def exchange(self, exchange: Exchange) -> tuple[str, str]:
        return exchange.id, "" if exchange.name == exchange.id else exchange.name

    @display(description="worker", label=STATUS_LABELS)
    def worker_status(self, exchange: Exchange) -> str | None:
        worker = getattr(exchange, "worker", None)
        return view_of(worker, clock.now()).status if worker else None

    @display(description="because")
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

    @display(description="symbols")
    def symbols(self, exchange: Exchange) -> int:
        return exchange.worker.symbols_tracked if hasattr(exchange, "worker") else 0

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # an exchange without worker and markets would be half of one; a verb adds it

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # history hangs on it

    def save_model(self, request: HttpRequest, obj: Exchange, form: Any, change: bool) -> None:
        """Only what this form changed: a verb may have run since it was opened."""
        if form.changed_data:
            obj.save(update_fields=form.changed_data)
        if "poll_interval_seconds" in form.changed_data:
            schedule.sync(now=clock.now(), exchange_ids=[obj.pk])

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        """Only the buttons that would change something."""
        state = Exchange.objects.filter(pk=object_id).values("enabled", "blacklisted").first()
        if state is None:
            return []
        pointless = {
            "lift" if not state["blacklisted"] else "blacklist",
            "enable" if state["enabled"] else "disable",
        }
        names = {f"exchanges_exchange_{name}" for name in pointless}
        return [each for each in super().get_actions_detail(request, object_id) if each.action_name not in names]

    # Unfold runs an action on GET unless it has a dialog: then GET shows the form and only its POST gets here.

    @action(
        description="Blacklist…",
        icon="block",
        variant=ActionVariant.DANGER,
        permissions=["change"],
        dialog={
            "title": "Blacklist this exchange",
            "description": "Collection stops: no request reaches it until it is lifted.",
            "form_class": ReasonForm,
            "form_submit_text": "Blacklist",
        },
    )
    def blacklist(self, request: HttpRequest, form: ReasonForm, object_id: str) -> HttpResponse:
        carry_out(request, "blacklist", object_id, **_details(form))
        return back_to_page(request, CHANGELIST)

    @action(
        description="Lift blacklist…",
        icon="lock_open",
        permissions=["change"],
        dialog={
            "title": "Take this exchange off the blacklist",
            "description": "Collection resumes with the next interval.",
            "form_class": ConfirmForm,
            "form_submit_text": "Lift",
        },
    )
    def lift(self, request: HttpRequest, form: ConfirmForm, object_id: str) -> HttpResponse:
        carry_out(request, "lift", object_id)
        return back_to_page(request, CHANGELIST)

    @action(
        description="Enable…",
        icon="play_arrow",
        permissions=["change"],
        dialog={
            "title": "Enable this exchange",
            "description": "Collection resumes with the next interval.",
            "form_class": ConfirmForm,
            "form_submit_text": "Enable",
        },
    )
    def enable(self, request: HttpRequest, form: ConfirmForm, object_id: str) -> HttpResponse:
        carry_out(request, "enable", object_id)
        return back_to_page(request, CHANGELIST)

    @action(
        description="Disable…",
        icon="pause",
        permissions=["change"],
        dialog={
            "title": "Disable this exchange",
            "description": "Collection stops until it is enabled again.",
            "form_class": ConfirmForm,
            "form_submit_text": "Disable",
        },
    )
    def disable(self, request: HttpRequest, form: ConfirmForm, object_id: str) -> HttpResponse:
        carry_out(request, "disable", object_id)
        return back_to_page(request, CHANGELIST)

    @action(
        description="Restart worker…",
        icon="restart_alt",
        permissions=["change"],
        dialog={
            "title": "Restart this exchange's worker",
            "description": "Errors and pauses are forgotten; a running cycle is replaced, never doubled.",
            "form_class": ConfirmForm,
            "form_submit_text": "Restart",
        },
    )
    def restart(self, request: HttpRequest, form: ConfirmForm, object_id: str) -> HttpResponse:
        carry_out(request, "restart", object_id)
        return back_to_page(request, CHANGELIST)

    @admin.action(description="Blacklist…", permissions=["change"])
    def blacklist_selected(self, request: HttpRequest, queryset: QuerySet[Exchange]) -> HttpResponse | None:
        return self._confirm(request, queryset, "blacklist", ReasonForm)

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
        """The page in between for several at once: first POST shows what is chosen, the second carries it out."""
        chosen = [exchange.id for exchange in queryset.order_by("id")]
        form = form_class(data=request.POST if "_form_submitted" in request.POST else None, request=request)
        if form.is_valid():
            for exchange_id in chosen:
                carry_out(request, verb, exchange_id, **_details(form))
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb.capitalize()} {len(chosen)} exchange{'s' if len(chosen) != 1 else ''}",
            "opts": self.opts,
            "chosen": chosen,
            "form": form,
            "verb": verb.capitalize(),
            "action_name": f"{verb}_selected",
            "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/exchanges/confirm.html", context)


def _details(form: BaseDialogForm) -> dict[str, Any]:
    """What the form adds to the verb; without the field that only proves the confirmation."""
    return {name: value for name, value in form.cleaned_data.items() if not name.startswith("_")}


@admin.register(Market)
class MarketAdmin(MachineAdmin):
    list_display = ("symbol", "exchange", "kind", "source", "venue_id", "active", "blacklisted", "listed")
    list_select_related = ("exchange",)
    list_filter = (("exchange", RelatedDropdownFilter), "active", "blacklisted")
    search_fields = ("symbol__startswith",)
    search_help_text = "Beginning of a symbol, e.g. BTC/"
    ordering = ("-id",)

    @display(description="listed", header=True, ordering="listed_at")
    def listed(self, market: Market) -> tuple[str, str]:
        return since(market.listed_at)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Market], search_term: str
    ) -> tuple[QuerySet[Market], bool]:
        return super().get_search_results(request, queryset, search_term.upper())  # type: ignore[no-any-return]


@admin.register(Worker)
class WorkerAdmin(MachineAdmin):
    """One collector per exchange; its row's key is the exchange's id, so the verb takes it as it is."""

    list_display = ("exchange", "state", "last_update", "last_cycle", "error_count", "symbols_tracked", "problem")
    list_select_related = ("exchange",)
    list_per_page = 200
    list_filter = (
        word_filter(
            "status",
            WorkerStatus.choices,
            parameter="status",
            narrow=lambda workers, word: with_status(workers, word, clock.now()),
        ),
    )
    search_fields = ("exchange__id__startswith",)
    ordering = ("exchange_id",)
    actions_row = ("restart",)
    actions_detail = ("restart",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        return super().get_queryset(request).filter(exchange__removed_at__isnull=True)  # type: ignore[no-any-return]

    @display(description="status", label=STATUS_LABELS)
    def state(self, worker: Worker) -> str:
        return view_of(worker, clock.now()).status

    @display(description="last update", header=True)
    def last_update(self, worker: Worker) -> tuple[str, str]:
        return since(worker.stored_at)

    @display(description="last cycle", header=True)
    def last_cycle(self, worker: Worker) -> tuple[str, str]:
        return since(worker.heartbeat_at)

    @display(description="last error", header=True)
    def problem(self, worker: Worker) -> tuple[str, str]:
        return cut(worker.last_error) or "-", since(worker.last_error_at)[0] if worker.last_error else ""

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("exchanges.change_exchange")

    @action(
        description="Restart…",
        icon="restart_alt",
        permissions=["operate"],
        dialog={
            "title": "Restart this worker",
            "description": "Errors and pauses are forgotten; a running cycle is replaced, never doubled.",
            "form_class": ConfirmForm,
            "form_submit_text": "Restart",
        },
    )
    def restart(self, request: HttpRequest, form: ConfirmForm, object_id: str) -> HttpResponse:
        carry_out(request, "restart", object_id)
        return back_to_page(request, "admin:collectors_worker_changelist")
