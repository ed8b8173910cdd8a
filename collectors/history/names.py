"""Lists the names of the status documents' rows by market, kept by each process until a market changes."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from collectors.rules.snapshot import RowNames
from exchanges.models import Market
from exchanges.symbols import letters

# Every insert and update brings a row with a newer transaction (or command in it), every delete takes one away.
FINGERPRINT = """
SELECT count(*), sum(xmin::text::bigint), sum(cmin::text::bigint), max(id),
       (SELECT sum(xmin::text::bigint) + sum(cmin::text::bigint) FROM exchanges_exchange)
FROM exchanges_market
"""
# The pipelines API names these whether we collect them or not: asked for, they are empty, not unknown.
DOCUMENTED_SOURCES = ("binance_spot", "binance_futures", "hyperliquid", "polymarket", "kalshi", "chainlink")


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows over markets: each row's first market, and all of them where there are several."""

    names: RowNames
    firsts: tuple[int, ...]
    several: tuple[tuple[int, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class NameIndex:
    """Groups of collected markets; `exchanges` tells each market's; the sets hold all names ever listed."""

    pipelines: Groups
    pairs: Groups
    exchanges: Mapping[int, str]
    sources: Mapping[str, tuple[str, ...]]
    symbols: Mapping[str, tuple[str, ...]]
    markets_of_pairs: Mapping[str, tuple[str, tuple[int, ...]]]

    def source_names(self, text: str) -> tuple[str, ...]:
        """Returns the sources that a text means, in any case; empty when there is none."""
        return self.sources.get(text.casefold(), ())

    def symbol_names(self, text: str) -> tuple[str, ...]:
        return self.symbols.get(text.casefold(), ())

    def pair(self, text: str) -> tuple[str, tuple[int, ...]] | None:
        """Returns the pair's name and its markets, in any usual spelling; None when there is no such pair."""
        spelled = self.markets_of_pairs.get(text.casefold())
        return spelled or self.markets_of_pairs.get(letters(text.partition(":")[0]))


_lock = threading.Lock()
_current: tuple[tuple[Any, ...], NameIndex] | None = None
_by_source: dict[str, tuple[str | None, Groups]] = {}


def current() -> NameIndex:
    """Returns the listing as of now, with one quick query when nothing has changed."""
    global _current
    with connection.cursor() as cursor:
        cursor.execute(FINGERPRINT)
        fingerprint = (connection.settings_dict["NAME"], *cursor.fetchone())
    known = _current
    if known and known[0] == fingerprint:
        return known[1]
    with _lock:
        if _current is None or _current[0] != fingerprint:
            _current = (fingerprint, _load())
            gc.collect()
            gc.freeze()  # it lives long and is large: walking it in each full collection costs 4 ms a request
        return _current[1]


def of_source(source: str, fingerprint: str | None) -> Groups:
    """Returns one source's rows, read anew when its markets' fingerprint is unknown or has changed."""
    known = _by_source.get(source)
    if known is None or fingerprint is None or known[0] != fingerprint:
        rows = _collected().filter(source=source).values_list("id", "base")
        known = _by_source[source] = (fingerprint, _grouped(((source, base), market) for market, base in rows))
    return known[1]


def recent() -> NameIndex:
    """Returns this process's listing, however old: good enough to recognise a name, not to reject one."""
    known = _current
    return known[1] if known else current()


def _load() -> NameIndex:
    collected = list(_collected().values_list("id", "source", "base", "quote", "exchange_id"))
    known = Market.objects.order_by().values_list("source", "base").distinct()
    pairs = _grouped(((base + quote,), market) for market, _, base, quote, _ in collected)
    several = dict(pairs.several)
    return NameIndex(
        pipelines=_grouped(((source, base), market) for market, source, base, _, _ in collected),
        pairs=pairs,
        exchanges={market: exchange for market, _, _, _, exchange in collected},
        sources=_by_folded([*(source for source, _ in known), *DOCUMENTED_SOURCES]),
        symbols=_by_folded(base for _, base in known),
        markets_of_pairs={
            name.casefold(): (name, several.get(row, (first,)))
            for row, ((name,), first) in enumerate(zip(pairs.names.names, pairs.firsts, strict=True))
        },
    )


def _collected() -> QuerySet[Market]:
    return Market.objects.collected().filter(exchange__removed_at__isnull=True)


def _grouped(named: Iterable[tuple[tuple[str, ...], int]]) -> Groups:
    markets: dict[tuple[str, ...], list[int]] = {}
    for name, market in named:
        markets.setdefault(name, []).append(market)
    names = tuple(sorted(markets))
    return Groups(
        names=RowNames(names, lasts=True),
        firsts=tuple(markets[name][0] for name in names),
        several=tuple((row, tuple(markets[name])) for row, name in enumerate(names) if len(markets[name]) > 1),
    )


def _by_folded(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for name in names:
        found.setdefault(name.casefold(), set()).add(name)
    return {folded: tuple(sorted(each)) for folded, each in found.items()}
