"""One-minute rollups: what remains of ticks after the raw retention. Recomputing a minute gives the same row."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection, transaction

from collectors.models import Cursor

CURSOR = "rollups"
SETTLE = timedelta(seconds=30)  # a poll that began in a minute is committed by then
MOST_PER_RUN = timedelta(minutes=30)

ROLL_UP = """
INSERT INTO collectors_rollup (pipeline_id, minute_at, samples, open, high, low, close, bid, ask, base_volume)
SELECT pipeline_id, date_trunc('minute', received_at), count(*),
       (array_agg(last ORDER BY received_at))[1], max(last), min(last),
       (array_agg(last ORDER BY received_at DESC))[1],
       (array_agg(bid ORDER BY received_at DESC))[1], (array_agg(ask ORDER BY received_at DESC))[1],
       (array_agg(base_volume ORDER BY received_at DESC))[1]
FROM collectors_tick WHERE received_at >= %(start)s AND received_at < %(end)s {only}
GROUP BY 1, 2
ON CONFLICT (pipeline_id, minute_at) DO UPDATE SET
    samples = excluded.samples, open = excluded.open, high = excluded.high, low = excluded.low,
    close = excluded.close, bid = excluded.bid, ask = excluded.ask, base_volume = excluded.base_volume
"""


def run(now: datetime) -> int:
    """Rolls up the finished minutes since the last run, at most half an hour of them; gives the rows written."""
    until = (now - SETTLE).replace(second=0, microsecond=0)
    with transaction.atomic():
        cursor_row, _ = Cursor.objects.select_for_update().get_or_create(
            name=CURSOR, defaults={"reached_at": until - timedelta(minutes=1)}
        )
        end = min(until, cursor_row.reached_at + MOST_PER_RUN)
        if end <= cursor_row.reached_at:
            return 0
        with connection.cursor() as cursor:
            cursor.execute(ROLL_UP.format(only=""), {"start": cursor_row.reached_at, "end": end})
            written = int(cursor.rowcount)
        Cursor.objects.filter(pk=CURSOR).update(reached_at=end)
    return written


def again(pipeline_id: int, *, start: datetime, end: datetime) -> None:
    """Recomputes the minutes that touch [start, end] of one pipeline, because rows came later."""
    first = start.replace(second=0, microsecond=0)
    after_last = end.replace(second=0, microsecond=0) + timedelta(minutes=1)
    with connection.cursor() as cursor:
        statement = ROLL_UP.format(only="AND pipeline_id = %(pipeline)s")
        cursor.execute(statement, {"start": first, "end": after_last, "pipeline": pipeline_id})
