"""Makes one-minute rollups, which remain of ticks after the raw retention. Recomputing a minute gives the same row."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from django.db import connection, transaction

from collectors.history import coverage
from collectors.models import Watermark

CURSOR = "rollups"
SETTLE = timedelta(seconds=30)  # a poll that began in a minute is committed by then
MINUTE = timedelta(minutes=1)
MOST_MINUTES = 30
MOST_SECONDS = 15.0  # of a run: well within the task's limit, with all that follows

MADE_OF_TICKS = """count(*) AS samples,
    (array_agg(last ORDER BY received_at))[1] AS open, max(last) AS high, min(last) AS low,
    (array_agg(last ORDER BY received_at DESC))[1] AS close,
    (array_agg(bid ORDER BY received_at DESC))[1] AS bid, (array_agg(ask ORDER BY received_at DESC))[1] AS ask,
    (array_agg(base_volume ORDER BY received_at DESC))[1] AS base_volume
"""
# A search for each pipeline: one by time alone would read the key of the whole day.
OF_EACH = f"""
SELECT p.market_id AS pipeline_id, %(start)s AS minute_at, t.*
FROM collectors_pipeline AS p CROSS JOIN LATERAL (
    SELECT {MADE_OF_TICKS}, bool_or(origin = 0) AS is_live FROM collectors_tick
    WHERE pipeline_id = p.market_id AND received_at >= %(start)s AND received_at < %(end)s) AS t
WHERE t.samples > 0
"""
OF_ONE = f"""
SELECT pipeline_id, date_trunc('minute', received_at) AS minute_at, {MADE_OF_TICKS} FROM collectors_tick
WHERE pipeline_id = %(pipeline)s AND received_at >= %(start)s AND received_at < %(end)s GROUP BY 1, 2
"""
COLUMNS = "pipeline_id, minute_at, samples, open, high, low, close, bid, ask, base_volume"
KEEP = f"""
INSERT INTO collectors_rollup ({COLUMNS}) SELECT {COLUMNS} FROM minute
ON CONFLICT (pipeline_id, minute_at) DO UPDATE SET
    samples = excluded.samples, open = excluded.open, high = excluded.high, low = excluded.low,
    close = excluded.close, bid = excluded.bid, ask = excluded.ask, base_volume = excluded.base_volume
"""
ROLL_UP = f"WITH minute AS MATERIALIZED ({OF_EACH}) {coverage.COUNT} {KEEP}"
ROLL_UP_AGAIN = f"WITH minute AS ({OF_ONE}) {KEEP}"


def run(now: datetime) -> int:
    """Rolls up and counts the minutes finished since the last run, at most half an hour of them; returns the rows.

    Each has its own transaction: after an outage no statement is longer than usual, and what is done stays done.
    """
    until = (now - SETTLE).replace(second=0, microsecond=0)
    Watermark.objects.get_or_create(
        name=CURSOR, defaults={"reached_at": until - MINUTE}
    )  # kept though the work may fail
    give_up_at = time.monotonic() + MOST_SECONDS
    written = 0
    for _ in range(MOST_MINUTES):
        rows = _next_minute(until)
        if rows is None or time.monotonic() > give_up_at:
            return written + (rows or 0)
        written += rows
    return written


def _next_minute(until: datetime) -> int | None:
    """Rolls up the minute at the cursor and returns its number of rows, or None when it is not over."""
    with transaction.atomic():
        cursor_row = Watermark.objects.select_for_update().get(name=CURSOR)
        start, end = cursor_row.reached_at, cursor_row.reached_at + MINUTE
        if end > until:
            return None
        with connection.cursor() as cursor:
            cursor.execute(ROLL_UP, {"start": start, "end": end})
            written = int(cursor.rowcount)
        Watermark.objects.filter(pk=CURSOR).update(reached_at=end)
    return written


def reached() -> datetime | None:
    """Returns the moment up to which all minutes are rolled up; None when none ever was."""
    return Watermark.objects.filter(name=CURSOR).values_list("reached_at", flat=True).first()


def again(pipeline_id: int, *, start: datetime, end: datetime) -> None:
    """Recomputes the minutes that touch [start, end] of one pipeline, because rows came later."""
    first = start.replace(second=0, microsecond=0)
    after_last = end.replace(second=0, microsecond=0) + MINUTE
    with connection.cursor() as cursor:
        cursor.execute(ROLL_UP_AGAIN, {"start": first, "end": after_last, "pipeline": pipeline_id})
