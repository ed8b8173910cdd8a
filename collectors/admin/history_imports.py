"""The admin's page of history imports: what is fetched of the time before collection began, and how far it is."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextInputWidget

from collectors.admin.collection import matching_markets
from collectors.backfill import importing
from collectors.models import HistoryImport, ImportState, Pipeline
from exchanges import symbols
from exchanges.models import AuditEntry, Exchange
from exchanges.symbols import AmbiguousSymbol
from lib import clock
from lib.admin_pages import PageAdmin
from web.admin import InfinitePaginator, cut, since, word_filter

STATE_LABELS = {"running": "info", "done": "success", "stopped": "warning", "refused": "danger"}


class ImportForm(forms.ModelForm):  # type: ignore[type-arg]
    """What is to be fetched: one market, and since when."""

    exchange = forms.ModelChoiceField(Exchange.objects.none(), widget=UnfoldAdminSelectWidget)
    symbol = forms.CharField(
        max_length=100, widget=UnfoldAdminTextInputWidget, help_text="In any usual spelling: BTC/USDT, btc-usdt."
    )
    start_at = forms.SplitDateTimeField(label="from", widget=UnfoldAdminSplitDateTimeWidget, help_text="UTC.")
    end_at = forms.SplitDateTimeField(
        label="until", widget=UnfoldAdminSplitDateTimeWidget, required=False,
        help_text="UTC. Empty: up to the first minute that is stored.",
    )  # fmt: skip

    class Meta:
        model = HistoryImport
        fields = ("start_at", "end_at")

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.fields["exchange"].queryset = Exchange.objects.collected().order_by("id")  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        sent: dict[str, Any] = super().clean() or {}
        if not self.errors:
            self.instance.pipeline = self._pipeline(sent["exchange"], sent["symbol"])
        return sent

    def _pipeline(self, exchange: Exchange, text: str) -> Pipeline:
        try:
            market = symbols.find(exchange.id, text)
        except AmbiguousSymbol as error:
            raise forms.ValidationError({"symbol": str(error)}) from error
        if market is None:
            raise forms.ValidationError({"symbol": f"{exchange.id} has no market that is spelled so."})
        return Pipeline.objects.select_related("market").get(pk=market.id)

    def _post_clean(self) -> None:
        """Writes down what is asked for; what cannot be is the form's error."""
        if self.errors:
            return
        sent, by = self.cleaned_data, self.requested_by  # type: ignore[attr-defined]
        try:
            self.instance, self.is_new = importing.request(
                self.instance.pipeline, start=sent["start_at"], end=sent["end_at"], by=by, now=clock.now()
            )
        except importing.CannotImport as error:
            self.add_error(None, str(error))

    def save(self, commit: bool = True) -> HistoryImport:
        """Returns the import, which is written down already."""
        wanted: HistoryImport = self.instance
        return wanted

    def save_m2m(self) -> None:
        """Saves nothing: an import has no such fields."""


@admin.register(HistoryImport)
class HistoryImportAdmin(PageAdmin):
    form = ImportForm
    fields = ("exchange", "symbol", "start_at", "end_at")
    paginator = InfinitePaginator
    show_full_result_count = False
    list_display = ("market", "span", "state_word", "how_far", "stored", "known", "lacking", "why", "asked")
    list_select_related = ("pipeline__market__exchange",)
    list_filter = (
        word_filter("state", ImportState.choices, parameter="state",
                    narrow=lambda rows, word: rows.filter(state=word)),
        ("pipeline__market__exchange", RelatedDropdownFilter),
    )  # fmt: skip
    list_filter_submit = True
    search_fields = ("pipeline__market__symbol",)
    search_help_text = "Beginning of a symbol: BTC/ or binance:BTC/"
    ordering = ("-requested_at", "-id")
    list_display_links = None
    sortable_by = ()
    actions = ("stop_imports",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.requested_by = request.user.get_username()[:150]
        return form

    def save_model(self, request: HttpRequest, obj: HistoryImport, form: Any, change: bool) -> None:
        _record("import history", request, f"{obj.pipeline.market} since {obj.start_at:%Y-%m-%d %H:%M} UTC")

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return None  # who did what has it

    @admin.action(description="Stop what is running", permissions=["add"])
    def stop_imports(self, request: HttpRequest, queryset: QuerySet[HistoryImport]) -> None:
        stopped = importing.stop(queryset, now=clock.now())
        if stopped:
            _record("stop import", request, f"{stopped} history imports")
        messages.success(request, f"{stopped} stopped; what is stored stays.")

    @display(description="market")
    def market(self, wanted: HistoryImport) -> str:
        return str(wanted.pipeline.market)

    @display(description="time (UTC)", header=True)
    def span(self, wanted: HistoryImport) -> tuple[str, str]:
        one_line = '<span style="white-space: nowrap">{}</span>'
        start, end = (f"{moment:%Y-%m-%d %H:%M}" for moment in (wanted.start_at, wanted.end_at))
        return format_html(one_line, f"since {start}"), format_html(one_line, f"until {end}")

    @display(description="state", label=STATE_LABELS)
    def state_word(self, wanted: HistoryImport) -> str:
        return wanted.state

    @display(description="progress")
    def how_far(self, wanted: HistoryImport) -> str:
        left = wanted.eta_seconds(clock.now())
        words = f"{wanted.progress:.1%}" + (f", about {left / 60:.0f} min left" if left is not None else "")
        return format_html('<progress max="1" value="{}"></progress> {}', f"{wanted.progress:.3f}", words)

    @display(description="minutes stored")
    def stored(self, wanted: HistoryImport) -> int:
        return wanted.stored_count

    @display(description="known or quiet")
    def known(self, wanted: HistoryImport) -> int:
        return wanted.known_count

    @display(description="lacking")
    def lacking(self, wanted: HistoryImport) -> int:
        return wanted.lacking_count

    @display(description="reason")
    def why(self, wanted: HistoryImport) -> str:
        return cut(wanted.reason)

    @display(description="asked for", header=True)
    def asked(self, wanted: HistoryImport) -> tuple[str, str]:
        return since(wanted.requested_at)[0], f"by {wanted.requested_by}"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[HistoryImport], search_term: str
    ) -> tuple[QuerySet[HistoryImport], bool]:
        if search_term:
            queryset = queryset.filter(pipeline_id__in=matching_markets(search_term))
        return queryset, False


def _record(verb: str, request: HttpRequest, what: str) -> None:
    AuditEntry.objects.create(
        happened_at=clock.now(), who=request.user.get_username()[:150], verb=verb, why=what[:500], origin="admin",
        correlation_id=str(getattr(request, "correlation_id", ""))[:64], before={}, changed=True,
    )  # fmt: skip
