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
from collectors.status import workers as status
from lib import int4
from lib.clock import FUTURE_SECONDS

# A poll stores all its rows in one second, so 50,000 rows are few groups; their numbers come packed.
STORED = """
SELECT date_trunc('second', received_at), gaps_24h, string_agg(int4send(market_id), ''::bytea)
FROM collectors_pipeline GROUP BY 1, 2
"""
# The same of one source, and what tells whether its list of markets is still the one we know.
STORED_OF_SOURCE = """
WITH market AS MATERIALIZED (SELECT id, xmin::text || '.' || cmin::text AS version
                             FROM exchanges_market WHERE source = %(source)s)
SELECT date_trunc('second', received_at), gaps_24h, string_agg(int4send(market_id), ''::bytea),
       (SELECT md5(string_agg(version, ',')) FROM market)
       || (SELECT md5(string_agg(xmin::text || '.' || cmin::text, ',')) FROM exchanges_exchange)
FROM collectors_pipeline WHERE market_id = ANY(ARRAY(SELECT id FROM market)) GROUP BY 1, 2
"""
NEVER = -1

# Sorted by code points, as Python sorts: the database's own order would make cursors skip rows.
PAGE = """
SELECT m.source COLLATE "C", m.base COLLATE "C",
       extract(epoch FROM date_trunc('second', max(p.received_at) FILTER (WHERE p.received_at <= %(future)s)))::bigint,
       COALESCE(max(p.gaps_24h), 0)
FROM exchanges_market AS m JOIN exchanges_exchange AS e ON e.id = m.exchange_id AND e.removed_at IS NULL
LEFT JOIN collectors_pipeline AS p ON p.market_id = m.id
WHERE m.is_collected {filters}
GROUP BY 1, 2 ORDER BY 1, 2 LIMIT %(limit)s
"""
FILTERS = {
    "sources": "AND m.source = ANY(%(sources)s)",
    "symbols": "AND m.base = ANY(%(symbols)s)",
    "after": """AND (m.source COLLATE "C", m.base COLLATE "C") > (%(source)s, %(symbol)s)""",
}


@dataclass(frozen=True, slots=True)
class NewestRows:
    """The newest second (Unix; NEVER) of each market, and the gaps of those that have any."""

    seconds: dict[int, int]
    gaps: dict[int, int]


def read_all(now: datetime) -> tuple[PipelineRows, PairRows]:
    """Returns everything, for both documents. Four queries. Raises CollectorAbsent."""
    workers = status.read(now).workers
    with status.reading():
        known, stored = names.current(), load(now)
    return _pipelines(known.pipelines, stored, now), _pairs(known, stored, workers, now)


def read_pipelines(now: datetime) -> PipelineRows:
    """Returns all rows of the pipelines API. Two queries. Raises CollectorAbsent."""
    status.require_collection()
    with status.reading():
        known, stored = names.current(), load(now)
    return _pipelines(known.pipelines, stored, now)


def read_source(source: str, now: datetime) -> PipelineRows:
    """Returns the rows of one listed source. One query while its list of markets stays. Raises CollectorAbsent."""
    status.require_collection()
    with status.reading():
        stored, fingerprint = _load_source(source, now)
        known = names.of_source(source, fingerprint)
    return _pipelines(known, stored, now)


def read_pairs(now: datetime) -> PairRows:
    """Returns all rows of the pairs API. Three queries. Raises CollectorAbsent."""
    return read_all(now)[1]


def load(now: datetime) -> NewestRows:
    with connection.cursor() as cursor:
        cursor.execute(STORED)
        return _unpacked(cursor.fetchall(), now)


def _load_source(source: str, now: datetime) -> tuple[NewestRows, str | None]:
    with connection.cursor() as cursor:
        cursor.execute(STORED_OF_SOURCE, {"source": source})
        groups = cursor.fetchall()
    return _unpacked((group[:3] for group in groups), now), groups[0][3] if groups else None


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
    seconds = _newest(groups, stored.seconds)
    gaps = [stored.gaps.get(market, 0) for market in groups.firsts]
    for row, markets in groups.several:
        gaps[row] = max(stored.gaps.get(market, 0) for market in markets)
    return PipelineRows(now, groups.names, _unix(seconds), gaps)


def _pairs(known: names.NameIndex, stored: NewestRows, workers: tuple[WorkerView, ...], now: datetime) -> PairRows:
    groups, exchanges = known.pairs, known.exchanges
    wanted = {worker.exchange for worker in workers if worker.is_collected}
    seconds = _newest(groups, stored.seconds)
    watched = [exchanges[market] in wanted for market in groups.firsts]
    for row, markets in groups.several:
        collected = [market for market in markets if exchanges[market] in wanted]
        watched[row] = bool(collected)
        if collected:
            seconds[row] = max(stored.seconds.get(market, NEVER) for market in collected)
    return PairRows(now, workers, groups.names, _unix(seconds), watched)


def _newest(groups: Groups, seconds: dict[int, int]) -> list[int]:
    newest = [seconds.get(market, NEVER) for market in groups.firsts]
    for row, markets in groups.several:
        newest[row] = max(seconds.get(market, NEVER) for market in markets)
    return newest


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
    """Returns at most `limit` rows of these sources and symbols after a row. One query. Raises CollectorAbsent."""
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
        cursor.execute(
            PAGE.format(filters=filters),
            {**parameters, "limit": limit + 1, "future": now + timedelta(seconds=FUTURE_SECONDS)},
        )
        found = cursor.fetchall()
    return PipelinePage(_of(found[:limit], now), has_more=len(found) > limit)


def _of(found: Sequence[tuple[str, str, int | None, int]], now: datetime) -> PipelineRows:
    return PipelineRows(
        taken_at=now,
        names=RowNames(tuple((source, symbol) for source, symbol, _, _ in found)),
        stored_seconds=[second for _, _, second, _ in found],
        gaps_24h=[gaps for _, _, _, gaps in found],
    )
