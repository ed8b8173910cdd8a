"""Writes and reads the Parquet files of the archive. The same rows give the same bytes, so a repeated write is one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow
from pyarrow import compute, parquet

from archive import copying
from archive.datasets import ArchiveSpan, ColumnKind, Dataset, DayNotes
from archive.targets import ArchivePlace, failing_as_target

ROWS_OF_GROUP = 131_072  # who wants one member reads two groups at most, not the file
METADATA = b"marketmon"


class PartWriter:
    """A file that is being written: rows are counted, and their least and greatest time known."""

    def __init__(self, path: str, dataset: Dataset, span: ArchiveSpan, previous_sha256: str) -> None:
        self.rows, self.min, self.max = 0, None, None
        self._dataset = dataset
        told = {"kind": dataset.kind, "exchange": span.exchange, "day": f"{span.day}", "hour": span.hour,
                "key": list(dataset.key), "previous_sha256": previous_sha256}  # fmt: skip
        schema = copying.schema(dataset).with_metadata({METADATA: json.dumps(told, sort_keys=True).encode()})
        self._writer = parquet.ParquetWriter(path, schema, **encodings(dataset))

    def write(self, table: Any) -> None:
        self._writer.write_table(table, row_group_size=ROWS_OF_GROUP)
        self.rows += table.num_rows
        found = compute.min_max(table[self._dataset.time]).as_py()
        self.min = min(filter(None, (self.min, found["min"])), default=None)
        self.max = max(filter(None, (self.max, found["max"])), default=None)

    def close(self) -> None:
        self._writer.close()


def encodings(dataset: Dataset) -> dict[str, Any]:
    """Returns how columns are packed: bytes of floats apart, differences of times, words of a list by their place."""
    apart = dict.fromkeys(dataset.of_kinds(ColumnKind.FLOAT), "BYTE_STREAM_SPLIT")
    by_difference = dict.fromkeys(dataset.of_kinds(ColumnKind.TIME, ColumnKind.WHOLE), "DELTA_BINARY_PACKED")
    small = dataset.of_kinds(ColumnKind.SMALL, ColumnKind.NUMBER)
    return {"compression": "zstd", "compression_level": 3, "use_dictionary": [dataset.label, *small],
            "column_encoding": {**apart, **by_difference}, "store_schema": True}  # fmt: skip


def count_of(target: ArchivePlace, path: str) -> int:
    """Returns how many rows a file says it has. Raises TargetFailed."""
    with failing_as_target(), target.system.open_input_file(target.full(path)) as file:
        return int(parquet.read_metadata(file).num_rows)


def told_of(target: ArchivePlace, path: str) -> dict[str, Any]:
    """Returns what a file says of itself. Raises TargetFailed."""
    with failing_as_target(), target.system.open_input_file(target.full(path)) as file:
        metadata = parquet.read_schema(file).metadata or {}
    told: dict[str, Any] = json.loads(metadata.get(METADATA, b"{}"))
    return told


def rows_between(
    target: ArchivePlace,
    path: str,
    dataset: Dataset,
    *,
    columns: Sequence[str],
    members: tuple[int, int],
    times: tuple[datetime, datetime] | None = None,
) -> Any:
    """Returns the rows of members from the first to the last, by their numbers, as a pyarrow.Table. Raises
    TargetFailed."""
    low, high = members
    wanted = (compute.field(dataset.member) >= low) & (compute.field(dataset.member) <= high)
    if times is not None:
        start, end = (pyarrow.scalar(each, copying.MOMENT) for each in times)
        wanted &= (compute.field(dataset.time) >= start) & (compute.field(dataset.time) < end)
    with failing_as_target():
        return parquet.read_table(
            target.full(path), columns=list(columns), filters=wanted, filesystem=target.system, partitioning=None
        )


def notes_of(target: ArchivePlace, path: str, notes: DayNotes, member: int) -> Any:
    """Returns the notes of a day about one member as a pyarrow.Table. Raises TargetFailed."""
    wanted = compute.field(notes.member) == member
    with failing_as_target():
        return parquet.read_table(
            target.full(path), columns=list(notes.names), filters=wanted, filesystem=target.system, partitioning=None
        )
