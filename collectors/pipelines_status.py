"""Reads the rows of documents 3 and 4: the newest of each (source, symbol), and of each pair.

50,000 pipelines come as one binary COPY and stay in columns; only filtered reads go through the ORM.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Max, Q
from django.db.models.functions import Collate

from collectors import listing, status
from collectors.dialects.rows import whole_second
from collectors.listing import Groups
from collectors.snapshot import PairRows, PipelineRows, RowNames, WorkerView
from collectors.status import CollectorAbsent
from exchanges.models import Market

STORED = """
COPY (SELECT market_id, COALESCE(received_at, '-infinity'), gaps_24h FROM collectors_pipeline)
TO STDOUT (FORMAT binary)
"""
RECORD = struct.Struct(">hiiiqii")  # field count, then length and value of each field
HEADER_BYTES, TRAILER_BYTES = 19, 2
MICROSECONDS = 1_000_000
EPOCH_2000 = 946_684_800  # PostgreSQL counts from there
NEVER = -(2**63) // MICROSECONDS


@dataclass(frozen=True, slots=True)
class Stored:
    """The newest second (since 2000; NEVER) and the gaps of each market."""

    seconds: dict[int, int]
    gaps: dict[int, int]


def read_all(now: datetime) -> tuple[PipelineRows, PairRows]:
    """Everything, for both documents. Four queries. Raises CollectorAbsent."""
    workers = status.read(now).workers
    try:
        known, stored = listing.current(), load()
    except DatabaseError as error:
        raise CollectorAbsent("the collector's state cannot be read") from error
    return _pipelines(known, stored, now), _pairs(known, stored, workers, now)


def read_pipelines(now: datetime) -> PipelineRows:
    """All rows of document 4. Two queries. Raises CollectorAbsent."""
    require_collection()
    try:
        return _pipelines(listing.current(), load(), now)
    except DatabaseError as error:
        raise CollectorAbsent("the collector's state cannot be read") from error


def read_pairs(now: datetime) -> PairRows:
    """All rows of document 3. Three queries. Raises CollectorAbsent."""
    return read_all(now)[1]


def require_collection() -> None:
    if not settings.COLLECTION_ENABLED:
        raise CollectorAbsent("collection is switched off (COLLECTION_ENABLED)")


def load() -> Stored:
    buffer = io.BytesIO()
    with connection.cursor() as cursor:
        cursor.copy_expert(STORED, buffer)
    raw = buffer.getbuffer()[HEADER_BYTES:-TRAILER_BYTES]
    if not len(raw):
        return Stored({}, {})
    _, _, markets, _, micros, _, gaps = zip(*RECORD.iter_unpack(raw), strict=True)
    return Stored(
        dict(zip(markets, [each // MICROSECONDS for each in micros], strict=True)),
        dict(zip(markets, gaps, strict=True)),
    )


def _pipelines(known: listing.Listing, stored: Stored, now: datetime) -> PipelineRows:
    groups = known.pipelines
    seconds = _newest(groups, stored.seconds)
    gaps = [stored.gaps.get(market, 0) for market in groups.firsts]
    for row, markets in groups.several:
        gaps[row] = max(stored.gaps.get(market, 0) for market in markets)
    return PipelineRows(now, groups.names, _unix(seconds), gaps)


def _pairs(known: listing.Listing, stored: Stored, workers: tuple[WorkerView, ...], now: datetime) -> PairRows:
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
    return [second + EPOCH_2000 if second != NEVER else None for second in seconds]


# --- a part of the rows -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Page:
    """A page of document 4's rows, and whether more follow."""

    rows: PipelineRows
    has_more: bool


def read_page(
    now: datetime,
    *,
    sources: Sequence[str] | None = None,
    symbols: Sequence[str] | None = None,
    after: tuple[str, str] | None = None,
    limit: int,
) -> Page:
    """At most `limit` rows of these sources and symbols after a row. One query. Raises CollectorAbsent."""
    require_collection()
    markets = Market.objects.collected()
    if sources is not None:
        markets = markets.filter(source__in=sources)
    if symbols is not None:
        markets = markets.filter(base__in=symbols)
    # Code points, as Python sorts: the database's own order would make cursors skip rows.
    markets = markets.annotate(by_source=Collate("source", "C"), by_symbol=Collate("base", "C"))
    if after is not None:
        source, symbol = after
        markets = markets.filter(Q(by_source__gt=source) | Q(by_source=source, by_symbol__gt=symbol))
    grouped = markets.order_by("by_source", "by_symbol").values_list("by_source", "by_symbol")
    newest = grouped.annotate(stored_at=Max("pipeline__received_at"), gaps=Max("pipeline__gaps_24h"))
    try:
        found = list(newest[: limit + 1])
    except DatabaseError as error:
        raise CollectorAbsent("the collector's state cannot be read") from error
    return Page(_of(found[:limit], now), has_more=len(found) > limit)


def _of(found: Sequence[tuple[Any, ...]], now: datetime) -> PipelineRows:
    return PipelineRows(
        taken_at=now,
        names=RowNames(tuple((source, symbol) for source, symbol, _, _ in found)),
        stored_seconds=[whole_second(stored_at) if stored_at else None for _, _, stored_at, _ in found],
        gaps_24h=[gaps or 0 for _, _, _, gaps in found],
    )
