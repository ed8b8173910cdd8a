"""Reads rows of one member back from the files that hold them alone, as Arrow tables."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from typing import Any

import pyarrow
from pyarrow import parquet

from archive import copying, datasets, ledger, parquet_files, targets
from archive.datasets import ArchiveSpan, Dataset, DayNotes
from archive.manifests import NOTES
from archive.models import ArchiveFile

AT_ONCE = 8  # files: reading is waiting, for a disk or for S3


class TakesTooLong(Exception):
    """More files than can be read in time; the caller should ask for a shorter span."""


def rows(dataset: Dataset, exchange: str, member: int, *, start: datetime, end: datetime, give_up_at: float) -> Any:
    """Returns the rows of one member in [start, end) that no table has any more, in the order of the key.

    `give_up_at` is of the steady clock, in seconds. Raises TargetFailed, TakesTooLong.
    """
    files = [each for each in ledger.only_archived(dataset.kind, exchange, (start.date(), end.date()))
             if _may_touch(each, start, end)]  # fmt: skip
    return read(files, dataset, member, start=start, end=end, give_up_at=give_up_at)


def _may_touch(file: ArchiveFile, start: datetime, end: datetime) -> bool:
    return file.min is not None and file.max is not None and file.min < end and file.max >= start


def read(
    files: Sequence[ArchiveFile], dataset: Dataset, member: int, *, start: datetime, end: datetime, give_up_at: float
) -> Any:
    """Returns the rows of one member in some files, in the order of the key. Raises TargetFailed, TakesTooLong."""
    empty = copying.schema(dataset).empty_table()
    if not files:
        return empty
    target = targets.configured()

    def of_file(file: ArchiveFile) -> Any:
        if time.monotonic() > give_up_at:
            raise TakesTooLong(f"{len(files)} archived files are too many to read at once")
        names = [dataset.label, *dataset.names]
        return parquet_files.rows_between(
            target, file.path, dataset, columns=names, members=(member, member), times=(start, end)
        )

    with ThreadPoolExecutor(min(AT_ONCE, len(files))) as pool:
        found = [table.cast(empty.schema) for table in pool.map(of_file, files)]
    return pyarrow.concat_tables(found).sort_by([(name, "ascending") for name in dataset.key])


def notes(described: DayNotes, kind: str, files: Sequence[ArchiveFile], member: int) -> Any:
    """Returns the notes on the days of some files about one member, each row once. Raises TargetFailed."""
    target = targets.configured()

    def of_day(file: ArchiveFile) -> Any:
        path = f"{datasets.folder(kind, file.exchange, file.day)}/{NOTES}"
        return parquet_files.notes_of(target, path, described, member)

    with ThreadPoolExecutor(min(AT_ONCE, len(files))) as pool:
        found = pyarrow.concat_tables(pool.map(of_day, files))
    # The newest day's word on what lasted over several days.
    newest = {number: place for place, number in enumerate(found[described.columns[0].name].to_pylist())}
    return found.take(sorted(newest.values()))


def day_of(dataset: Dataset, exchange: str, day: date) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Returns the columns of a day's files, and their rows file by file. Raises TargetFailed."""
    target = targets.configured()
    names = [dataset.label, *dataset.names]

    def rows_of_files() -> Iterator[tuple[Any, ...]]:
        for file in ledger.files_of(dataset.kind, ArchiveSpan(exchange, day)):
            with targets.failing_as_target(), target.system.open_input_file(target.full(file.path)) as opened:
                for batch in parquet.ParquetFile(opened).iter_batches(columns=names):
                    columns = [batch.column(name).to_pylist() for name in names]
                    yield from zip(*columns, strict=True)

    return names, rows_of_files()
