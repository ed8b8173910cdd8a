"""Exports gaps, ticks and rollups as CSV, by PostgreSQL's COPY: no row becomes an object, no export fills memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection, transaction

from collectors.history import knowing
from collectors.rules.gaps import MISSED_BY_NOW
from web import streamed_answers

CHUNK_BYTES = 64 * 1024
CHUNKS_AHEAD = 8  # what COPY may be ahead of a slow reader
MOST_AT_ONCE = 2  # a process has few threads, and each export holds one and a connection
STATEMENT_SECONDS = 300
READER_SECONDS = streamed_answers.READER_SECONDS + 10  # who sends gives a sleeping reader up first, and says so
COUNT_LINE = b"# rows: %d\n"

_running = threading.BoundedSemaphore(MOST_AT_ONCE)


class TooMany(Exception):
    """As many exports as this process can carry are running; the caller should come again in a moment."""


def _time(column: str) -> str:
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def _text(column: str) -> str:
    """Returns SQL that quotes what begins like a formula, as a spreadsheet would run it: exchanges choose the words."""
    return rf"CASE WHEN {column} ~ '^[-=+@\t\r\n]' THEN '''' || {column} ELSE {column} END"


NAMES = f"{_text('m.exchange_id')} AS exchange, {_text('m.symbol')} AS symbol"
UNPROVEN = "coalesce({time} < m.identity_since, false)"  # it may be another market's
FROM_GAPS = f"""
SELECT g.id, {NAMES}, {_time("g.started_at")} AS started_at, {_time("g.ended_at")} AS ended_at, 
       {MISSED_BY_NOW.format(gap="g", expected="p.expected_seconds")} AS missed_count,
       g.cause, {_text("g.evidence")} AS evidence, g.state, {_time("g.filled_until")} AS filled_until,
       g.filled_count, g.lacking_count
FROM collectors_gap AS g JOIN exchanges_market AS m ON m.id = g.pipeline_id
JOIN collectors_pipeline AS p ON p.market_id = g.pipeline_id
WHERE g.started_at >= %(start)s AND g.started_at < %(end)s {{filters}} ORDER BY g.started_at, g.id
"""
FROM_TICKS = f"""
SELECT t.pipeline_id AS pipeline, {NAMES}, {_time("t.received_at")} AS received_at,
       {_time("t.exchange_at")} AS exchange_at, t.last, t.bid, t.ask, t.high, t.low, t.base_volume, t.quote_volume,
       CASE t.origin WHEN 0 THEN 'live' WHEN 1 THEN 'candle' WHEN 2 THEN 'trade' ELSE 'misdated' END AS origin,
       {_time(f"({knowing.TICK_KNOWN_AT})")} AS known_at,
       {UNPROVEN.format(time="t.received_at")} AS identity_unproven
FROM collectors_tick AS t JOIN exchanges_market AS m ON m.id = t.pipeline_id
WHERE t.received_at >= %(start)s AND t.received_at < %(end)s {{filters}} ORDER BY t.pipeline_id, t.received_at
"""
FROM_ROLLUPS = f"""
SELECT r.pipeline_id AS pipeline, {NAMES}, {_time("r.minute_at")} AS minute_at, r.samples, r.open, r.high, r.low,
       r.close, r.bid, r.ask, r.base_volume, r.volume, r.live, r.candle, r.trade, r.revision,
       {_time("r.known_at")} AS known_at, {UNPROVEN.format(time="r.minute_at")} AS identity_unproven
FROM ({{source}}) AS r JOIN exchanges_market AS m ON m.id = r.pipeline_id
WHERE true {{filters}} ORDER BY r.pipeline_id, r.minute_at
"""
MINUTES_OF_SPAN = "minute_at >= %(start)s AND minute_at < %(end)s"
FILTERS = {
    "exchange": "AND m.exchange_id = %(exchange)s",
    "markets": "AND m.id = ANY(%(markets)s)",  # what a symbol means, in any spelling
    "pipeline": "AND m.id = %(pipeline)s",
    "cause": "AND g.cause = %(cause)s",
    "state": "AND g.state = %(state)s",
    "as_of": f"AND {knowing.TICK_WAS_KNOWN}",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of rows that can be exported, and how long a span of it at once."""

    select: str
    longest: timedelta
    filters: tuple[str, ...] = ("exchange", "markets", "pipeline", "as_of")
    needs_one_of: tuple[str, ...] = ()

    @property
    def has_quality(self) -> bool:
        """Says whether its rows are data, of which a span may be whole or not."""
        return "as_of" in self.filters


KINDS: Mapping[str, Kind] = {
    "gaps": Kind(FROM_GAPS, timedelta(days=31), ("exchange", "markets", "pipeline", "cause", "state")),
    "ticks": Kind(FROM_TICKS, timedelta(days=1), needs_one_of=("exchange", "pipeline")),
    "rollups": Kind(FROM_ROLLUPS, timedelta(days=7), needs_one_of=("exchange", "pipeline")),
}


def stream(kind: Kind, values: Mapping[str, Any], *, with_count: bool = False) -> Iterator[bytes]:
    """Returns CSV with a heading, in chunks. `values` has start, end, now, and any of the kind's filters.

    `with_count` adds a last line, `# rows: 1500000`, for who cannot see that a connection was reset.

    Raises TooMany, and what PostgreSQL says of the statement, before the first chunk.
    """
    if not _running.acquire(blocking=False):
        raise TooMany(f"{MOST_AT_ONCE} exports are running here")
    carrier = _Carrier(_statement(kind, values), values, with_count=with_count)
    try:
        threading.Thread(target=carrier.run, name="export", daemon=True).start()
    except RuntimeError:  # no thread is left, and so nobody who would make room for the next export
        _running.release()
        raise
    try:
        first = carrier.take()
    except BaseException:
        carrier.stop()
        raise
    return _chunks(first, carrier)


def abandon(chunks: Iterator[bytes]) -> None:
    """Ends an export that nobody will read, and makes room for the next."""
    next(chunks, None)  # a generator that never began has nothing to end
    if isinstance(chunks, Generator):
        chunks.close()


def count(kind: Kind, values: Mapping[str, Any], *, most: int) -> int:
    """Returns how many rows an export would have; `most` + 1 where it would be more."""
    statement = (
        f"SELECT count(*) FROM (SELECT 1 FROM ({_statement(kind, values)}) AS exported LIMIT %(most)s) AS counted"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, {**values, "most": most + 1})
        return int(cursor.fetchone()[0])


def _statement(kind: Kind, values: Mapping[str, Any]) -> str:
    chosen = [name for name in kind.filters if values.get(name) is not None]
    if "{source}" not in kind.select:
        return kind.select.format(filters=" ".join(FILTERS[name] for name in chosen))
    source = knowing.minutes(MINUTES_OF_SPAN, as_of=values.get("as_of"))
    return kind.select.format(source=source, filters=" ".join(FILTERS[name] for name in chosen if name != "as_of"))


def _chunks(first: bytes | None, carrier: _Carrier) -> Iterator[bytes]:
    try:
        chunk = first
        while chunk is not None:
            yield chunk
            chunk = carrier.take()
    finally:
        carrier.stop()


class _ReaderGone(Exception):
    """Nobody reads any more, so COPY has to end."""


class _Carrier:
    """A thread that runs COPY over a connection of its own, and hands its output over piece by piece."""

    def __init__(self, select: str, values: Mapping[str, Any], *, with_count: bool) -> None:
        self._select, self._values, self._with_count = select, values, with_count
        self._queue: queue.Queue[bytes | Exception | None] = queue.Queue(CHUNKS_AHEAD)
        self._is_stopped = threading.Event()
        self._buffer = bytearray()

    def run(self) -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = %s", [int(STATEMENT_SECONDS * 1000)])
                select = cursor.mogrify(self._select, self._values).decode()
                with connection.wrap_database_errors:  # Django does so for its own methods only
                    cursor.copy_expert(f"COPY ({select}) TO STDOUT (FORMAT csv, HEADER)", self)
                if self._with_count:
                    self._buffer += COUNT_LINE % cursor.rowcount
            self._put(bytes(self._buffer))
            self._put(None)
        except _ReaderGone:
            return
        except Exception as error:  # noqa: BLE001 - it is raised again in the reader's thread
            self._buffer.clear()
            self._put_quietly(error)
        finally:
            try:
                connection.close()
            finally:
                _running.release()

    def write(self, data: bytes) -> int:
        """Takes a row's bytes from psycopg, which calls this for every row; returns their number."""
        self._buffer += data
        if len(self._buffer) >= CHUNK_BYTES:
            self._put(bytes(self._buffer))
            self._buffer.clear()
        return len(data)

    def take(self) -> bytes | None:
        item = self._queue.get(timeout=STATEMENT_SECONDS + 10)  # what ends the statement comes through here, too
        if isinstance(item, Exception):
            raise item
        return item

    def stop(self) -> None:
        self._is_stopped.set()

    def _put(self, item: bytes | Exception | None) -> None:
        for _ in range(int(READER_SECONDS * 10)):
            if self._is_stopped.is_set():
                raise _ReaderGone
            try:
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                continue
        raise _ReaderGone

    def _put_quietly(self, error: Exception) -> None:
        try:
            self._put(error)
        except _ReaderGone:
            return
