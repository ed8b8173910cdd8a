"""Makes one-minute rollups, which remain of ticks after the raw retention. Recomputing a minute gives the same row."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import connection, transaction

from collectors.history import coverage
from collectors.models import Watermark

log = structlog.get_logger(__name__)

CURSOR = "rollups"
SETTLE = timedelta(seconds=30)  # a poll that began in a minute is committed by then
MINUTE = timedelta(minutes=1)
MOST_MINUTES = 30
MOST_SECONDS = 15.0  # of a run: well within the task's limit, with all that follows

# Ticks of origin 3 lie in the future of when they came: nobody knows which minute was theirs.
# A candle's raw row is one price at its minute's end: the minute itself is told by the candle, open to close.
MADE_OF_TICKS = """count(*) AS samples,
    (array_agg(last ORDER BY received_at))[1] AS open, max(last) AS high, min(last) AS low,
    (array_agg(last ORDER BY received_at DESC))[1] AS close,
    (array_agg(bid ORDER BY received_at DESC))[1] AS bid, (array_agg(ask ORDER BY received_at DESC))[1] AS ask,
    (array_agg(base_volume ORDER BY received_at DESC))[1] AS base_volume, NULL::float8 AS volume,
    count(*) FILTER (WHERE origin = 0) AS live, 0 AS candle, count(*) FILTER (WHERE origin = 2) AS trade
"""
# Minutes that only an exchange's candle covers; where nobody traded there is none.
OF_CANDLES = """
SELECT c.pipeline_id, c.opened_at AS minute_at, 1 AS samples, c.open, c.high, c.low, c.close,
       NULL::float8 AS bid, NULL::float8 AS ask, NULL::float8 AS base_volume, c.volume,
       0 AS live, 1 AS candle, 0 AS trade
FROM collectors_minutecandle AS c
WHERE c.opened_at >= %(start)s AND c.opened_at < %(end)s {only} AND c.has_trades AND NOT EXISTS (
    SELECT 1 FROM collectors_tick AS t
    WHERE t.pipeline_id = c.pipeline_id AND t.origin NOT IN (1, 3)
      AND t.received_at >= c.opened_at AND t.received_at < c.opened_at + interval '1 minute')
"""
# A search for each pipeline: one by time alone would read the key of the whole day.
OF_EACH = f"""
SELECT p.market_id AS pipeline_id, %(start)s AS minute_at, t.*
FROM collectors_pipeline AS p CROSS JOIN LATERAL (
    SELECT {MADE_OF_TICKS} FROM collectors_tick
    WHERE pipeline_id = p.market_id AND origin NOT IN (1, 3)
      AND received_at >= %(start)s AND received_at < %(end)s) AS t
WHERE t.samples > 0
UNION ALL {OF_CANDLES.format(only="")}
"""
OF_ONE = f"""
SELECT pipeline_id, date_trunc('minute', received_at) AS minute_at, {MADE_OF_TICKS} FROM collectors_tick
WHERE pipeline_id = %(pipeline)s AND origin NOT IN (1, 3)
  AND received_at >= %(start)s AND received_at < %(end)s GROUP BY 1, 2
UNION ALL {OF_CANDLES.format(only="AND c.pipeline_id = %(pipeline)s")}
"""
VALUES = ("samples", "open", "high", "low", "close", "bid", "ask", "base_volume", "volume", "live", "candle", "trade")
KEY, LIST = "pipeline_id, minute_at", ", ".join(VALUES)


def _row(name: str) -> str:
    return ", ".join(f"{name}.{column}" for column in VALUES)


# What a changed minute was before moves to its revisions; one that comes out the same is left alone.
KEEP = f"""
, kept AS (
    INSERT INTO collectors_rollup AS r ({KEY}, {LIST}, revision, known_at)
    SELECT {KEY}, {LIST}, 0, %(known_at)s FROM minute
    ON CONFLICT ({KEY}) DO UPDATE SET
        ({LIST}) = ROW({_row("excluded")}), revision = coalesce(r.revision, 0) + 1,
        known_at = greatest(r.known_at, excluded.known_at)  -- hosts' clocks differ; a state begins where one ended
    WHERE ({_row("r")}) IS DISTINCT FROM ({_row("excluded")})
    RETURNING new.{KEY.replace(", ", ", new.")}, {_row("old")}, old.revision, old.known_at, new.known_at AS replaced_at
), replaced AS (
    INSERT INTO collectors_rolluprevision ({KEY}, {LIST}, revision, known_at, replaced_at)
    SELECT {KEY}, {LIST}, coalesce(revision, 0), known_at, replaced_at FROM kept WHERE samples IS NOT NULL
)
SELECT count(*) FROM kept
"""
ROLL_UP = f"WITH minute AS MATERIALIZED ({OF_EACH}) {coverage.COUNT} {KEEP}"
ROLL_UP_AGAIN = f"WITH minute AS ({OF_ONE}) {KEEP}"
# One after another: whoever fetched rows for a minute that is being made waits, and then sees what it has become.
HOLD_THE_CURSOR = "SELECT 1 FROM collectors_cursor WHERE name = %(cursor)s FOR NO KEY UPDATE"


OLDEST_ROW = """
SELECT min(t.received_at) FROM collectors_pipeline AS p CROSS JOIN LATERAL (
    SELECT received_at FROM collectors_tick WHERE pipeline_id = p.market_id ORDER BY received_at LIMIT 1) AS t
"""


def run(now: datetime) -> int:
    """Rolls up and counts the minutes finished since the last run, at most half an hour of them; returns the rows.

    Each has its own transaction: after an outage no statement is longer than usual, and what is done stays done.
    """
    until = (now - SETTLE).replace(second=0, microsecond=0)
    if not Watermark.objects.filter(name=CURSOR).exists():
        _begin(until)
    _set_back(until)
    give_up_at = time.monotonic() + MOST_SECONDS
    written = 0
    for _ in range(MOST_MINUTES):
        rows = _next_minute(until, now)
        if rows is None or time.monotonic() > give_up_at:
            return written + (rows or 0)
        written += rows
    return written


def _begin(until: datetime) -> None:
    """Begins with the minute of the oldest row: it may have come before upkeep first ran. Kept though work may fail."""
    with connection.cursor() as cursor:
        cursor.execute(OLDEST_ROW)
        [oldest] = cursor.fetchone() or [None]
    start = min(oldest.replace(second=0, microsecond=0), until) if oldest else until - MINUTE
    Watermark.objects.get_or_create(name=CURSOR, defaults={"reached_at": start})


def _set_back(until: datetime) -> None:
    """Sets back a cursor that a clock ahead has moved into the future: else no minute is rolled up until then."""
    if Watermark.objects.filter(pk=CURSOR, reached_at__gt=until + MINUTE).update(reached_at=until):
        log.warning("cursor_set_back", cursor=CURSOR, reached_at=until.isoformat())


def _next_minute(until: datetime, now: datetime) -> int | None:
    """Rolls up the minute at the cursor and returns its number of rows, or None when it is not over."""
    with transaction.atomic():
        cursor_row = Watermark.objects.select_for_update().get(name=CURSOR)
        start, end = cursor_row.reached_at, cursor_row.reached_at + MINUTE
        if end > until:
            return None
        with connection.cursor() as cursor:
            cursor.execute(ROLL_UP, {"start": start, "end": end, "known_at": now})
            written = int(cursor.fetchone()[0])
        Watermark.objects.filter(pk=CURSOR).update(reached_at=end)
    return written


def reached() -> datetime | None:
    """Returns the moment up to which all minutes are rolled up; None when none ever was."""
    return Watermark.objects.filter(name=CURSOR).values_list("reached_at", flat=True).first()


@transaction.atomic(savepoint=False)
def again(pipeline_id: int, *, start: datetime, end: datetime, now: datetime) -> None:
    """Recomputes the minutes that touch [start, end] of one pipeline, because rows came later."""
    first = start.replace(second=0, microsecond=0)
    after_last = end.replace(second=0, microsecond=0) + MINUTE
    given: dict[str, Any] = {
        "start": first,
        "end": after_last,
        "pipeline": pipeline_id,
        "known_at": now,
        "cursor": CURSOR,
    }
    with connection.cursor() as cursor:
        cursor.execute(HOLD_THE_CURSOR, given)
        cursor.execute(ROLL_UP_AGAIN, given)
