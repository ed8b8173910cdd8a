"""Sees that every closed day is archived, and drops what the archive has.

A table's day is archived when it is over and settled, looked at again a day later, for what was fetched since, and
before it is dropped. A partition is dropped only while nobody can write to it and all it holds is in the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

import structlog
from django.conf import settings
from django.db import OperationalError, connection, transaction

from archive import ledger
from archive.datasets import ArchiveSpan, Dataset, Source
from collectors.history import partitions, rollups
from collectors.history.archive_times import AGAIN, BEGUN, DAY, FIRST, LOST, grain
from collectors.history.archived_kinds import KINDS
from collectors.models import Watermark

log = structlog.get_logger(__name__)

SETTLES = timedelta(minutes=5)  # what was asked for in time is stored by then
LOOKED_AT_AGAIN = timedelta(hours=30)  # most of what is fetched later has come by then
COUNT_SECONDS = 600
ROLLED_UP_FIRST = ("minutes", "revisions")

# What a partition holds, by member.
SURVEY = """
SELECT s.member, s.rows, s.counted, coalesce(m.exchange_id, ''), coalesce(m.symbol, '')
FROM (SELECT {member} AS member, count(*) AS rows, ({count})::bigint AS counted FROM {table}
      WHERE {time} >= %(start)s AND {time} < %(end)s GROUP BY 1) AS s
LEFT JOIN exchanges_market AS m ON m.id = s.member ORDER BY 1
"""


@dataclass(slots=True)
class _Counting:
    members: list[tuple[int, int]] = field(default_factory=list)
    labels: dict[int, str] = field(default_factory=dict)
    counted: int = 0


def survey(dataset: Dataset, table: str, start: datetime, end: datetime) -> dict[str, Source]:
    """Returns what a table, or one partition of it, holds of [start, end) of each exchange."""
    found: dict[str, _Counting] = {}
    statement = SURVEY.format(
        member=dataset.member, count=dataset.count, table=connection.ops.quote_name(table), time=dataset.time
    )
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = %s", [COUNT_SECONDS * 1000])
        cursor.execute(statement, {"start": start, "end": end})
        for member, rows, counted, exchange, symbol in cursor.fetchall():
            of_exchange = found.setdefault(exchange, _Counting())
            of_exchange.members.append((member, rows))
            of_exchange.labels[member] = symbol
            of_exchange.counted += counted
    return {name: Source(each.members, each.labels, each.counted) for name, each in found.items()}


# --- what is due --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DueSpan:
    """A closed day or hour of a dataset, and the watermark that moves to its end when it is archived."""

    dataset: Dataset
    day: date
    hour: int | None = None
    mark: str = ""

    @property
    def start(self) -> datetime:
        return ArchiveSpan("", self.day, self.hour).start

    @property
    def end(self) -> datetime:
        return ArchiveSpan("", self.day, self.hour).end


def due(now: datetime) -> Iterator[DueSpan]:
    """Yields spans that are closed and not archived yet, then days to look at again; for each kind the oldest first."""
    Watermark.objects.get_or_create(name=BEGUN, defaults={"reached_at": now})
    for prefix, step, after in ((FIRST, grain(), SETTLES), (AGAIN, DAY, LOOKED_AT_AGAIN)):
        for dataset in KINDS:
            yield from _due_of(dataset, prefix + dataset.kind, step, now - after)


def _due_of(dataset: Dataset, mark: str, step: timedelta, closed: datetime) -> Iterator[DueSpan]:
    reached = Watermark.objects.filter(pk=mark).values_list("reached_at", flat=True).first()
    start = reached or _begin(dataset, mark, closed)
    if dataset.kind in ROLLED_UP_FIRST:
        closed = min(closed, rollups.reached() or start)
    while start + step <= closed:
        whole_day = step == DAY or (start.hour == 0 and start + DAY <= closed - DAY)  # what is old comes by the day
        end = start + (DAY if whole_day else step)
        yield DueSpan(dataset, start.date(), None if whole_day else start.hour, mark)
        start = end


def _begin(dataset: Dataset, mark: str, closed: datetime) -> datetime:
    """Begins with the oldest partition, and remembers it."""
    days = [partitions.day_of(name) for name in partitions.names(dataset.table)]
    first = min((day for day in days if day is not None), default=closed.date())
    start = datetime.combine(min(first, closed.date()), time(), UTC)
    return Watermark.objects.get_or_create(name=mark, defaults={"reached_at": start})[0].reached_at


# --- archiving ----------------------------------------------------------------------------------------------------


def archive(span: DueSpan, *, now: datetime, go_on: Callable[[], None], at: Callable[[str], None] | None = None) -> int:
    """Archives what a closed span holds and no file has; returns the new files. Raises TargetFailed, Overtaken."""
    from archive import targets, writing

    target, written = targets.configured(), 0
    covered = ledger.covered(span.dataset.kind, span.day, hour=span.hour)
    for exchange, source in survey(span.dataset, span.dataset.table, span.start, span.end).items():
        go_on()
        if covered.get(exchange) == source.counted:
            continue
        of_exchange = ArchiveSpan(exchange, span.day, span.hour)
        made = writing.archive(
            span.dataset, of_exchange, source, target=target, now=now, go_on=go_on, at=at or writing.nowhere
        )
        written += made is not None
    if span.mark:
        Watermark.objects.filter(pk=span.mark, reached_at__lt=span.end).update(reached_at=span.end)
    return written


def describe_again(now: datetime) -> None:
    """Writes the manifests that a stopped writer left undone. Raises TargetFailed."""
    from archive import manifests, targets

    by_kind = {dataset.kind: dataset for dataset in KINDS}
    todo = {(each.kind, each.exchange, each.day) for each in ledger.undescribed()}
    for kind, exchange, day in sorted(todo):
        if kind in by_kind:
            manifests.describe(by_kind[kind], ArchiveSpan(exchange, day), targets.configured(), now)


# --- dropping -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dropped:
    """What came of an attempt to drop a partition: whether it went, and else how many rows of it are in no file."""

    is_gone: bool
    missing: int = 0


def drop(
    dataset: Dataset, name: str, *, now: datetime, though_lost: str = "", at: Callable[[str], None] = lambda _: None
) -> Dropped:
    """Drops a partition all of which is archived; one that is not, only where `though_lost` says why, for the ledger.

    While it is counted nobody writes to it. Who is in the way is not waited for: the next call tries again.
    """
    day = partitions.day_of(name)
    assert day is not None
    start = datetime.combine(day, time(), UTC)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = %s", [f"{partitions.LOCK_PATIENCE_SECONDS * 1000:.0f}ms"])
            cursor.execute(f"LOCK TABLE {connection.ops.quote_name(name)} IN SHARE MODE")
            held, covered = survey(dataset, name, start, start + DAY), ledger.covered(dataset.kind, day)
            missing = {exchange: source.counted - covered.get(exchange, 0) for exchange, source in held.items()}
            if any(missing.values()) and not though_lost:
                return Dropped(False, sum(map(abs, missing.values())))
            if any(missing.values()):
                ledger.note_lost(dataset.kind, day, missing, why=though_lost, now=now)
                Watermark.objects.update_or_create(name=LOST, defaults={"reached_at": now})
            at("before drop")
            cursor.execute(f"DROP TABLE {connection.ops.quote_name(name)}")
            ledger.note_dropped(dataset.kind, day, now)
    except OperationalError as error:
        if getattr(error.__cause__, "pgcode", None) != partitions.LOCK_NOT_AVAILABLE:
            raise
        log.info("partition_in_use", partition=name)
        return Dropped(False)
    if any(missing.values()):
        log.critical("rows_lost", partition=name, rows=sum(missing.values()), why=though_lost)
    return Dropped(True)


# --- expiry -------------------------------------------------------------------------------------------------------


def expire(now: datetime) -> int:
    """Removes archived days that are past their time, or too many; returns how many files. Raises TargetFailed."""
    from archive import expiry, targets

    days, most_bytes = settings.ARCHIVE_RETENTION_DAYS, settings.ARCHIVE_MAX_GB * 10**9
    before = (now - timedelta(days=days)).date() if days else None
    if before is None and not most_bytes:
        return 0
    by_kind = {dataset.kind: dataset for dataset in KINDS}
    return expiry.expire(targets.configured(), by_kind, before=before, most_bytes=most_bytes, now=now)
