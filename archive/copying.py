"""Copies rows out of PostgreSQL into Arrow tables, without making objects of them.

Rows of fixed width go by binary COPY, and numpy reads the whole answer at once: nulls are a word of bits at the end of
each row. Texts and lists go by COPY as CSV, which Arrow reads.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy
import pyarrow
from django.db import connection, transaction
from pyarrow import compute
from pyarrow import csv as arrow_csv

from archive.datasets import ArchiveColumn, ArchiveSpan, ColumnKind, Dataset, DayNotes

STATEMENT_SECONDS = 120
HEADER_BYTES, TRAILER_BYTES = 19, 2
POSTGRES_EPOCH = 946_684_800_000_000  # microseconds from 1970 to 2000
# How each kind is sent in binary, what stands for null there, and as what it is stored.
MOMENT = pyarrow.timestamp("us", tz="UTC")
WIRE = {
    ColumnKind.TIME: (">i8", "'epoch'::timestamptz", MOMENT),
    ColumnKind.FLOAT: (">f8", "0::float8", pyarrow.float64()),
    ColumnKind.WHOLE: (">i8", "0::bigint", pyarrow.int64()),
    ColumnKind.NUMBER: (">i4", "0::int", pyarrow.int32()),
    ColumnKind.SMALL: (">i2", "0::smallint", pyarrow.int16()),
    ColumnKind.TRUTH: (">i1", "false", pyarrow.bool_()),
}
STORED = {kind: stored for kind, (_, _, stored) in WIRE.items()} | {
    ColumnKind.TEXT: pyarrow.string(), ColumnKind.FLOATS: pyarrow.list_(pyarrow.float64()),
}  # fmt: skip
MICROSECONDS = "(extract(epoch FROM {name}) * 1000000)::bigint"
SELECT = """
SELECT {columns} FROM {table}
WHERE {member} = ANY(%(members)s) AND {time} >= %(start)s AND {time} < %(end)s ORDER BY {key}
"""


def schema(dataset: Dataset) -> Any:
    """Returns the pyarrow.Schema of a dataset's files; the member's name comes first."""
    names = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    fields = [pyarrow.field(dataset.label, names, nullable=False)]
    fields += [pyarrow.field(each.name, STORED[each.kind], nullable=each.is_nullable) for each in dataset.columns]
    return pyarrow.schema(fields)


def rows_of(dataset: Dataset, span: ArchiveSpan, members: Sequence[int], labels: Mapping[int, str]) -> Any:
    """Returns the rows of some members as a pyarrow.Table, in the order of the key."""
    by_text = bool(dataset.of_kinds(ColumnKind.TEXT, ColumnKind.FLOATS))
    expressions, form = (_as_text(dataset.columns), "csv") if by_text else (_as_binary(dataset), "binary")
    statement = SELECT.format(
        columns=expressions, table=dataset.table, member=dataset.member, time=dataset.time, key=", ".join(dataset.key)
    )
    content = _copied(statement, form, {"members": list(members), "start": span.start, "end": span.end})
    columns = _from_text(dataset.columns, content) if by_text else _from_binary(dataset, content)
    named = {dataset.label: _labels(columns[dataset.member], members, labels), **columns}
    return pyarrow.table(named, schema=schema(dataset))


def notes_of(notes: DayNotes, span: ArchiveSpan) -> Any:
    """Returns the notes on a span's whole day as a pyarrow.Table."""
    day = ArchiveSpan(span.exchange, span.day)
    statement = f"SELECT {_as_text(notes.columns)} FROM ({notes.statement}) AS noted"
    content = _copied(statement, "csv", {"exchange": span.exchange, "start": day.start, "end": day.end})
    fields = [pyarrow.field(each.name, STORED[each.kind], nullable=each.is_nullable) for each in notes.columns]
    return pyarrow.table(_from_text(notes.columns, content), schema=pyarrow.schema(fields))


def _copied(statement: str, form: str, values: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = %s", [STATEMENT_SECONDS * 1000])
        select = cursor.mogrify(statement, values).decode()
        with connection.wrap_database_errors:  # Django does so for its own methods only
            cursor.copy_expert(f"COPY ({select}) TO STDOUT (FORMAT {form})", buffer)
    return buffer.getvalue()


def _labels(column: Any, members: Sequence[int], labels: Mapping[int, str]) -> Any:
    ordered = sorted(members)
    places = numpy.searchsorted(numpy.array(ordered), column.to_numpy()).astype("int32")
    return pyarrow.DictionaryArray.from_arrays(pyarrow.array(places), pyarrow.array([labels[each] for each in ordered]))


# --- fixed width --------------------------------------------------------------------------------------------------


def _as_binary(dataset: Dataset) -> str:
    nullable = [each for each in dataset.columns if each.is_nullable]
    bits = " + ".join(f"({each.name} IS NULL)::int * {1 << place}" for place, each in enumerate(nullable)) or "0"
    return ", ".join([*map(_never_null, dataset.columns), bits])


def _never_null(column: ArchiveColumn) -> str:
    return f"coalesce({column.name}, {WIRE[column.kind][1]})" if column.is_nullable else column.name


def _from_binary(dataset: Dataset, content: bytes) -> dict[str, Any]:
    """Reads rows of one width: each value follows its length, each row the number of its values."""
    kinds: list[tuple[str, str]] = [("fields", ">i2")]
    for each in dataset.columns:
        kinds += [(f"length of {each.name}", ">i4"), (each.name, WIRE[each.kind][0])]
    wire = numpy.dtype([*kinds, ("length of nulls", ">i4"), ("nulls", ">i4")])
    count, rest = divmod(len(content) - HEADER_BYTES - TRAILER_BYTES, wire.itemsize)
    if rest:
        raise ValueError(f"{dataset.table}: rows of COPY are not as wide as described")
    rows = numpy.frombuffer(content, wire, count, HEADER_BYTES)
    nullable = [each.name for each in dataset.columns if each.is_nullable]
    return {each.name: _column(each, rows, nullable) for each in dataset.columns}


def _column(column: ArchiveColumn, rows: Any, nullable: Sequence[str]) -> Any:
    values = rows[column.name].astype(rows[column.name].dtype.newbyteorder("="))
    mask = (rows["nulls"] >> nullable.index(column.name)) & 1 == 1 if column.is_nullable else None
    if column.kind is ColumnKind.TIME:
        values = values + POSTGRES_EPOCH
        return pyarrow.array(values, pyarrow.int64(), mask=mask).cast(MOMENT)
    if column.kind is ColumnKind.TRUTH:
        values = values.astype(bool)
    return pyarrow.array(values, STORED[column.kind], mask=mask)


# --- texts and lists ----------------------------------------------------------------------------------------------


def _as_text(columns: Sequence[ArchiveColumn]) -> str:
    forms = {ColumnKind.TIME: MICROSECONDS, ColumnKind.FLOATS: "array_to_string({name}, ' ')"}
    return ", ".join(forms.get(each.kind, "{name}").format(name=each.name) for each in columns)


def _from_text(columns: Sequence[ArchiveColumn], content: bytes) -> dict[str, Any]:
    as_sent = {ColumnKind.TIME: pyarrow.int64(), ColumnKind.FLOATS: pyarrow.string()}
    types = {each.name: as_sent.get(each.kind, STORED[each.kind]) for each in columns}
    options = arrow_csv.ConvertOptions(
        column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False,
        true_values=["t"], false_values=["f"],
    )  # fmt: skip
    if not content:
        return {each.name: pyarrow.nulls(0, STORED[each.kind]) for each in columns}
    read = arrow_csv.ReadOptions(column_names=[each.name for each in columns], block_size=64 * 1024**2)
    parse = arrow_csv.ParseOptions(newlines_in_values=True)
    table = arrow_csv.read_csv(io.BytesIO(content), read_options=read, parse_options=parse, convert_options=options)
    return {each.name: _stored(each, table[each.name].combine_chunks()) for each in columns}


def _stored(column: ArchiveColumn, values: Any) -> Any:
    if column.kind is ColumnKind.TIME:
        return values.cast(MOMENT)
    return _lists(values) if column.kind is ColumnKind.FLOATS else values


def _lists(texts: Any) -> Any:
    """Returns lists of floats, of texts that have them separated by blanks."""
    filled = compute.fill_null(texts, "")
    parts = compute.split_pattern(filled, " ")
    lengths = compute.if_else(compute.equal(filled, ""), 0, compute.list_value_length(parts))
    values = parts.flatten()
    offsets = numpy.concatenate([[0], numpy.cumsum(lengths.to_numpy(zero_copy_only=False))]).astype("int32")
    numbers = compute.cast(values.filter(compute.not_equal(values, "")), pyarrow.float64())
    return pyarrow.ListArray.from_arrays(pyarrow.array(offsets), numbers)
