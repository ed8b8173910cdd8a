"""Writes what a table holds of a span and no file has yet: copied out, written, read back, and then in the ledger.

Killed at any moment it has lost nothing: the table still has the rows, and the next run does it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import pyarrow
import structlog
from pyarrow import compute

from archive import copying, datasets, ledger, manifests, parquet_files
from archive.datasets import ArchiveSpan, Dataset, Source
from archive.models import ArchiveFile
from archive.parquet_files import PartWriter
from archive.targets import ArchivePlace, Checkpoint, TargetFailed

log = structlog.get_logger(__name__)

ROWS_AT_ONCE = 400_000  # of one statement: seconds of PostgreSQL's, and some hundred MB of ours


class NotAsWritten(TargetFailed):
    """A file that came back otherwise than it was written."""


def nowhere(_: str) -> None:
    """Returns at once: the checkpoint of those who only want the work done."""


def archive(
    dataset: Dataset,
    span: ArchiveSpan,
    source: Source,
    *,
    target: ArchivePlace,
    now: datetime,
    go_on: Callable[[], None] = lambda: None,
    at: Checkpoint = nowhere,
) -> ArchiveFile | None:
    """Returns the entry of a new file with the rows that are in no file yet; None where all of them are.

    `go_on` is called between statements, and raises where the work is no longer ours. Raises TargetFailed, Overtaken.
    """
    files = ledger.files_of(dataset.kind, span)
    asked = [each for each in files if span.hour is None or each.hour in (None, span.hour)]
    uncovered = source.counted - sum(each.covers for each in asked)
    if files and not uncovered:
        return None
    previous = ledger.tip(dataset.kind, span.exchange)
    at("before write")
    with target.draft(datasets.folder(dataset.kind, span.exchange, span.day)) as draft:
        writer = PartWriter(draft, dataset, span, previous)
        try:
            for table in _not_archived(dataset, span, source, files, target):
                go_on()
                writer.write(table)
        finally:
            writer.close()
        if not writer.rows and files:
            ledger.cover(files[-1], uncovered, now)
            return None
        entry = ArchiveFile(
            kind=dataset.kind, exchange=span.exchange, day=span.day, hour=span.hour, rows=writer.rows, min=writer.min,
            max=writer.max, previous_sha256=previous, known_until=now, written_at=now, covers=uncovered,
        )  # fmt: skip
        _publish(entry, draft, target, at)
    entry.verified_at = now
    at("before ledger")
    ledger.append(entry)
    log.info("archived", file=entry.path, rows=entry.rows, bytes=entry.bytes)
    manifests.describe(dataset, span, target, now)
    return entry


def _publish(entry: ArchiveFile, draft: str, target: ArchivePlace, at: Checkpoint) -> None:
    """Gives the file its name by its hash, and reads it back. Raises TargetFailed."""
    entry.sha256, entry.bytes = _local_digest(draft)
    place = datasets.folder(entry.kind, entry.exchange, entry.day)
    entry.path = f"{place}/part-{entry.sha256[:12]}.parquet"
    target.publish(draft, entry.path, at)
    found, length = target.digest(entry.path)
    if (found, length) != (entry.sha256, entry.bytes):
        raise NotAsWritten(f"{entry.path}: {length} bytes of {found[:12]} came back, {entry.bytes} were written")
    rows = parquet_files.count_of(target, entry.path)
    if rows != entry.rows:
        raise NotAsWritten(f"{entry.path}: {rows} rows came back, {entry.rows} were written")


def _local_digest(draft: str) -> tuple[str, int]:
    from pyarrow import fs

    return ArchivePlace(fs.LocalFileSystem(), "", is_local=True).digest(draft.lstrip("/"))


def _not_archived(
    dataset: Dataset, span: ArchiveSpan, source: Source, files: Sequence[ArchiveFile], target: ArchivePlace
) -> Iterator[Any]:
    for members in _portions(source.members):
        table = copying.rows_of(dataset, span, members, source.labels)
        yield _without_archived(dataset, table, files, target, (members[0], members[-1])) if files else table


def _portions(members: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Yields members in order, so many at once that their rows fit into memory; one that has more comes alone."""
    portion: list[int] = []
    taken = 0
    for member, rows in sorted(members):
        if portion and taken + rows > ROWS_AT_ONCE:
            yield portion
            portion, taken = [], 0
        portion.append(member)
        taken += rows
    if portion:
        yield portion


def _without_archived(
    dataset: Dataset, table: Any, files: Sequence[ArchiveFile], target: ArchivePlace, members: tuple[int, int]
) -> Any:
    """Returns the rows whose key is in none of the files, in their order."""
    there = [parquet_files.rows_between(target, each.path, dataset, columns=dataset.key, members=members)
             for each in files]  # fmt: skip
    known = _keys(pyarrow.concat_tables(there), dataset)
    wanted = _keys(table, dataset).append_column("place", pyarrow.array(range(table.num_rows), pyarrow.int64()))
    new = wanted.join(known, keys=list(dataset.key), join_type="left anti")
    return table.take(new["place"].combine_chunks().sort())


def _keys(table: Any, dataset: Dataset) -> Any:
    """Returns the columns of the key; a null, which equals nothing in a join, as a number that is no value."""
    columns = {name: table[name] for name in dataset.key}
    return pyarrow.table(
        {name: compute.fill_null(each, -1) if each.null_count else each for name, each in columns.items()}
    )
