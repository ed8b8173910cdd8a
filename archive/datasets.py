"""Descriptions of what is archived: a table's columns, whose a row is, its time, and what makes it one row. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from typing import NamedTuple
from urllib.parse import quote


class ColumnKind(Enum):
    """The kinds of values, as files store them."""

    TIME = "time"
    FLOAT = "float"
    WHOLE = "whole"  # 64 bits
    SMALL = "small"  # 16 bits
    NUMBER = "number"  # 32 bits
    TRUTH = "truth"
    TEXT = "text"
    FLOATS = "floats"  # a list


class ArchiveColumn(NamedTuple):
    name: str
    kind: ColumnKind
    is_nullable: bool = False


@dataclass(frozen=True, slots=True)
class DayNotes:
    """What is kept beside a day's files: rows of a statement with `exchange`, `start` and `end`, such as its gaps."""

    statement: str
    columns: tuple[ArchiveColumn, ...]
    member: str = "pipeline_id"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A table, partitioned by `time`, whose rows belong to a `member` (a column of whole numbers).

    `key` is what makes a row one, and the order in files. `count` is SQL that grows with each row that comes and each
    that changes. `label` names the column that says in words whose a row is; it is not in the table. `notes` are
    for a second small file beside each day: what is missing in it.
    """

    kind: str
    table: str
    time: str
    key: tuple[str, ...]
    columns: tuple[ArchiveColumn, ...]
    member: str = "pipeline_id"
    label: str = "symbol"
    count: str = "count(*)"
    notes: DayNotes | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def of_kinds(self, *kinds: ColumnKind) -> list[str]:
        """Returns the names of the columns of some kinds."""
        return [column.name for column in self.columns if column.kind in kinds]


@dataclass(frozen=True, slots=True)
class ArchiveSpan:
    """A day (UTC) of one exchange, or one hour of it: what one file holds rows of."""

    exchange: str
    day: date
    hour: int | None = None

    @property
    def start(self) -> datetime:
        return datetime.combine(self.day, time(self.hour or 0), UTC)

    @property
    def end(self) -> datetime:
        return self.start + (timedelta(days=1) if self.hour is None else timedelta(hours=1))


def folder(kind: str, exchange: str, day: date) -> str:
    """Returns the folder of a day's files, as readers of such trees expect it."""
    return f"exchange={quote(exchange, safe='')}/kind={kind}/day={day:%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class Source:
    """What a table holds of one span: its members with their numbers of rows and names, and what it counts."""

    members: Sequence[tuple[int, int]]
    labels: Mapping[int, str]
    counted: int
