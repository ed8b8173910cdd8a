"""Reads candles of any interval: each bar from one source, the first that covers all of it.

The exchange's own minute candles come first, then public trades where the exchange's numbers prove that none is
missing, then ticks, by the minute or raw. A bar of ticks is the sum of its minutes, among which are candles where
nothing else was known; what each bar is made of is counted in it. Bars without any row are left out.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import OperationalError, connection, transaction

from archive.datasets import Dataset
from collectors.history import archived_kinds, archived_rows, knowing, rollups
from collectors.models import TO_FILL_SQL
from collectors.rules import intervals
from collectors.rules.intervals import Interval

CANDLES, TRADES, TICKS = "candles", "trades", "ticks"
SOURCES = (CANDLES, TRADES, TICKS)
STATEMENT_SECONDS = 20
NUMBERS_AROUND = timedelta(hours=1)  # a trade before and behind a bar proves that none is missing in it
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LIVE_SETTLES_AFTER = timedelta(seconds=30)
LONGEST_TAIL = timedelta(days=1)  # of minutes that are not rolled up
CANCELLED = "57014"  # PostgreSQL's code for a statement that was ended, by its time limit, too
MINUTES_SETTLE_AFTER = rollups.SETTLE + rollups.MINUTE

# --- the sources -----------------------------------------------------------------------------------------------
#
# Each gives BARS for a period `p`: (opened_at, open, high, low, close, volume, samples, live, candle, trade,
# no_trades, revision, known_at). `samples` is null where the source covers every minute of the bar.


def _first(column: str, by: str) -> str:
    return f"(array_agg({column} ORDER BY {by}) FILTER (WHERE {column} IS NOT NULL))[1]"


def _last(column: str, by: str) -> str:
    return _first(column, f"{by} DESC")


def _whole(total: str, column: str) -> str:
    """Returns SQL of a total that is null where one of its parts is."""
    return f"CASE WHEN count({column}) = count(*) THEN {total} END"


IN_PERIOD = "pipeline_id = %(pipeline)s AND {at} >= p.started_at AND {at} < p.ended_at"
OPENED = "date_bin(%(stride)s, {at}, p.started_at)"

OF_MINUTES = f"""
SELECT {OPENED.format(at="minute_at")} AS opened_at,
       {_first("open", "minute_at")} AS open, max(high) AS high, min(low) AS low,
       {_last("close", "minute_at")} AS close,
       NULL::float8 AS volume, count(*) AS samples, {_whole("sum(live)::bigint", "live")} AS live,
       {_whole("sum(candle)::bigint", "candle")} AS candle, {_whole("sum(trade)::bigint", "trade")} AS trade,
       0 AS no_trades, {_whole("sum(revision)::bigint", "revision")} AS revision,
       {_whole("max(known_at)", "known_at")} AS known_at
FROM ({{minutes}}) AS m GROUP BY 1
"""
# Bars of one minute are the minutes themselves.
OF_EACH_MINUTE = """
SELECT minute_at AS opened_at, open, high, low, close, NULL::float8 AS volume, 1::bigint AS samples, live, candle,
       trade, 0 AS no_trades, revision, known_at
FROM ({minutes}) AS m
"""
# The newest minutes are not rolled up yet: what they are so far is made of their ticks.
TAIL = f"""
UNION ALL
SELECT pipeline_id, minute_at, samples, open, high, low, close, bid, ask, base_volume, volume, live, candle, trade,
       0, NULL::timestamptz
FROM ({rollups.OF_ONE}) AS newest WHERE minute_at >= p.started_at AND minute_at < p.ended_at
"""
OF_TICKS = f"""
SELECT {OPENED.format(at="received_at")} AS opened_at,
       {_first("last", "received_at")} AS open, max(last) AS high, min(last) AS low,
       {_last("last", "received_at")} AS close, NULL::float8 AS volume, count(*) AS samples,
       count(*) FILTER (WHERE origin = 0) AS live, 0 AS candle, count(*) FILTER (WHERE origin = 2) AS trade,
       0 AS no_trades, 0 AS revision, {_whole(f"max({knowing.TICK_KNOWN_AT})", knowing.TICK_KNOWN_AT)} AS known_at
FROM collectors_tick WHERE {IN_PERIOD.format(at="received_at")} AND origin NOT IN (1, 3) {{known}} GROUP BY 1
"""
# Where nobody traded there is no price, and the candle says nothing but that.
OF_CANDLES = f"""
SELECT {OPENED.format(at="opened_at")} AS opened_at,
       {_first("open", "opened_at")} AS open, max(high) AS high, min(low) AS low,
       {_last("close", "opened_at")} AS close,
       {_whole("sum(volume)", "volume")} AS volume, count(*) AS samples,
       0 AS live, count(*) AS candle, 0 AS trade, count(*) FILTER (WHERE NOT has_trades) AS no_trades,
       0 AS revision, max(fetched_at) AS known_at
FROM (SELECT opened_at, volume, has_trades, fetched_at, CASE WHEN has_trades THEN open END AS open,
             CASE WHEN has_trades THEN high END AS high, CASE WHEN has_trades THEN low END AS low,
             CASE WHEN has_trades THEN close END AS close
      FROM collectors_minutecandle WHERE {IN_PERIOD.format(at="opened_at")} {{known}}) AS c GROUP BY 1
"""
OF_TRADES = f"""
SELECT {OPENED.format(at="traded_at")} AS opened_at,
       {_first("price", "number")} AS open, max(price) AS high, min(price) AS low, {_last("price", "number")} AS close,
       sum(amount) AS volume, NULL::bigint AS samples, count(*) FILTER (WHERE NOT is_filled) AS live, 0 AS candle,
       count(*) FILTER (WHERE is_filled) AS trade, 0 AS no_trades, 0 AS revision, max(received_at) AS known_at
FROM collectors_trade WHERE {IN_PERIOD.format(at="traded_at")} {{known}} GROUP BY 1
"""
# Trades whose numbers follow each other: between the first and the last of them none is missing.
UNBROKEN = """
SELECT min(traded_at) AS first_at, max(traded_at) AS last_at FROM (
    SELECT traded_at, number - row_number() OVER (ORDER BY number) AS island FROM collectors_trade
    WHERE pipeline_id = %(pipeline)s AND number IS NOT NULL
      AND traded_at >= %(numbers_from)s AND traded_at < %(numbers_to)s {known}) AS numbered
GROUP BY island
"""
# A source is used for the bars that it covers whole; of several the first. A bar is final when it is over and all of
# it is there, or nothing of it is still to be asked for.
BARS = f"""
WITH period AS (
    SELECT * FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS p (started_at, ended_at)
), unbroken AS MATERIALIZED ({UNBROKEN}), to_fill AS MATERIALIZED (
    SELECT started_at, ended_at FROM collectors_gap
    WHERE pipeline_id = %(pipeline)s AND state IN ({TO_FILL_SQL}) AND %(as_of)s::timestamptz IS NULL
), bar AS (
    {{sources}}
), chosen AS (
    SELECT DISTINCT ON (opened_at) * FROM bar
    WHERE opened_at >= %(from)s AND opened_at < %(to)s
      AND (rank = 2 OR rank = 0 AND samples * 60 = extract(epoch FROM ended_at - opened_at)
           OR rank = 1 AND EXISTS (SELECT 1 FROM unbroken WHERE first_at < opened_at AND last_at >= ended_at))
    ORDER BY opened_at, rank LIMIT %(limit)s
), counted AS (
    SELECT *, CASE WHEN %(of_minutes)s THEN (
        extract(epoch FROM least(ended_at, greatest(%(until)s, opened_at)) - opened_at) / 60)::int END AS expected
    FROM chosen
)
SELECT {{columns}} FROM (
    SELECT opened_at, ended_at, open, high, low, close, volume,
           coalesce(samples, CASE WHEN %(of_minutes)s THEN (extract(epoch FROM ended_at - opened_at) / 60)::int
                                  ELSE live + trade END) AS samples,
           expected, rank, live, candle, trade, no_trades,
           ended_at <= %(until)s AND (coalesce(coalesce(samples, expected) >= expected, false) OR (
               %(as_of)s::timestamptz IS NULL AND NOT EXISTS (
                   SELECT 1 FROM to_fill AS f WHERE f.started_at < c.ended_at
                   AND (f.ended_at IS NULL OR f.ended_at > c.opened_at)))) AS is_final,
           revision, known_at
    FROM counted AS c) AS bars ORDER BY opened_at
"""
OF_SOURCE = """
SELECT {rank} AS rank, b.opened_at, least(b.opened_at + %(stride)s, p.ended_at) AS ended_at, b.open, b.high, b.low,
       b.close, b.volume, b.samples, b.live, b.candle, b.trade, b.no_trades, b.revision, b.known_at
FROM period AS p CROSS JOIN LATERAL ({bars}) AS b
"""
COLUMNS = ("opened_at", "ended_at", "open", "high", "low", "close", "volume", "samples", "expected", "rank", "live",
           "candle", "trade", "no_trades", "is_final", "revision", "known_at")  # fmt: skip


class TooLong(Exception):
    """The statement took longer than an answer may; the caller should ask for less at once."""


class GapMark(NamedTuple):
    """A gap as bars name it, in Unix seconds."""

    id: int
    started_at: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class CandleQuery:
    """A question for bars that open in [start, end), of one pipeline, from one source where it is named."""

    pipeline_id: int
    interval: Interval
    start: datetime
    end: datetime
    zone: ZoneInfo
    now: datetime
    limit: int
    as_of: datetime | None = None
    source: str | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """Returns the sources that may be used, the first first; a minute's candle cannot be split."""
        wanted = SOURCES if self.source is None else (self.source,)
        return wanted if self.interval.is_of_minutes else tuple(name for name in wanted if name != CANDLES)

    @property
    def kept_since(self) -> datetime:
        """Returns a moment before which nothing can be stored."""
        minutes = timedelta(days=settings.ROLLUP_RETENTION_DAYS + 2)
        raw = timedelta(hours=settings.RAW_RETENTION_MOST_HOURS + 48)
        return self.now - (minutes if self.interval.is_of_minutes else max(raw, minutes))

    @property
    def archived_kinds(self) -> tuple[Dataset, ...]:
        """Returns what bars are made of; raw ticks only where they are shorter than a minute."""
        return archived_rows.OF_BARS if self.interval.is_of_minutes else (*archived_rows.OF_BARS, archived_kinds.TICKS)

    @property
    def settled_until(self) -> datetime:
        """Returns the moment up to which every row that came in time is stored."""
        now = self.now if self.as_of is None else min(self.as_of, self.now)
        if not self.interval.is_of_minutes:
            return now - LIVE_SETTLES_AFTER
        return (now - MINUTES_SETTLE_AFTER).replace(second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class Bars:
    """Rows in the order of COLUMNS, oldest first; `is_cut` when more would follow. Without as_of `gaps` are those
    around them; with it None, for what was known of gaps then is not kept."""

    query: CandleQuery
    rows: Sequence[tuple[Any, ...]]
    is_cut: bool
    gaps: Sequence[GapMark] | None


def read(query: CandleQuery) -> Bars:
    """Returns bars. Raises knowing.AsOfUnknown, TooLong, CannotReadArchive."""
    knowing.require(query.as_of)
    periods = periods_of(query)
    with with_archived(query):
        rows = _fetch(statement(query, ", ".join(COLUMNS)), parameters(query, periods)) if periods else []
        kept = rows[: query.limit]
        gaps = gaps_around(query, kept[0][0], kept[-1][1]) if kept else ([] if query.as_of is None else None)
    return Bars(query, kept, len(rows) > query.limit, gaps)


@contextmanager
def with_archived(query: CandleQuery) -> Iterator[None]:
    """Shows, for a block, what a query reads and no table has any more. Raises CannotReadArchive."""
    around = NUMBERS_AROUND + timedelta(
        seconds=query.interval.seconds
    )  # the first bar may begin before it is asked for
    start, end = max(query.start, EARLIEST + around) - around, query.end + around
    with archived_rows.readable(query.pipeline_id, start, end, query.archived_kinds):
        yield


def periods_of(query: CandleQuery) -> list[intervals.Period]:
    """Returns the periods to look at; none before anything can be stored, or where no source has such bars."""
    start = max(query.start, query.kept_since)
    if start > query.start and (day := archived_rows.oldest(query.pipeline_id, query.archived_kinds)) is not None:
        start = max(query.start, min(start, datetime.combine(day, time(), UTC)))
    if start >= query.end or not query.sources:
        return []
    return list(intervals.periods(query.interval, start, query.end, query.zone))


def names_of_gaps(opened: Sequence[float], ended: Sequence[float], gaps: Iterable[GapMark]) -> dict[int, list[int]]:
    """Returns the gaps that touch each bar, by the bar's place; times are Unix seconds, bars do not overlap."""
    touching: dict[int, list[int]] = {}
    for gap in gaps:
        for place in range(bisect_right(ended, gap.started_at), bisect_left(opened, gap.ended_at)):
            touching.setdefault(place, []).append(gap.id)
    return touching


def statement(query: CandleQuery, columns: str) -> str:
    """Returns the SQL of a query for some of COLUMNS, or what can be made of them."""
    received = "" if query.as_of is None else "AND received_at <= %(as_of)s"
    known = {
        CANDLES: "" if query.as_of is None else "AND fetched_at <= %(as_of)s",
        TRADES: f"AND number IS NOT NULL {received}",
        TICKS: "" if query.as_of is None else f"AND {knowing.TICK_WAS_KNOWN}",
    }
    bars = {CANDLES: OF_CANDLES, TRADES: OF_TRADES, TICKS: OF_TICKS}
    parts = []
    for name in query.sources:
        body = bars[name].format(known=known[name])
        if name == TICKS and query.interval.is_of_minutes:
            of_minutes = OF_EACH_MINUTE if query.interval.stride == rollups.MINUTE else OF_MINUTES
            body = of_minutes.format(minutes=_minutes(query))
        parts.append(OF_SOURCE.format(rank=SOURCES.index(name), bars=body))
    return BARS.format(sources=" UNION ALL ".join(parts), known=received, columns=columns)


def _minutes(query: CandleQuery) -> str:
    found = knowing.minutes(IN_PERIOD.format(at="minute_at"), as_of=query.as_of)
    return found if query.as_of is not None else found + " AND minute_at < %(start)s" + TAIL


def parameters(query: CandleQuery, periods: Sequence[intervals.Period]) -> dict[str, Any]:
    """Returns the values of a statement."""
    reached = rollups.reached() or query.now - LONGEST_TAIL
    return {
        "pipeline": query.pipeline_id,
        "starts": [period.started_at for period in periods],
        "ends": [period.ended_at for period in periods],
        "stride": query.interval.stride,
        "of_minutes": query.interval.is_of_minutes,
        "until": query.settled_until,
        "from": query.start,
        "to": query.end,
        "as_of": query.as_of,
        "limit": query.limit + 1,
        "start": reached,  # of the minutes that are not rolled up yet
        "end": max(reached, min(query.now, reached + LONGEST_TAIL)),
        "numbers_from": periods[0].started_at - NUMBERS_AROUND,
        "numbers_to": periods[-1].ended_at + NUMBERS_AROUND,
    }


def _fetch(sql: str, given: dict[str, Any]) -> list[tuple[Any, ...]]:
    with bounded() as cursor:
        cursor.execute(sql, given)
        return list(cursor.fetchall())


@contextmanager
def bounded() -> Iterator[Any]:
    """Gives a cursor whose statements may take STATEMENT_SECONDS. Raises TooLong."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = %s", [STATEMENT_SECONDS * 1000])
            yield cursor
    except OperationalError as error:
        if getattr(error.__cause__, "pgcode", None) != CANCELLED:
            raise
        raise TooLong(f"It took longer than {STATEMENT_SECONDS} s; ask for a shorter span.") from error


GAPS = """
SELECT id, extract(epoch FROM started_at)::float8,
       extract(epoch FROM coalesce(ended_at, greatest(%(end)s, started_at)))::float8
FROM collectors_gap
WHERE pipeline_id = %(pipeline)s AND started_at < %(end)s AND (ended_at IS NULL OR ended_at > %(start)s)
ORDER BY started_at
"""


def gaps_around(query: CandleQuery, start: datetime, end: datetime) -> list[GapMark] | None:
    """Returns the gaps that touch [start, end); None as of a moment: what was known of gaps then is not kept."""
    if query.as_of is not None:
        return None
    rows = _fetch(GAPS, {"pipeline": query.pipeline_id, "start": start, "end": end})
    return [GapMark(*row) for row in rows]
