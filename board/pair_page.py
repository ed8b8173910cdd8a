"""One pair: all its sources side by side, how fresh each is, and which stands apart from the others."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Case, Q, QuerySet, Value, When
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse

from board import comparison, pages, places, series
from board.comparison import Judged, Source
from collectors.models import Pipeline
from exchanges.models import Market
from marketmon.lib import clock

MOST_SOURCES = 100
MOST_CUTS = 6  # a name with more slashes is nobody's pair


def show(request: HttpRequest, name: str = "") -> HttpResponse:
    pipelines = _sources(request, name)
    if not pipelines:
        raise Http404
    now = clock.now()
    sources = [_source(pipeline) for pipeline in pipelines]
    middle, judged = comparison.compare(sources, now=now, outlier_share=settings.RATE_OUTLIER_SHARE)
    first = pipelines[0].market
    context = {
        "title": f"{first.base}/{first.quote}",
        "median": middle,
        "rows": [_row(*each) for each in zip(pipelines, sources, judged, strict=True)],
        "verdict": _verdict(pipelines, judged),
        "outlier_percent": settings.RATE_OUTLIER_SHARE * 100,
        "spans": series.SPANS,
        "span": series.DEFAULT_SPAN,
        "market": first.pk,
        "taken_at": now,
        "most": MOST_SOURCES,
    }
    return pages.show(request, "board/pair.html", context)


def data(request: HttpRequest, market: str) -> HttpResponse:
    """The chart's lines."""
    known = _of(market)
    if not known:
        raise Http404
    names = {each.market_id: each.market.exchange_id for each in known[: series.MOST_SOURCES]}
    doubled = {name for name in names.values() if list(names.values()).count(name) > 1}
    shown = {each.market_id: str(each.market) for each in known if each.market.exchange_id in doubled}
    lines = {number: shown.get(number, name) for number, name in names.items()}
    return JsonResponse(series.read_side_by_side(lines, span_of(request), now=clock.now()))


def span_of(request: HttpRequest) -> series.Span:
    return series.SPANS.get(request.GET.get("span", ""), series.SPANS[series.DEFAULT_SPAN])


def _sources(request: HttpRequest, name: str) -> list[Pipeline]:
    if not name:
        return _of(request.GET.get("market", ""))
    wanted = Q(pk__in=[])
    pieces = name.split("/")[: MOST_CUTS + 1]
    for place in range(1, len(pieces)):  # a base may hold a slash: every cut is asked for
        wanted |= Q(market__base="/".join(pieces[:place]), market__quote="/".join(pieces[place:]))
    return list(_ordered(Pipeline.objects.filter(wanted)))


def _of(market: str) -> list[Pipeline]:
    """All of the pair of one market, given by its number."""
    found = Market.objects.filter(pk=int(market)).first() if market.isdecimal() and len(market) < 10 else None
    if found is None:
        return []
    return list(_ordered(Pipeline.objects.filter(market__base=found.base, market__quote=found.quote)))


def _ordered(pipelines: QuerySet[Pipeline]) -> QuerySet[Pipeline]:
    """Spot, then swaps, then the rest, of which there may be thousands."""
    rank = Case(When(market__kind="spot", then=Value(0)), When(market__kind="swap", then=Value(1)), default=Value(2))
    known = pipelines.filter(market__exchange__removed_at__isnull=True, market__active=True)
    return known.select_related("market__exchange").order_by(rank, "market__exchange_id", "market__symbol")[
        :MOST_SOURCES
    ]


def _source(pipeline: Pipeline) -> Source:
    market = pipeline.market
    return Source(
        kind=market.kind,
        price=comparison.price_of(pipeline.last, pipeline.bid, pipeline.ask),
        bid=pipeline.bid,
        ask=pipeline.ask,
        received_at=pipeline.received_at,
        expected_seconds=pipeline.expected_seconds,
        is_collected=market.exchange.is_collected and not market.blacklisted and not market.excluded,
    )


def _row(pipeline: Pipeline, source: Source, judged: Judged) -> dict[str, Any]:
    market = pipeline.market
    return {
        "exchange": market.exchange_id,
        "exchange_url": places.exchange(market.exchange_id),
        "symbol": market.symbol,
        "url": places.pipeline(market.exchange_id, market.symbol, number=market.pk),
        "kind": market.kind,
        "price": source.price,
        "bid": pipeline.bid,
        "ask": pipeline.ask,
        "volume": pipeline.base_volume,
        "received_at": pipeline.received_at,
        "is_frozen": pipeline.frozen,
        "is_fresh": judged.is_fresh,
        "is_outlier": judged.is_outlier,
        "spread_percent": None if judged.spread_share is None else judged.spread_share * 100,
        "distance_percent": None if judged.distance is None else judged.distance * 100,
        "reason": judged.reason,
    }


def _verdict(pipelines: list[Pipeline], judged: list[Judged]) -> dict[str, str]:
    fresh = sum(each.is_fresh for each in judged)
    apart = [str(pipeline.market) for pipeline, each in zip(pipelines, judged, strict=True) if each.is_outlier]
    said = f"{fresh} of {len(judged)} source{'' if len(judged) == 1 else 's'} fresh"
    if apart:
        return {"tone": "danger", "said": said, "more": f"{', '.join(apart)} stands apart from the others"}
    if all(each.distance is None for each in judged):
        return {
            "tone": "success" if fresh else "danger",
            "said": said,
            "more": f"which one is wrong cannot be told: {comparison.FEWEST_TO_JUDGE} fresh sources are needed",
        }
    return {"tone": "success" if fresh == len(judged) else "warning", "said": said, "more": "no source stands apart"}
