"""The one resolver of spellings: BTC/USDT, BTC-USDT, btcusdt and BTC/USDT:USDT find the market that is meant.

The exact spelling comes first, then the same letters whatever stands between them, then the exchange's own id, then
the base and quote of a derivative. Of several, the spot market; where that does not decide, nobody guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import django_filters
from django.db.models import F, Func, Q, QuerySet, Value
from django.db.models.functions import Concat, Lower
from rest_framework import exceptions, serializers, status

from exchanges.models import Market

BETWEEN = "[-_/: ]"
_WITHOUT = str.maketrans("", "", "-_/: ")
MOST_CANDIDATES = 20


class SpelledMarket(NamedTuple):
    """A market with everything that it may be called by."""

    id: int
    exchange_id: str
    symbol: str
    base: str
    quote: str
    kind: str
    venue_id: str


class AmbiguousSymbol(Exception):
    """Several markets are spelled so; the caller should name one of `candidates`."""

    def __init__(self, text: str, candidates: Iterable[str]) -> None:
        self.candidates = tuple(sorted(set(candidates)))[:MOST_CANDIDATES]
        super().__init__(f"{text} may mean {', '.join(self.candidates)}; spell out which of them.")


def letters(text: str) -> str:
    """Returns a symbol without what stands between its parts, in lower case."""
    return text.casefold().translate(_WITHOUT)


def _ranks(text: str) -> Sequence[Callable[[SpelledMarket], bool]]:
    folded, joined = text.casefold(), letters(text)
    return (
        lambda market: market.symbol == text,
        lambda market: market.symbol.casefold() == folded,
        lambda market: letters(market.symbol) == joined,
        lambda market: market.venue_id.casefold() == folded,
        lambda market: letters(market.base + market.quote) == joined,
    )


def choose(text: str, markets: Sequence[SpelledMarket]) -> SpelledMarket | None:
    """Returns the market of one exchange that a text means; None when none is spelled so. Raises AmbiguousSymbol."""
    for is_spelled in _ranks(text.strip()):
        found = [market for market in markets if is_spelled(market)]
        chosen = found if len(found) < 2 else [market for market in found if market.kind == "spot"]
        if len(chosen) == 1:
            return chosen[0]
        if found:
            raise AmbiguousSymbol(text, (market.symbol for market in found))
    return None


def _spelled(text: str, exchange_id: str | None) -> dict[str, list[SpelledMarket]]:
    """Returns the markets that a text may mean, by exchange. One query."""
    text = text.strip()
    between = {"function": "regexp_replace"}
    joined = Lower(Func(F("symbol"), Value(BETWEEN), Value(""), Value("g"), **between))
    pair = Lower(Func(Concat("base", "quote"), Value(BETWEEN), Value(""), Value("g"), **between))
    wanted = Q(symbol__iexact=text) | Q(venue_id__iexact=text) | Q(joined=letters(text)) | Q(pair=letters(text))
    markets = Market.objects.annotate(joined=joined, pair=pair).filter(wanted, exchange__removed_at__isnull=True)
    if exchange_id is not None:
        markets = markets.filter(exchange_id=exchange_id)
    found: dict[str, list[SpelledMarket]] = {}
    for row in markets.values_list(*SpelledMarket._fields):
        found.setdefault(row[1], []).append(SpelledMarket(*row))
    return found


def find(exchange_id: str, text: str) -> SpelledMarket | None:
    """Returns one exchange's market that a text means; None when it has none. Raises AmbiguousSymbol."""
    return choose(text, _spelled(text, exchange_id).get(exchange_id, []))


def ids(text: str, *, exchange_id: str | None = None) -> list[int]:
    """Returns the markets that a text means, at most one on each exchange. Raises AmbiguousSymbol."""
    chosen = [choose(text, markets) for markets in _spelled(text, exchange_id).values()]
    return sorted(market.id for market in chosen if market is not None)


def all_ids(text: str) -> list[int]:
    """Returns every market that a text may mean, for a person who chooses among them."""
    return sorted(market.id for markets in _spelled(text, None).values() for market in markets)


# --- for APIs ---------------------------------------------------------------------------------------------------


class AmbiguousSymbolRefusal(exceptions.APIException):
    """The refusal of a symbol that several markets are spelled by."""

    status_code = status.HTTP_400_BAD_REQUEST

    def __init__(self, error: AmbiguousSymbol) -> None:
        super().__init__(str(error))
        self.body = {"error": "ambiguous_symbol", "message": str(error), "candidates": list(error.candidates)}


class SymbolFilter(django_filters.CharFilter):
    """A filter by symbol in any usual spelling; `field_name` leads to the market, the filter `exchange` narrows it."""

    def __init__(self, field_name: str = "pk") -> None:
        super().__init__(field_name=field_name, help_text="In any usual spelling: BTC/USDT, BTC-USDT, btcusdt.")

    def filter(self, qs: QuerySet[Market], value: str) -> QuerySet[Market]:
        if not value:
            return qs
        exchange_id = self.parent.form.cleaned_data.get("exchange") or None
        return qs.filter(**{f"{self.field_name}__in": resolved_ids(value, exchange_id=exchange_id)})


def resolved_ids(text: str, *, exchange_id: str | None = None) -> list[int]:
    """Returns `ids`; answers 400 where a text is ambiguous."""
    try:
        return ids(text, exchange_id=exchange_id)
    except AmbiguousSymbol as error:
        raise AmbiguousSymbolRefusal(error) from error


def resolved(exchange_id: str, text: str) -> SpelledMarket:
    """Returns `find`; answers 400 where a text is ambiguous, and where the exchange has no such market."""
    try:
        found = find(exchange_id, text)
    except AmbiguousSymbol as error:
        raise AmbiguousSymbolRefusal(error) from error
    if found is None:
        raise serializers.ValidationError({"symbol": [f"{exchange_id} has no market that is spelled {text}."]})
    return found
