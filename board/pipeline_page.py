"""The page of one pipeline: price with gaps and backfilled parts, expected interval and why, and what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse

from board import gap_rows, links, pages, series
from board.gap_rows import GapRow
from board.pair_page import span_of
from board.rules import comparison
from collectors.models import Gap, Pipeline
from collectors.rules import cadence, pair_rates
from collectors.rules.age import AnswerState
from collectors.rules.gap_causes import HALTED, LABELS
from collectors.rules.gaps import is_gap
from collectors.status import ages, disbelief
from exchanges.models import Market, MarketState
from lib import clock

SHOWN_GAPS = 20


def show(request: HttpRequest, exchange_id: str, symbol: str) -> HttpResponse:
    symbol = symbol.removesuffix("/")  # one that ends so is reached by its number
    return _page(request, Q(market__exchange_id=exchange_id, market__symbol=symbol))


def show_by_number(request: HttpRequest, number: str) -> HttpResponse:
    return _page(request, Q(pk=int(number)))


def data(request: HttpRequest, number: str) -> HttpResponse:
    """Returns the chart's columns and gaps."""
    listed_at = Market.objects.filter(pipeline=int(number)).values_list("listed_at", flat=True).first()
    if listed_at is None:
        raise Http404
    return JsonResponse(series.read(int(number), span_of(request), now=clock.now(), not_before=listed_at))


def _page(request: HttpRequest, which: Q) -> HttpResponse:
    """Shows the page, with two queries."""
    pipeline = Pipeline.objects.filter(which).select_related("market__exchange").first()
    if pipeline is None:
        raise Http404
    now, market = clock.now(), pipeline.market
    gaps = Gap.objects.filter(pipeline=pipeline).select_related("pipeline__market").order_by("-started_at")
    shown = gap_rows.rows(gaps[:SHOWN_GAPS], now)
    context = {
        "title": f"{market.symbol} on {market.exchange_id}",
        "pipeline": pipeline,
        "market": market,
        "prices": _prices(pipeline),
        "state": _state(pipeline, shown, now),
        "cadence": cadence.reason(
            pipeline.expected_seconds,
            poll_seconds=market.exchange.poll_interval_seconds,
            ceiling_seconds=settings.CADENCE_CEILING_SECONDS,
        ),
        "gaps": shown,
        "links": _links(pipeline),
        "exchange_url": links.exchange(market.exchange_id),
        "spans": series.SPANS,
        "span": series.DEFAULT_SPAN,
        "taken_at": now,
    }
    return pages.show(request, "board/pipeline.html", context)


def _prices(pipeline: Pipeline) -> list[tuple[str, str]]:
    spread = comparison.spread_share(pipeline.bid, pipeline.ask)
    return [
        ("price", comparison.digits(comparison.price_of(pipeline.last, pipeline.bid, pipeline.ask))),
        ("bid", comparison.digits(pipeline.bid)),
        ("ask", comparison.digits(pipeline.ask)),
        ("spread", "-" if spread is None else f"{spread * 100:.4f} %"),
    ]


def _state(pipeline: Pipeline, gaps: list[GapRow], now: datetime) -> dict[str, Any]:
    """Returns what is wrong, since when and why, in the words of its gap."""
    market = pipeline.market
    stopped = _why_not_collected(pipeline)
    if stopped:
        return {"tone": "warning", "said": "not collected", "why": stopped}
    if market.state == MarketState.HALTED:
        why = f"the exchange lists this market and does not trade it: {market.halt}"
        return {"tone": "warning", "said": LABELS[HALTED], "since": market.halted_at, "why": why}
    if pipeline.received_at is None:
        return {"tone": "danger", "said": "never stored", "why": "no quote of this market was ever stored"}
    if pipeline.gap_open:
        gap = next((each for each in gaps if each.ended_at is None), None)
        why = f"{gap.cause}: {gap.evidence}" if gap else "the sweep has found it silent"
        return {"tone": "danger", "said": "silent", "since": pipeline.received_at, "why": why}
    if is_gap(pipeline.received_at, now, pipeline.expected_seconds):
        why = "no row for more than two expected intervals; the pulse, which would write that down, has not done so"
        return {"tone": "danger", "said": "silent", "since": pipeline.received_at, "why": why}
    answers = ages.states().get((market.exchange_id, market.kind))
    if word := disbelief.word(pipeline, answers):
        since = _since(word, pipeline, answers)
        return {"tone": "warning", "said": word, "since": since, "why": disbelief.reason(pipeline, answers)}
    return {"tone": "success", "said": "fresh", "why": ""}


def _since(word: str, pipeline: Pipeline, answers: AnswerState | None) -> datetime | None:
    if word == pair_rates.FROZEN:
        return pipeline.changed_at
    is_old = word == pair_rates.OLD and answers is not None
    return datetime.fromtimestamp(answers.shown_at, UTC) if is_old and answers is not None else pipeline.received_at


def _why_not_collected(pipeline: Pipeline) -> str:
    market = pipeline.market
    reasons = (
        (not market.active, "the exchange no longer lists this market"),
        (market.blacklisted, "the market is blacklisted"),
        (market.dormant, f"the exchange lists this market and has not traded it since we know it: {market.halt}"),
        (market.excluded, "the exchange's market filter leaves it out"),
        (not market.exchange.is_collected, "the exchange is switched off or blacklisted by an operator"),
    )
    return next((words for is_so, words in reasons if is_so), "")


def _links(pipeline: Pipeline) -> list[tuple[str, str]]:
    market = pipeline.market
    return [
        (f"{market.base}/{market.quote} on all exchanges", links.pair(market.base, market.quote, number=market.pk)),
        (market.exchange_id, links.exchange(market.exchange_id)),
        ("Market's settings", reverse("admin:exchanges_market_change", args=[market.pk])),
        ("History (JSON)", reverse("pipeline-history", args=[market.pk])),
    ]
