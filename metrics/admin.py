"""Admin pages of snapshots, regimes and grids, with charts. What machines write is read-only."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import display

from collectors.models import Pipeline
from lib import clock
from lib.admin_pages import PageAdmin
from metrics import charts, grids
from metrics.models import Collection, ExitTransition, Grid, Notice, PaperFill, Series, Verdict
from web.admin import MachineAdmin, cut, since, word_filter

VERDICT_LABELS = {"RANGE_OK": "success", "RANGE_WEAK": "info", "TRANSITION": "warning", "TREND": "danger"}
EXIT_LABELS = {
    "NORMAL": "success",
    "WARNING": "warning",
    "LATEST_ACCEPTABLE_EXIT": "danger",
    "MANDATORY_EXIT": "danger",
}
STATE_LABELS = {"active": "success", "disabled": "info", "out_of_range": "warning", "stopped": "danger"}


STYLES = {"all": ("marketmon/admin.css", "marketmon/metrics.css")}


def words_of(labels: dict[str, str]) -> list[tuple[str, str]]:
    return [(word, word) for word in labels]


@admin.register(Collection)
class CollectionAdmin(MachineAdmin):
    list_display = ("collection_id", "started", "result", "data_points_collected", "trigger_source", "took", "failed")
    search_fields = ("collection_id__startswith",)
    ordering = ("-started_at", "-id")

    class Media:
        css = STYLES

    @display(description="when", header=True)
    def started(self, row: Collection) -> tuple[str, str]:
        return since(row.started_at)

    @display(description="status", label={"success": "success", "error": "danger"})
    def result(self, row: Collection) -> str:
        return row.status

    @display(description="took")
    def took(self, row: Collection) -> str:
        return f"{row.duration_ms} ms"

    @display(description="not collected")
    def failed(self, row: Collection) -> str:
        return cut("; ".join(f"{each['exchange'] or each['source']}: {each['reason']}" for each in row.failures)) or "-"


@admin.register(Series)
class SeriesAdmin(PageAdmin):
    """Admin page of watched series: people add markets and switch them on and off; the rest follows."""

    list_display = ("market", "timeframe", "enabled", "says", "exit", "asked", "problem")
    list_select_related = ("market__exchange",)
    list_filter = (
        "timeframe",
        "enabled",
        word_filter(
            "verdict",
            words_of(VERDICT_LABELS),
            parameter="verdict",
            narrow=lambda rows, word: rows.filter(verdict=word),
        ),
    )
    list_filter_submit = True
    raw_id_fields = ("market",)
    search_fields = ("market__symbol__startswith",)
    fields = ("market", "timeframe", "enabled")
    ordering = ("market_id", "timeframe")
    change_form_before_template = "metrics/chart.html"

    class Media:
        css = STYLES

    @display(description="verdict", label=VERDICT_LABELS)
    def says(self, series: Series) -> str | None:
        return series.verdict or None

    @display(description="exit", label=EXIT_LABELS)
    def exit(self, series: Series) -> str | None:
        return series.exit_state or None

    @display(description="candles asked", header=True)
    def asked(self, series: Series) -> tuple[str, str]:
        return since(series.asked_at)

    @display(description="problem")
    def problem(self, series: Series) -> str:
        return cut(series.last_error) or "-"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        series = self.get_object(request, object_id)
        chart = {"chart": charts.of_series(series)} if series else {}
        page: HttpResponse = super().change_view(request, object_id, form_url, {**(extra_context or {}), **chart})
        return page


@admin.register(Verdict)
class VerdictAdmin(MachineAdmin):
    list_display = ("series", "analyzed", "says", "sure", "score", "exit", "inputs", "source")
    list_select_related = ("series__market__exchange",)
    list_filter = (
        word_filter(
            "verdict",
            words_of(VERDICT_LABELS),
            parameter="verdict",
            narrow=lambda rows, word: rows.filter(verdict=word),
        ),
        word_filter(
            "exit state",
            words_of(EXIT_LABELS),
            parameter="exit_state",
            narrow=lambda rows, word: rows.filter(exit_state=word),
        ),
        ("series", RelatedDropdownFilter),
    )
    ordering = ("-id",)
    change_form_before_template = "metrics/chart.html"

    class Media:
        css = STYLES

    @display(description="when", header=True)
    def analyzed(self, verdict: Verdict) -> tuple[str, str]:
        return since(verdict.analyzed_at)

    @display(description="verdict", label=VERDICT_LABELS)
    def says(self, verdict: Verdict) -> str | None:
        return verdict.verdict or None

    @display(description="confidence")
    def sure(self, verdict: Verdict) -> str:
        return "-" if verdict.confidence is None else f"{verdict.confidence:.2f}"

    @display(description="trend score")
    def score(self, verdict: Verdict) -> str:
        return "-" if verdict.trend_score is None else f"{verdict.trend_score:.3f}"

    @display(description="exit", label=EXIT_LABELS)
    def exit(self, verdict: Verdict) -> str | None:
        return verdict.exit_state or None

    @display(description="inputs", header=True)
    def inputs(self, verdict: Verdict) -> tuple[str, str]:
        """Returns the number of bars used, and the shares of the inputs that cost the verdict confidence."""
        shares = {
            "missing": verdict.missing_share,
            "backfilled": verdict.backfilled_share,
            "frozen": verdict.frozen_share,
        }
        lost = ", ".join(f"{share:.0%} {word}" for word, share in shares.items() if share)
        return f"{verdict.bars_used} bars", lost

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        verdict = self.get_object(request, object_id)
        chart = {"chart": charts.of_series(verdict.series)} if verdict else {}
        page: HttpResponse = super().change_view(request, object_id, form_url, {**(extra_context or {}), **chart})
        return page


@admin.register(ExitTransition)
class ExitTransitionAdmin(MachineAdmin):
    list_display = ("series", "happened", "before", "after", "from_verdict", "to_verdict", "why")
    list_select_related = ("series__market__exchange",)
    ordering = ("-id",)

    class Media:
        css = STYLES

    @display(description="when", header=True)
    def happened(self, row: ExitTransition) -> tuple[str, str]:
        return since(row.happened_at)

    @display(description="from", label=EXIT_LABELS)
    def before(self, row: ExitTransition) -> str | None:
        return row.from_state or None

    @display(description="to", label=EXIT_LABELS)
    def after(self, row: ExitTransition) -> str | None:
        return row.to_state or None

    @display(description="why")
    def why(self, row: ExitTransition) -> str:
        return cut("; ".join(row.reasons)) or "-"


@admin.register(Notice)
class NoticeAdmin(MachineAdmin):
    list_display = ("series", "sent", "word", "why")
    list_select_related = ("series__market__exchange",)
    ordering = ("-id",)

    class Media:
        css = STYLES

    @display(description="when", header=True)
    def sent(self, row: Notice) -> tuple[str, str]:
        return since(row.sent_at)

    @display(description="state", label=EXIT_LABELS)
    def word(self, row: Notice) -> str:
        return row.state

    @display(description="why")
    def why(self, row: Notice) -> str:
        return cut("; ".join(row.reasons)) or "-"


class GridForm(ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Grid
        fields = (
            "id",
            "market",
            "enabled",
            "lower_bound",
            "upper_bound",
            "levels",
            "spacing",
            "amount_per_grid",
            "stop_loss",
        )

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        amounts = {name: value for name, value in self.initial.items() if isinstance(value, Decimal)}
        self.initial.update({name: grids.plain(value) for name, value in amounts.items()})


@admin.register(Grid)
class GridAdmin(PageAdmin):
    """Admin page of grids, which are followed on paper; nothing here ever places an order."""

    form = GridForm
    list_display = ("id", "market", "state", "bounds", "levels", "spacing", "price", "filled")
    list_select_related = ("market__exchange",)
    list_filter = ("enabled",)
    list_filter_submit = True
    raw_id_fields = ("market",)
    search_fields = ("id__startswith", "market__symbol__startswith")
    ordering = ("id",)
    change_form_before_template = "metrics/chart.html"

    class Media:
        css = STYLES

    def get_queryset(self, request: HttpRequest) -> QuerySet[Grid]:
        pipeline = Pipeline.objects.filter(market=OuterRef("market"))
        fills = (
            PaperFill.objects.filter(grid=OuterRef("pk")).order_by().values("grid").annotate(n=Count("id")).values("n")
        )
        rows: QuerySet[Grid] = super().get_queryset(request)
        names = ("received_at", "last", "expected_seconds")
        return rows.annotate(
            **{f"now_{name}": Subquery(pipeline.values(name)[:1]) for name in names}, paper=Subquery(fills)
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Grid | None = None) -> tuple[str, ...]:
        return ("id", "market") if obj else ()  # a grid's fills belong to its market

    @display(description="state", label=STATE_LABELS)
    def state(self, grid: Grid) -> str | None:
        return self._standing(grid).state

    @display(description="range")
    def bounds(self, grid: Grid) -> str:
        return f"{grids.plain(grid.lower_bound)} to {grids.plain(grid.upper_bound)}"

    @display(description="price")
    def price(self, grid: Grid) -> str:
        found = self._standing(grid)
        return f"{found.last_price:g}" + (f" ({found.error})" if found.error else "") if found.last_price else "-"

    @display(description="fills on paper")
    def filled(self, grid: Grid) -> int:
        return grid.paper or 0  # type: ignore[attr-defined]  # annotated

    @staticmethod
    def _standing(grid: Any) -> grids.GridStatus:
        """Returns the grid's status by the pipeline that the list's one query brought along."""
        known = grid.now_expected_seconds is not None
        values = {name: getattr(grid, f"now_{name}") for name in ("received_at", "last", "expected_seconds")}
        return grids.stand(grid, Pipeline(**values) if known else None, None, now=clock.now())

    def save_model(self, request: HttpRequest, obj: Grid, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        for warning in grids.warnings_of(grids.standings([obj], now=clock.now())[0]):
            messages.warning(request, warning)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        grid = self.get_object(request, object_id)
        chart = {"chart": charts.of_grid(grid)} if grid else {}
        page: HttpResponse = super().change_view(request, object_id, form_url, {**(extra_context or {}), **chart})
        return page
