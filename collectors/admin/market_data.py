"""Order books, trades, funding rates, what is missing and how collecting them goes, for people."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import display

from collectors.admin.run_columns import OUTCOME_LABELS, ReportAdmin
from collectors.models.market_data import (
    DepthKind,
    DepthRun,
    DepthSeries,
    FundingSnapshot,
    HoleState,
    OrderBookSnapshot,
    PublicTrade,
    TradeHole,
)
from exchanges import depth_settings
from exchanges.models import Exchange, Market
from web.admin import MachineAdmin, cut, since, utc, word_filter

LEVELS_SHOWN = 3
OUTCOMES = ("stored", "throttled", "unreachable", "bad_reply", "denied", "not_connected", "unsupported")
STATE_LABELS = {"open": "danger", "filled": "success", "partly filled": "warning", "exchange has none": "info"}
MATCHES = 500


def _exchange_filter() -> Any:
    """By markets, looked up first: the histories have no column for the exchange."""

    def narrow(rows: QuerySet[Any], exchange_id: str) -> QuerySet[Any]:
        return rows.filter(
            pipeline_id__in=list(Market.objects.filter(exchange=exchange_id).values_list("id", flat=True))
        )

    class ExchangeFilter(word_filter("exchange", (), parameter="exchange", narrow=narrow)):  # type: ignore[misc]
        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            wanted = Exchange.objects.known().filter(depth_series__isnull=False).distinct().order_by("id")
            return [(each.id, each.id) for each in wanted]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            return narrow(queryset, self.value()) if self.value() else queryset

    return ExchangeFilter


class HistoryAdmin(MachineAdmin):
    """Rows of a day-partitioned table, the newest first; one has no page of its own."""

    list_display_links = None
    list_select_related = ("pipeline__market",)
    search_fields = ("pipeline__market__symbol",)
    search_help_text = "Beginning of a symbol: BTC/"

    @display(description="market")
    def market(self, row: Any) -> str:
        return str(row.pipeline.market)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if search_term:
            found = Market.objects.filter(symbol__startswith=search_term.upper()).values_list("id", flat=True)
            queryset = queryset.filter(pipeline_id__in=list(found[:MATCHES]))
        return queryset, False


@admin.register(OrderBookSnapshot)
class OrderBookAdmin(HistoryAdmin):
    list_display = ("market", "received", "best_bids", "best_asks", "levels", "sequence")
    list_filter = (_exchange_filter(),)
    ordering = ("-received_at", "-id")

    @display(description="received", header=True)
    def received(self, book: OrderBookSnapshot) -> tuple[str, str]:
        return since(book.received_at)

    @display(description="bids")
    def best_bids(self, book: OrderBookSnapshot) -> str:
        return _levels(book.bid_prices, book.bid_amounts)

    @display(description="asks")
    def best_asks(self, book: OrderBookSnapshot) -> str:
        return _levels(book.ask_prices, book.ask_amounts)

    @display(description="levels")
    def levels(self, book: OrderBookSnapshot) -> str:
        return f"{len(book.bid_prices)} / {len(book.ask_prices)}"


@admin.register(PublicTrade)
class TradeAdmin(HistoryAdmin):
    list_display = ("market", "traded", "price", "amount", "side", "trade_id", "origin")
    list_filter = (_exchange_filter(),)
    ordering = ("-traded_at", "-id")

    @display(description="traded", header=True)
    def traded(self, trade: PublicTrade) -> tuple[str, str]:
        return since(trade.traded_at)

    @display(description="source", label={"backfilled": "info"})
    def origin(self, trade: PublicTrade) -> str | None:
        return "backfilled" if trade.is_filled else None


@admin.register(FundingSnapshot)
class FundingAdmin(HistoryAdmin):
    list_display = ("market", "received", "percent", "interval", "next_payment", "mark_price", "index_price")
    list_filter = (_exchange_filter(),)
    ordering = ("-received_at", "-id")

    @display(description="received", header=True)
    def received(self, rate: FundingSnapshot) -> tuple[str, str]:
        return since(rate.received_at)

    @display(description="rate")
    def percent(self, rate: FundingSnapshot) -> str:
        return f"{rate.rate * 100:.5f} %"

    @display(description="every")
    def interval(self, rate: FundingSnapshot) -> str:
        return f"{rate.interval_seconds / 3600:g} h" if rate.interval_seconds else "-"

    @display(description="next")
    def next_payment(self, rate: FundingSnapshot) -> str:
        return utc(rate.next_at)


@admin.register(TradeHole)
class TradeHoleAdmin(HistoryAdmin):
    list_display = ("market", "started", "ended", "numbers", "missing_count", "filled_count", "condition")
    list_filter = (
        word_filter("state", HoleState.choices, parameter="state", narrow=lambda rows, word: rows.filter(state=word)),
        _exchange_filter(),
    )
    ordering = ("-started_at", "-id")

    @display(description="after", header=True)
    def started(self, hole: TradeHole) -> tuple[str, str]:
        return since(hole.started_at)

    @display(description="until")
    def ended(self, hole: TradeHole) -> str:
        return utc(hole.ended_at)

    @display(description="missing numbers")
    def numbers(self, hole: TradeHole) -> str:
        if hole.first_number is None:
            return "not counted by the exchange"
        return f"{hole.first_number} to {hole.last_number}"

    @display(description="state", label=STATE_LABELS)
    def condition(self, hole: TradeHole) -> str:
        return hole.state


@admin.register(DepthSeries)
class DepthSeriesAdmin(MachineAdmin):
    """What is collected besides tickers, and how the last time went."""

    list_display = ("exchange", "kind", "what", "stored", "result", "due", "error_count", "problem")
    list_display_links = None
    list_select_related = ("exchange", "market")
    list_filter = (
        word_filter("kind", DepthKind.choices, parameter="kind", narrow=lambda rows, word: rows.filter(kind=word)),
        ("exchange", RelatedDropdownFilter),
    )
    ordering = ("exchange_id", "kind", "market_id")

    @display(description="market")
    def what(self, series: DepthSeries) -> str:
        if series.market:
            return series.market.symbol
        if series.kind == DepthKind.FUNDING:
            return "perpetuals"
        wanted = {each.kind: each for each in depth_settings.parse(series.exchange.depth)}.get(series.kind)
        return f"the {wanted.top} largest" if wanted else "no longer wanted"

    @display(description="last stored", header=True)
    def stored(self, series: DepthSeries) -> tuple[str, str]:
        return since(series.stored_at)

    @display(description="last outcome", label=OUTCOME_LABELS)
    def result(self, series: DepthSeries) -> str | None:
        return series.last_outcome or None

    @display(description="due")
    def due(self, series: DepthSeries) -> str:
        return since(series.next_at)[0]

    @display(description="last problem")
    def problem(self, series: DepthSeries) -> str:
        return cut(series.last_error) if series.error_count else ""


@admin.register(DepthRun)
class DepthRunAdmin(ReportAdmin):
    list_display = (
        "exchange",
        "kind",
        "started",
        "result",
        "duration",
        "requests",
        "rows_answered",
        "rows_stored",
        "quarantined",
        "problem",
    )
    list_filter = (
        word_filter("kind", DepthKind.choices, parameter="kind", narrow=lambda rows, word: rows.filter(kind=word)),
        word_filter(
            "outcome",
            [(word, word) for word in OUTCOMES],
            parameter="outcome",
            narrow=lambda rows, word: rows.filter(outcome=word),
        ),
        ("exchange", RelatedDropdownFilter),
    )


def _levels(prices: list[float], amounts: list[float]) -> str:
    shown = [f"{amount:.6g} at {price:.10g}" for price, amount in zip(prices, amounts, strict=True)][:LEVELS_SHOWN]
    return " · ".join(shown)
