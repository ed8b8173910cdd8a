"""What collection knows of itself, for people. The worker's page, which has a verb, is in `operations.admin`."""

from __future__ import annotations

from datetime import datetime
from math import ceil

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import display

from collectors import backfill
from collectors.admin.run_columns import ReportAdmin
from collectors.models import (
    Gap,
    GapCause,
    GapState,
    Outcome,
    Pipeline,
    Run,
    RunTransport,
    Switch,
    Transition,
    WorkerStatus,
)
from collectors.rules import cadence
from exchanges.models import Exchange, Market
from lib import clock
from web.admin import MachineAdmin, ago, cut, since, utc, word_filter

STATUS_LABELS = {"running": "success", "error": "danger", "stopped": "warning"}
SEARCHED_MARKETS = 500
BACKFILL_WORDS = {GapState.OPEN.value: "waiting"}  # beside a gap that is open, or has ended
YES_NO = (("yes", "Yes"), ("no", "No"))


def matching_markets(search_term: str) -> list[int]:
    """Markets whose symbol begins so, `binance:BTC/` on one exchange only: asked first, so that the big table is
    then read by key."""
    exchange_id, colon, symbol = search_term.rpartition(":")
    exchanges = Exchange.objects.filter(pk=exchange_id.lower()) if colon else None
    if exchanges is None or not exchanges.exists():
        found = Market.objects.filter(symbol__startswith=search_term.upper())  # BTC/USDT:USDT has a colon as well
    else:
        found = Market.objects.filter(exchange_id=exchange_id.lower(), symbol__startswith=symbol.upper())
    return list(found.values_list("id", flat=True)[:SEARCHED_MARKETS])


@admin.register(Pipeline)
class PipelineAdmin(MachineAdmin):
    list_display = ("market", "last", "bid", "ask", "newest", "expected", "gaps_24h", "condition")
    list_select_related = ("market__exchange",)
    list_filter = (
        word_filter(
            "silent", YES_NO, parameter="silent", narrow=lambda rows, word: rows.filter(gap_open=word == "yes")
        ),
        word_filter(
            "gaps in 24 h",
            YES_NO,
            parameter="gaps",
            narrow=lambda rows, word: rows.filter(gaps_24h__gt=0) if word == "yes" else rows.filter(gaps_24h=0),
        ),
        word_filter(
            "frozen",
            YES_NO,
            parameter="frozen",
            narrow=lambda rows, word: rows.filter(frozen=word == "yes"),
        ),
        ("market__exchange", RelatedDropdownFilter),
    )
    search_fields = ("market__symbol",)
    search_help_text = "Beginning of a symbol: BTC/ or binance:BTC/"
    ordering = ("market_id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Pipeline]:
        here = super().get_queryset(request)
        return here.filter(market__exchange__removed_at__isnull=True)  # type: ignore[no-any-return]

    @display(description="newest quote", header=True)
    def newest(self, pipeline: Pipeline) -> tuple[str, str]:
        return since(pipeline.received_at)

    @display(description="expected every", header=True)
    def expected(self, pipeline: Pipeline) -> tuple[str, str]:
        reason = cadence.reason(
            pipeline.expected_seconds,
            poll_seconds=pipeline.market.exchange.poll_interval_seconds,
            ceiling_seconds=settings.CADENCE_CEILING_SECONDS,
        )
        return f"{pipeline.expected_seconds:g} s", reason

    @display(description="condition", label={"silent": "danger", "frozen": "warning"})
    def condition(self, pipeline: Pipeline) -> str | None:
        if pipeline.gap_open:
            return "silent"
        return "frozen" if pipeline.frozen else None

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Pipeline], search_term: str
    ) -> tuple[QuerySet[Pipeline], bool]:
        if search_term:
            queryset = queryset.filter(pk__in=matching_markets(search_term))
        return queryset, False


def forecast_words(gap: Gap, now: datetime) -> str:
    """When it may be done, were its exchange to fill nothing else: requests over what a minute allows."""
    requests, budget = backfill.requests_left(gap, now), settings.BACKFILL_REQUESTS_PER_MINUTE
    if requests == 0:
        return ""
    if budget == 0:
        return "backfill is off"
    if gap.ended_at is None:
        return "continues while the gap is open"
    if gap.next_try_at and gap.next_try_at > now:
        return f"next try {ago(gap.next_try_at, now)}"
    return f"{requests} request{'' if requests == 1 else 's'}, about {ceil(requests / budget)} min after its turn"


@admin.register(Gap)
class GapAdmin(MachineAdmin):
    list_display = ("market", "started", "ended", "lasted", "missed", "cause", "why", "filling", "forecast")
    list_select_related = ("pipeline__market__exchange",)
    list_filter = (
        word_filter(
            "open",
            YES_NO,
            parameter="open",
            narrow=lambda rows, word: rows.filter(ended_at__isnull=word == "yes"),
        ),
        word_filter("cause", GapCause.choices, parameter="cause", narrow=lambda rows, word: rows.filter(cause=word)),
        word_filter(
            "backfill",
            [(word, BACKFILL_WORDS.get(word, label)) for word, label in GapState.choices],
            parameter="state",
            narrow=lambda rows, word: rows.filter(state=word),
        ),
        ("pipeline__market__exchange", RelatedDropdownFilter),
    )
    search_fields = ("pipeline__market__symbol",)
    search_help_text = "Beginning of a symbol: BTC/ or binance:BTC/"
    ordering = ("-started_at", "-id")

    @display(description="market")
    def market(self, gap: Gap) -> str:
        return str(gap.pipeline.market)

    @display(description="started", header=True)
    def started(self, gap: Gap) -> tuple[str, str]:
        return since(gap.started_at)

    @display(description="ended", label={"open": "danger"})
    def ended(self, gap: Gap) -> str:
        return "open" if gap.ended_at is None else utc(gap.ended_at)

    @display(description="length")
    def lasted(self, gap: Gap) -> str:
        return f"{((gap.ended_at or clock.now()) - gap.started_at).total_seconds():.0f} s"

    @display(description="rows missed")
    def missed(self, gap: Gap) -> int:
        return gap.missed(clock.now())

    @display(description="evidence")
    def why(self, gap: Gap) -> str:
        return cut(gap.evidence)

    @display(description="backfill")
    def filling(self, gap: Gap) -> str:
        """A bar, and how many rows came of it."""
        share = gap.progress(clock.now())
        state = BACKFILL_WORDS.get(gap.state, gap.state)
        words = f"{state}, {gap.filled_count} rows" if gap.filled_count else state
        words += f": {cut(gap.lacking_reason)}" if gap.lacking_reason else ""
        return format_html('<progress max="1" value="{}"></progress> {}', f"{share:.3f}", words)

    @display(description="forecast")
    def forecast(self, gap: Gap) -> str:
        return forecast_words(gap, clock.now())

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Gap], search_term: str
    ) -> tuple[QuerySet[Gap], bool]:
        if search_term:
            queryset = queryset.filter(pipeline_id__in=matching_markets(search_term))
        return queryset, False


@admin.register(Run)
class RunAdmin(ReportAdmin):
    list_display = (
        "exchange",
        "started",
        "result",
        "duration",
        "rows_answered",
        "rows_stored",
        "quarantined",
        "problem",
    )
    list_filter = (
        word_filter(
            "outcome", Outcome.choices, parameter="outcome", narrow=lambda rows, word: rows.filter(outcome=word)
        ),
        word_filter(
            "transport",
            RunTransport.choices,
            parameter="transport",
            narrow=lambda rows, word: rows.filter(transport=word),
        ),
        ("exchange", RelatedDropdownFilter),
    )


@admin.register(Transition)
class TransitionAdmin(MachineAdmin):
    list_display = ("exchange", "happened", "before", "after", "why")
    list_select_related = ("exchange",)
    list_filter = (
        word_filter(
            "new status",
            WorkerStatus.choices,
            parameter="to_status",
            narrow=lambda rows, word: rows.filter(to_status=word),
        ),
        ("exchange", RelatedDropdownFilter),
    )
    ordering = ("-happened_at", "-id")

    @display(description="when", header=True)
    def happened(self, transition: Transition) -> tuple[str, str]:
        return since(transition.happened_at)

    @display(description="from", label=STATUS_LABELS)
    def before(self, transition: Transition) -> str:
        return transition.from_status

    @display(description="to", label=STATUS_LABELS)
    def after(self, transition: Transition) -> str:
        return transition.to_status

    @display(description="reason")
    def why(self, transition: Transition) -> str:
        return cut(transition.reason)


@admin.register(Switch)
class SwitchAdmin(MachineAdmin):
    list_display = ("exchange", "happened", "transport", "why")
    list_select_related = ("exchange",)
    list_filter = (("exchange", RelatedDropdownFilter),)
    ordering = ("-happened_at", "-id")

    @display(description="when", header=True)
    def happened(self, switch: Switch) -> tuple[str, str]:
        return since(switch.happened_at)

    @display(description="to transport")
    def transport(self, switch: Switch) -> str:
        return switch.to_transport

    @display(description="reason")
    def why(self, switch: Switch) -> str:
        return cut(switch.reason)
