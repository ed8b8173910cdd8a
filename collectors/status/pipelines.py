"""Reads the rows of the pairs and pipelines APIs: the newest of each (source, symbol), and of each pair.

50,000 pipelines come in few groups and stay in columns: no object is made for a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from collectors.history import names
from collectors.history.names import Groups
from collectors.rules.snapshot import PairRows, PipelineRows, RowNames, WorkerView
from collectors.status import ages
from collectors.status import workers as status
from exchanges.models import Market
from lib import int4
from lib.clock import FUTURE_SECONDS

# The time that readers are told of a pipeline: when its row came, or when its values last changed where they are
# frozen. What an old answer makes of it is known by source, and comes on top of it.
SHOWN_AT = "CASE WHEN {table}frozen THEN {table}changed_at ELSE {table}received_at END"
# With `old_sources` and a market `m`: the exchange's own time of an old answer.
JOIN_OLD = """LEFT JOIN unnest(%(old_exchanges)s::text[], %(old_kinds)s::text[], %(old_times)s::timestamptz[])
         AS old (exchange, kind, made_at) ON old.exchange = m.exchange_id AND old.kind = m.kind"""

# A poll stores all its rows in one second, so 50,000 rows are few groups; their numbers come packed.
SECOND = f"date_trunc('second', {SHOWN_AT.format(table='')})"
STORED = f"""
SELECT {SECOND}, gaps_24h, string_agg(int4send(market_id), ''::bytea)
FROM collectors_pipeline GROUP BY 1, 2
"""
# The same of one source, and what tells whether its list of markets is still the one we know.
STORED_OF_SOURCE = f"""
WITH market AS MATERIALIZED (SELECT id, xmin::text || '.' || cmin::text AS version
                             FROM exchanges_market WHERE source = %(source)s)
SELECT {SECOND}, gaps_24h, string_agg(int4send(market_id), ''::bytea),
       (SELECT md5(string_agg(version, ',')) FROM market)
       || (SELECT md5(string_agg(xmin::text || '.' || cmin::text, ',')) FROM exchanges_exchange)
FROM collectors_pipeline WHERE market_id = ANY(ARRAY(SELECT id FROM market)) GROUP BY 1, 2
"""
NEVER = -1

# Sorted by code points, as Python sorts: the database's own order would make cursors skip rows.
PAGE = f"""
SELECT source, base, extract(epoch FROM date_trunc('second', COALESCE(max(at) FILTER (WHERE NOT is_halted), max(at)))
                            )::bigint, COALESCE(max(gaps_24h), 0), bool_and(is_halted)
FROM (
    SELECT m.source COLLATE "C" AS source, m.base COLLATE "C" AS base, m.halted_at IS NOT NULL AS is_halted, p.gaps_24h,
           CASE WHEN p.received_at <= %(future)s THEN least({SHOWN_AT.format(table="p.")}, old.made_at) END AS at
    FROM exchanges_market AS m JOIN exchanges_exchange AS e ON e.id = m.exchange_id AND e.removed_at IS NULL
    LEFT JOIN collectors_pipeline AS p ON p.market_id = m.id
    {JOIN_OLD}
    WHERE m.is_collected {{filters}}
) AS shown
GROUP BY 1, 2 ORDER BY 1, 2 LIMIT %(limit)s
"""
FILTERS = {
    "sources": "AND m.source = ANY(%(sources)s)",
    "symbols": "AND m.base = ANY(%(symbols)s)",
    "after": """AND (m.source COLLATE "C", m.base COLLATE "C") > (%(source)s, %(symbol)s)""",
}


@dataclass(frozen=True, slots=True)
class NewestRows:
    """The second (Unix; NEVER) that readers are told of each market, the gaps of those that have any, and the markets
    that are halted."""

    seconds: dict[int, int]
    gaps: dict[int, int]
    halted: frozenset[int] = frozenset()


def read_all(now: datetime) -> tuple[PipelineRows, PairRows]:
    """Returns everything, for both documents. Six queries. Raises CollectorAbsent."""
    workers = status.read(now).workers
    with status.reading():
        known, stored = names.current(), load(now)
    return _pipelines(known.pipelines, stored, now), _pairs(known, stored, workers, now)


def read_pipelines(now: datetime) -> PipelineRows:
    """Returns all rows of the pipelines API. Four queries. Raises CollectorAbsent."""
    status.require_collection()
    with status.reading():
        known, stored = names.current(), load(now)
    return _pipelines(known.pipelines, stored, now)


def read_source(source: str, now: datetime) -> PipelineRows:
    """Returns the rows of one listed source. Three queries while its list of markets stays. Raises CollectorAbsent."""
    status.require_collection()
    with status.reading():
        stored, fingerprint = _load_source(source, now)
        known = names.of_source(source, fingerprint)
    return _pipelines(known, stored, now)


def read_pairs(now: datetime) -> PairRows:
    """Returns all rows of the pairs API. Six queries. Raises CollectorAbsent."""
    return read_all(now)[1]


def load(now: datetime) -> NewestRows:
    with connection.cursor() as cursor:
        cursor.execute(STORED)
        found = cursor.fetchall()
    return _corrected(_unpacked(found, now))


def _corrected(stored: NewestRows) -> NewestRows:
    """Returns the rows at the exchange's own time where its answers are old, with the halted markets."""
    for market, answer in ages.by_market(ages.read()).items():
        if market in stored.seconds:
            stored.seconds[market] = min(stored.seconds[market], int(answer.made_at.timestamp()))
    halted = Market.objects.collected().filter(halted_at__isnull=False).values_list("id", flat=True)
    return NewestRows(stored.seconds, stored.gaps, frozenset(halted))


def _load_source(source: str, now: datetime) -> tuple[NewestRows, str | None]:
    with connection.cursor() as cursor:
        cursor.execute(STORED_OF_SOURCE, {"source": source})
        groups = cursor.fetchall()
    stored = _corrected(_unpacked((group[:3] for group in groups), now))
    return stored, groups[0][3] if groups else None


def _unpacked(groups: Iterable[tuple[datetime | None, int, memoryview]], now: datetime) -> NewestRows:
    """Returns the rows; one in the future hides no other source's, and counts as never until a sweep sets it aside."""
    stored, future = NewestRows({}, {}), now + timedelta(seconds=FUTURE_SECONDS)
    for stored_at, gaps, packed in groups:
        markets = int4.unpack(packed)
        second = int(stored_at.timestamp()) if stored_at and stored_at <= future else NEVER
        stored.seconds.update(dict.fromkeys(markets, second))
        if gaps:
            stored.gaps.update(dict.fromkeys(markets, gaps))
    return stored


def _pipelines(groups: Groups, stored: NewestRows, now: datetime) -> PipelineRows:
    seconds = _newest(groups, stored)
    gaps = [stored.gaps.get(market, 0) for market in groups.firsts]
    for row, markets in groups.several:
        gaps[row] = max(stored.gaps.get(market, 0) for market in markets)
    return PipelineRows(now, groups.names, _unix(seconds), gaps, _halted_rows(groups, stored.halted))


def _pairs(known: names.NameIndex, stored: NewestRows, workers: tuple[WorkerView, ...], now: datetime) -> PairRows:
    groups, exchanges = known.pairs, known.exchanges
    wanted = {worker.exchange for worker in workers if worker.is_collected}
    seconds = _newest(groups, stored)
    watched = [exchanges[market] in wanted for market in groups.firsts]
    for row, markets in groups.several:
        collected = [market for market in markets if exchanges[market] in wanted]
        watched[row] = bool(collected)
        if collected:
            seconds[row] = _second(collected, stored)
    halted = _halted_rows(groups, stored.halted)
    for row in halted:
        watched[row] = False
    return PairRows(now, workers, groups.names, _unix(seconds), watched, halted)


def _newest(groups: Groups, stored: NewestRows) -> list[int]:
    newest = [stored.seconds.get(market, NEVER) for market in groups.firsts]
    for row, markets in groups.several:
        newest[row] = _second(markets, stored)
    return newest


def _second(markets: Sequence[int], stored: NewestRows) -> int:
    """Returns the newest second of a row's markets; a halted one speaks only where all are."""
    if stored.halted:
        markets = [market for market in markets if market not in stored.halted] or markets
    return max(stored.seconds.get(market, NEVER) for market in markets)


def _halted_rows(groups: Groups, halted: frozenset[int]) -> frozenset[int]:
    """Returns the rows of which every market is halted."""
    if not halted:
        return frozenset()
    several = dict(groups.several)
    return frozenset(
        row for row, market in enumerate(groups.firsts) if market in halted and halted.issuperset(several.get(row, ()))
    )


def _unix(seconds: Iterable[int]) -> list[int | None]:
    return [second if second != NEVER else None for second in seconds]


# --- a part of the rows -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PipelinePage:
    """A page of the pipelines API's rows, and whether more follow."""

    rows: PipelineRows
    has_more: bool


def read_page(
    now: datetime,
    *,
    sources: Sequence[str] | None = None,
    symbols: Sequence[str] | None = None,
    after: tuple[str, str] | None = None,
    limit: int,
) -> PipelinePage:
    """Returns at most `limit` rows of these sources and symbols after a row. Two queries. Raises CollectorAbsent."""
    status.require_collection()
    given = {"sources": sources, "symbols": symbols, "after": after}
    filters = " ".join(FILTERS[name] for name, value in given.items() if value is not None)
    source, symbol = after or ("", "")
    parameters: dict[str, Any] = {
        "sources": list(sources or ()),
        "symbols": list(symbols or ()),
        "source": source,
        "symbol": symbol,
    }
    with status.reading(), connection.cursor() as cursor:
        future = now + timedelta(seconds=FUTURE_SECONDS)
        cursor.execute(
            PAGE.format(filters=filters), {**parameters, **old_sources(), "limit": limit + 1, "future": future}
        )
        found = cursor.fetchall()
    return PipelinePage(_of(found[:limit], now), has_more=len(found) > limit)


def old_sources() -> dict[str, Any]:
    """Returns what JOIN_OLD asks for. One query."""
    old = list(ages.read().items())
    return {
        "old_exchanges": [exchange for (exchange, _), _ in old],
        "old_kinds": [kind for (_, kind), _ in old],
        "old_times": [answer.made_at for _, answer in old],
    }


def _of(found: Sequence[tuple[str, str, int | None, int, bool]], now: datetime) -> PipelineRows:
    return PipelineRows(
        taken_at=now,
        names=RowNames(tuple((source, symbol) for source, symbol, *_ in found)),
        stored_seconds=[second for _, _, second, _, _ in found],
        gaps_24h=[gaps for _, _, _, gaps, _ in found],
        halted=frozenset(row for row, (*_, is_halted) in enumerate(found) if is_halted),
    )
