"""The page of one pair: all its sources side by side, how fresh each is, and which are outliers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Case, Q, QuerySet, Value, When
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse

from board import links, pages, series
from board.rules import comparison
from board.rules.comparison import ComparedSource, Judged
from collectors.models import Pipeline
from collectors.rules import pair_rates
from collectors.rules.age import AnswerState
from collectors.status import ages, disbelief
from exchanges.models import Market
from lib import clock

MOST_SOURCES = 100
MOST_CUTS = 6  # a name with more slashes is nobody's pair


def show(request: HttpRequest, name: str = "") -> HttpResponse:
    pipelines = _sources(request, name)
    if not pipelines:
        raise Http404
    now = clock.now()
    compared = [pipeline for pipeline in pipelines if pipeline.market.kind in comparison.COMPARED_KINDS]
    answers = ages.states()
    sources = [_source(pipeline, answers) for pipeline in compared]
    middle, judged = comparison.compare(sources, now=now, outlier_share=pair_rates.OUTLIER_SHARE)
    first = pipelines[0].market
    context = {
        "title": f"{first.base}/{first.quote}",
        "median": None if middle is None else comparison.digits(middle),
        "rows": [_row(*each) for each in zip(compared, sources, judged, strict=True)],
        "others": [_other(pipeline) for pipeline in pipelines if pipeline not in compared],
        "verdict": _verdict(compared, sources, judged),
        "outlier_percent": pair_rates.OUTLIER_SHARE * 100,
        "spans": series.SPANS,
        "span": series.DEFAULT_SPAN,
        "market": first.pk,
        "taken_at": now,
        "is_cut": len(pipelines) >= MOST_SOURCES,
    }
    return pages.show(request, "board/pair.html", context)


def data(request: HttpRequest, market: str) -> HttpResponse:
    """Returns the chart's lines."""
    known = _of(market)
    if not known:
        raise Http404
    compared = [each.market for each in known if each.market.kind in comparison.COMPARED_KINDS]
    lines = {each.pk: str(each) for each in compared[: series.MOST_SOURCES]}
    listed_at = min(each.market.listed_at for each in known)
    return JsonResponse(series.read_side_by_side(lines, span_of(request), now=clock.now(), not_before=listed_at))


def span_of(request: HttpRequest) -> series.ChartSpan:
    return series.SPANS.get(request.GET.get("span", ""), series.SPANS[series.DEFAULT_SPAN])


def _sources(request: HttpRequest, name: str) -> list[Pipeline]:
    name = name.removesuffix("/")  # no name that ends so has an address of this kind
    if not name:
        return _of(request.GET.get("market", ""))
    wanted = Q(pk__in=[])
    pieces = name.split("/")[: MOST_CUTS + 1]
    for place in range(1, len(pieces)):  # a base may hold a slash: every cut is asked for
        wanted |= Q(market__base="/".join(pieces[:place]), market__quote="/".join(pieces[place:]))
    return list(_ordered(Pipeline.objects.filter(wanted)))


def _of(market: str) -> list[Pipeline]:
    """Returns all pipelines of the pair of one market, given by its number."""
    found = Market.objects.filter(pk=int(market)).first() if market.isdecimal() and len(market) < 10 else None
    if found is None:
        return []
    return list(_ordered(Pipeline.objects.filter(market__base=found.base, market__quote=found.quote)))


def _ordered(pipelines: QuerySet[Pipeline]) -> QuerySet[Pipeline]:
    """Orders by spot, then swaps, then the rest, of which there may be thousands."""
    rank = Case(When(market__kind="spot", then=Value(0)), When(market__kind="swap", then=Value(1)), default=Value(2))
    known = pipelines.filter(market__exchange__removed_at__isnull=True, market__active=True)
    return known.select_related("market__exchange").order_by(rank, "market__exchange_id", "market__symbol")[
        :MOST_SOURCES
    ]


def _source(pipeline: Pipeline, answers: Mapping[ages.Source, AnswerState]) -> ComparedSource:
    market = pipeline.market
    return ComparedSource(
        kind=market.kind,
        price=comparison.price_of(pipeline.last, pipeline.bid, pipeline.ask),
        bid=pipeline.bid,
        ask=pipeline.ask,
        received_at=pipeline.received_at,
        expected_seconds=pipeline.expected_seconds,
        is_collected=market.exchange.is_collected and market.is_collected,
        fault=disbelief.word(pipeline, answers.get((market.exchange_id, market.kind))),
    )


def _row(pipeline: Pipeline, source: ComparedSource, judged: Judged) -> dict[str, Any]:
    market = pipeline.market
    return {
        "number": market.pk,
        "exchange": market.exchange_id,
        "exchange_url": links.exchange(market.exchange_id),
        "symbol": market.symbol,
        "url": links.pipeline(market.exchange_id, market.symbol, number=market.pk),
        "kind": market.kind,
        "price": comparison.digits(source.price),
        "bid": comparison.digits(pipeline.bid),
        "ask": comparison.digits(pipeline.ask),
        "received_at": pipeline.received_at,
        "fault": source.fault,
        "is_fresh": judged.is_fresh and not source.fault,
        "is_outlier": judged.is_outlier,
        "spread_percent": None if judged.spread_share is None else judged.spread_share * 100,
        "distance_percent": None if judged.distance is None else judged.distance * 100,
        "reason": judged.reason,
    }


def _other(pipeline: Pipeline) -> dict[str, Any]:
    market = pipeline.market
    price = comparison.price_of(pipeline.last, pipeline.bid, pipeline.ask)
    return {
        "name": str(market),
        "url": links.pipeline(market.exchange_id, market.symbol, number=market.pk),
        "kind": market.kind,
        "price": comparison.digits(price),
        "received_at": pipeline.received_at,
    }


def _verdict(pipelines: list[Pipeline], sources: list[ComparedSource], judged: list[Judged]) -> dict[str, str]:
    fresh = sum(each.is_fresh and not source.fault for each, source in zip(judged, sources, strict=True))
    apart = [str(pipeline.market) for pipeline, each in zip(pipelines, judged, strict=True) if each.is_outlier]
    said = f"{fresh} of {len(judged)} source{'' if len(judged) == 1 else 's'} fresh"
    if apart:
        return {"tone": "danger", "said": said, "more": f"outlier: {', '.join(apart)}"}
    if not judged:
        return {"tone": "warning", "said": "nothing to compare", "more": "none of its markets is spot or swap"}
    if all(each.distance is None for each in judged):
        return {
            "tone": "success" if fresh else "danger",
            "said": said,
            "more": f"outliers cannot be told: {comparison.FEWEST_TO_JUDGE} fresh sources are needed",
        }
    return {"tone": "success" if fresh == len(judged) else "warning", "said": said, "more": "no outlier"}
