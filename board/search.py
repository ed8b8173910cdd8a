"""The search box: finds an exchange, a pair or a pipeline by its name, or lists what begins like it."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from board import links, pages
from exchanges import symbols
from exchanges.models import Exchange, Market

MOST_FOUND = 50
MOST_READ = 500
LONGEST = 100


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The found places as (name, address); `only` is the one to go to at once."""

    exchanges: list[tuple[str, str]]
    pairs: list[tuple[str, str]]
    pipelines: list[tuple[str, str]]
    only: str = ""


def show(request: HttpRequest) -> HttpResponse:
    words = request.GET.get("q", "").strip()[:LONGEST]
    found = find(words)
    if found.only:
        return HttpResponseRedirect(found.only)
    return pages.show(request, "board/pages_search.html", {"title": "Search", "words": words, "found": found})


def find(words: str) -> SearchResult:
    """Returns what begins like the words, with at most four queries."""
    if not words:
        return SearchResult([], [], [])
    exchanges = list(Exchange.objects.known().filter(pk__startswith=words.lower()).order_by("pk")[:MOST_FOUND])
    markets = list(_markets(words))
    pairs = {(m.base, m.quote): links.pair(m.base, m.quote, number=m.pk) for m in markets}
    named = {f"{base}/{quote}".upper(): url for (base, quote), url in pairs.items()}
    pipelines = [(str(m), links.pipeline(m.exchange_id, m.symbol, number=m.pk)) for m in markets[:MOST_FOUND]]
    whole = {name.upper(): url for name, url in pipelines}
    spelled = {symbols.letters(name): url for name, url in named.items()}
    only = next((exchange.pk for exchange in exchanges if exchange.pk == words.lower()), "")
    return SearchResult(
        [(exchange.pk, links.exchange(exchange.pk)) for exchange in exchanges],
        [(f"{base}/{quote}", url) for (base, quote), url in pairs.items()][:MOST_FOUND],
        pipelines,
        only=links.exchange(only)
        if only
        else whole.get(words.upper()) or named.get(words.upper()) or spelled.get(symbols.letters(words), ""),
    )


def _markets(words: str) -> list[Market]:
    """Returns active markets whose symbol begins so, `kraken:BTC/` on one exchange only; else those spelled so."""
    before, colon, after = words.partition(":")
    wanted = Q(symbol__istartswith=words)
    if colon:
        wanted |= Q(exchange_id=before.lower(), symbol__istartswith=after)
    shown = Market.objects.filter(active=True, exchange__removed_at__isnull=True, pipeline__isnull=False)
    ordered = shown.order_by("symbol", "exchange_id")
    found = list(ordered.filter(wanted)[:MOST_READ])
    return found or list(ordered.filter(pk__in=symbols.all_ids(words))[:MOST_READ])
