"""Lets questions reach archived rows: for a block they stand in the tables, whose readers need to know nothing of it.

Rows that only files have are copied into temporary tables, and temporary views under the tables' own names show both.
They hide the tables from this transaction alone, and are gone with the block.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from archive import switch
from archive.datasets import Dataset
from archive.models import ArchiveFile, FileState
from collectors.history.archived_kinds import CANDLES, MINUTES, REVISIONS, TICKS, TRADES
from exchanges.models import Market
from web.errors import ServiceUnavailable

READ_SECONDS = 20.0  # as long as a statement of candles may take
MOST_TRADE_DAYS = 7  # a busy market has a million trades a day; candles of longer spans come from minutes
OF_MINUTES = (MINUTES, REVISIONS, CANDLES)
OF_BARS = (*OF_MINUTES, TRADES)

BESIDE = """
CREATE TEMP TABLE archived_{table} (LIKE public.{table}) ON COMMIT DROP
"""
# A day whose rows were dropped may have got some of them again.
NOT_TWICE = "DELETE FROM archived_{table} AS a USING public.{table} AS t WHERE {same}"
INDEX = "CREATE INDEX ON archived_{table} ({key}); ANALYZE archived_{table}"
BOTH = """
CREATE TEMP VIEW {table} AS SELECT {columns} FROM public.{table} UNION ALL SELECT {columns} FROM archived_{table}
"""
AWAY = "DROP VIEW pg_temp.{table}; DROP TABLE pg_temp.archived_{table}"


class CannotReadArchive(ServiceUnavailable):
    """The archive does not answer, or is asked for too much at once; the caller should come later, or ask for less."""


@dataclass(frozen=True, slots=True)
class _Shown:
    pipeline_id: int
    start: datetime
    end: datetime
    kinds: frozenset[str]


_shown: ContextVar[_Shown | None] = ContextVar("archived_rows_shown", default=None)


@contextmanager
def readable(pipeline_id: int, start: datetime, end: datetime, kinds: Sequence[Dataset]) -> Iterator[None]:
    """Shows archived rows of one pipeline in [start, end) in the tables of some kinds. Blocks may be nested.

    Raises CannotReadArchive.
    """
    wanted = _Shown(pipeline_id, start, end, frozenset(kind.kind for kind in kinds))
    if _is_shown(wanted) or not (files := _files(wanted)):
        yield
        return
    if _shown.get() is not None:
        raise RuntimeError("a block within a block shows less than is asked for")
    with transaction.atomic():
        shown = [kind for kind in kinds if _show(kind, [each for each in files if each.kind == kind.kind], wanted)]
        with_gaps = MINUTES in shown and _show_gaps(files, wanted)
        token = _shown.set(wanted)
        try:
            yield
        finally:
            _shown.reset(token)
        with connection.cursor() as cursor:
            for table in [*(kind.table for kind in shown), *([GAP] if with_gaps else [])]:
                cursor.execute(AWAY.format(table=table))


def _is_shown(wanted: _Shown) -> bool:
    shown = _shown.get()
    return not switch.is_on() or (
        shown is not None
        and shown.pipeline_id == wanted.pipeline_id
        and shown.start <= wanted.start
        and shown.end >= wanted.end
        and shown.kinds >= wanted.kinds
    )


def _files(wanted: _Shown) -> list[ArchiveFile]:
    """Returns the files whose rows no table has any more, in one query."""
    days = wanted.start.date(), wanted.end.date()
    found = _only_archived(wanted.pipeline_id).filter(kind__in=wanted.kinds, day__range=days).order_by("day", "id")
    is_long = (days[1] - days[0]).days > MOST_TRADE_DAYS
    return [each for each in found if not (is_long and each.kind == TRADES.kind)]


def _only_archived(pipeline_id: int) -> QuerySet[ArchiveFile]:
    exchange = Market.objects.filter(pk=pipeline_id).values("exchange_id")[:1]
    return ArchiveFile.objects.filter(exchange=exchange, state=FileState.STORED, dropped_at__isnull=False)


def oldest(pipeline_id: int, kinds: Sequence[Dataset]) -> date | None:
    """Returns the first day of which the archive has what the tables no longer have."""
    if not switch.is_on():
        return None
    found = _only_archived(pipeline_id).filter(kind__in=[kind.kind for kind in kinds])
    return found.order_by("day").values_list("day", flat=True).first()


def has_ticks(pipeline_id: int, start: datetime) -> bool:
    """Says whether the archive has the ticks of a moment's day."""
    return switch.is_on() and _only_archived(pipeline_id).filter(kind=TICKS.kind, day=start.date()).exists()


# --- what is shown ------------------------------------------------------------------------------------------------


def _show(kind: Dataset, files: Sequence[ArchiveFile], wanted: _Shown) -> bool:
    if not files:
        return False
    table = _read(kind, files, wanted)
    if kind is MINUTES:
        table = _newest(table)
    _stand(kind.table, kind.names, kind.key if kind is not MINUTES else ("pipeline_id", "minute_at"), table)
    return True


def _read(kind: Dataset, files: Sequence[ArchiveFile], wanted: _Shown) -> Any:
    from archive import reading
    from archive.targets import TargetFailed

    try:
        rows = reading.read(
            files, kind, wanted.pipeline_id, start=wanted.start, end=wanted.end,
            give_up_at=time.monotonic() + READ_SECONDS,
        )  # fmt: skip
    except TargetFailed as error:
        raise CannotReadArchive(f"The archive cannot be read: {error}") from error
    except reading.TakesTooLong as error:
        raise CannotReadArchive(f"{error}: ask for a shorter span.") from error
    return rows.select(list(kind.names))


def _newest(minutes: Any) -> Any:
    """Returns each minute's newest state; those before it are among the revisions. The rows are in order."""
    import numpy

    if not minutes.num_rows:
        return minutes
    moments = minutes["minute_at"].cast("int64").to_numpy()
    return minutes.filter(numpy.append(moments[1:] != moments[:-1], True))


GAP = "collectors_gap"


def _show_gaps(files: Sequence[ArchiveFile], wanted: _Shown) -> bool:
    """Shows the gaps that the days' files tell of: their rows are past their time, too."""
    from archive import reading
    from archive.targets import TargetFailed
    from collectors.history.archived_kinds import GAPS

    days = {each.day: each for each in files if each.kind == MINUTES.kind}
    try:
        found = reading.notes(GAPS, MINUTES.kind, list(days.values()), wanted.pipeline_id)
    except TargetFailed as error:
        raise CannotReadArchive(f"The archive cannot be read: {error}") from error
    names = [name for name in GAPS.names if name != "symbol"]
    _stand(GAP, names, ("id",), found.select(names))
    return True


def _stand(table: str, columns: Sequence[str], key: Sequence[str], rows: Any) -> None:
    """Copies rows into a temporary table, and shows it together with the real one under its name."""
    from pyarrow import csv as arrow_csv

    content = io.BytesIO()
    arrow_csv.write_csv(rows, content, arrow_csv.WriteOptions(include_header=False))
    content.seek(0)
    named = ", ".join(columns)
    same = " AND ".join(f"a.{name} = t.{name}" for name in key)
    with connection.cursor() as cursor:
        cursor.execute(BESIDE.format(table=table))
        with connection.wrap_database_errors:  # Django does so for its own methods only
            cursor.copy_expert(f"COPY archived_{table} ({named}) FROM STDIN (FORMAT csv)", content)
        cursor.execute(NOT_TWICE.format(table=table, same=same))
        cursor.execute(INDEX.format(table=table, key=", ".join(key)))
        cursor.execute(BOTH.format(table=table, columns=named))
