"""Renders bars as JSON values, CSV, Arrow and Parquet. Arrow and Parquet need pyarrow, which is optional."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from itertools import accumulate
from typing import Any

from collectors.history import candles, knowing
from collectors.history.candles import COLUMNS, SOURCES, Bars, CandleQuery
from lib import clock

FLAT_COLUMNS = ("opened_at", "open", "high", "low", "close", "volume", "samples", "expected", "source", "live",
                "candle", "trade", "no_trades", "is_final", "revision", "known_at", "gap_ids")  # fmt: skip
# COPY gives times as whole microseconds: Arrow takes them as they are.
MICROSECONDS = "(extract(epoch FROM {column}) * 1000000)::bigint"
TIMES = ("opened_at", "ended_at", "known_at")


def has_arrow() -> bool:
    """Says whether Arrow and Parquet can be made here."""
    return find_spec("pyarrow") is not None


def _rows(bars: Bars) -> Iterator[tuple[dict[str, Any], list[int] | None]]:
    """Yields each bar by column, and the gaps that touch it."""
    opened = [row[0].timestamp() for row in bars.rows]
    ended = [row[1].timestamp() for row in bars.rows]
    touching = candles.names_of_gaps(opened, ended, bars.gaps or ())
    for place, row in enumerate(bars.rows):
        bar = dict(zip(COLUMNS, row, strict=True))
        yield bar, touching.get(place, []) if bars.gaps is not None else None


def as_json(bars: Bars) -> list[dict[str, Any]]:
    """Returns each bar as its JSON object."""
    return [_object(bar, gap_ids) for bar, gap_ids in _rows(bars)]


def _object(bar: Mapping[str, Any], gap_ids: list[int] | None) -> dict[str, Any]:
    prices = ("open", "high", "low", "close", "volume", "samples", "expected")
    return {
        "opened_at": clock.microseconds_z(bar["opened_at"]),
        **{name: bar[name] for name in prices},
        "source": SOURCES[bar["rank"]],
        "origin": {name: _count(bar[name]) for name in ("live", "candle", "trade")},
        "no_trades": bar["no_trades"],
        "is_final": bar["is_final"],
        "revision": _count(bar["revision"]),
        "known_at": _moment(bar["known_at"]),
        "gap_ids": gap_ids,
    }


def _count(value: Any) -> int | None:
    return None if value is None else int(value)


def _moment(value: datetime | None) -> str | None:
    return None if value is None else clock.microseconds_z(value)


def as_csv(bars: Bars) -> bytes:
    """Returns CSV with a heading; the ids of gaps are separated by spaces."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FLAT_COLUMNS)
    for each in as_json(bars):
        flat = {**each, **each["origin"], "is_final": "true" if each["is_final"] else "false",
                "gap_ids": " ".join(map(str, each["gap_ids"] or ()))}  # fmt: skip
        writer.writerow([flat[name] for name in FLAT_COLUMNS])
    return text.getvalue().encode()


# --- Arrow ------------------------------------------------------------------------------------------------------


def arrow_table(query: CandleQuery) -> tuple[Any, bool]:
    """Returns the bars of a query as a pyarrow.Table, and whether more would follow.

    The rows go from COPY to Arrow without becoming objects. Raises knowing.AsOfUnknown, TooLong, CannotReadArchive.
    """
    from pyarrow import csv as arrow_csv

    knowing.require(query.as_of)
    read = arrow_csv.ReadOptions(column_names=list(COLUMNS))
    convert = arrow_csv.ConvertOptions(column_types=_copied_types(), true_values=["t"], false_values=["f"])
    with candles.with_archived(query):
        table = arrow_csv.read_csv(io.BytesIO(_copied(query) or b"\n"), read_options=read, convert_options=convert)
        kept = table.slice(0, query.limit)
        return _flat(kept, query), table.num_rows > query.limit


def _copied(query: CandleQuery) -> bytes:
    periods = candles.periods_of(query)
    if not periods:
        return b""
    columns = [MICROSECONDS.format(column=name) if name in TIMES else name for name in COLUMNS]
    buffer = io.BytesIO()
    with candles.bounded() as cursor:
        sql = cursor.mogrify(candles.statement(query, ", ".join(columns)), candles.parameters(query, periods)).decode()
        with cursor.db.wrap_database_errors:  # Django does so for its own methods only
            cursor.copy_expert(f"COPY ({sql}) TO STDOUT (FORMAT csv)", buffer)
    return buffer.getvalue()


def _copied_types() -> dict[str, Any]:
    import pyarrow

    kinds = {
        **dict.fromkeys(("open", "high", "low", "close", "volume"), pyarrow.float64()),
        "is_final": pyarrow.bool_(),
    }
    return {name: kinds.get(name, pyarrow.int64()) for name in COLUMNS}


def _flat(copied: Any, query: CandleQuery) -> Any:
    import pyarrow

    moment = pyarrow.timestamp("us", tz="UTC")
    gap_ids = _gap_ids(copied, query)
    names = pyarrow.array(SOURCES)
    columns = {name: copied[name] for name in FLAT_COLUMNS if name in copied.column_names}
    columns |= {"opened_at": copied["opened_at"].cast(moment), "known_at": copied["known_at"].cast(moment)}
    columns |= {"source": names.take(copied["rank"].combine_chunks()), "gap_ids": gap_ids}
    return pyarrow.table({name: columns[name] for name in FLAT_COLUMNS})


def _gap_ids(copied: Any, query: CandleQuery) -> Any:
    import pyarrow

    count, kind = copied.num_rows, pyarrow.list_(pyarrow.int64())
    if query.as_of is not None:
        return pyarrow.nulls(count, kind)
    opened, ended = (copied[name].to_numpy() / 1e6 for name in ("opened_at", "ended_at"))
    gaps = candles.gaps_around(query, _at(opened[0]), _at(ended[-1])) if count else []
    touching = candles.names_of_gaps(opened, ended, gaps or ())
    offsets = [0, *accumulate(len(touching.get(place, ())) for place in range(count))]
    values: Sequence[int] = [number for place in sorted(touching) for number in touching[place]]
    return pyarrow.ListArray.from_arrays(
        pyarrow.array(offsets, pyarrow.int32()), pyarrow.array(values, pyarrow.int64())
    )


def _at(seconds: float) -> datetime:
    return clock.moment(float(seconds))


def as_arrow(table: Any, metadata: Mapping[str, str]) -> bytes:
    """Returns an Arrow IPC stream, with the metadata in its schema."""
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    described = table.replace_schema_metadata(dict(metadata))
    with pyarrow.ipc.new_stream(sink, described.schema) as writer:
        writer.write_table(described)
    return bytes(sink.getvalue())


def as_parquet(table: Any, metadata: Mapping[str, str]) -> bytes:
    """Returns a Parquet file, with the metadata in its schema."""
    import pyarrow
    from pyarrow import parquet

    sink = pyarrow.BufferOutputStream()
    parquet.write_table(table.replace_schema_metadata(dict(metadata)), sink, compression="zstd")
    return bytes(sink.getvalue())
