"""Hands out request slots for backfill: live polling comes first, one request at a time, so many a minute."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import connection

from collectors.models import Backfill
from collectors.rate_limits import idle_window
from collectors.rate_limits.idle_window import RequestSlot
from exchanges.models import Exchange

DEADLINE_SECONDS = 3.0  # of one request; shortened where the next poll is due sooner, which at 10 s leaves about four

TAKE_TURN = f"""
UPDATE collectors_backfill AS b SET
    busy_until = clock_timestamp() + make_interval(secs => t.seconds + 1),
    minute_at = date_trunc('minute', clock_timestamp()),
    requests_in_minute = CASE WHEN b.minute_at = date_trunc('minute', clock_timestamp())
                              THEN b.requests_in_minute + 1 ELSE 1 END
FROM ({idle_window.WINDOW}) AS t
WHERE b.exchange_id = t.exchange_id AND t.seconds >= %(least)s AND %(budget)s > 0
  AND (b.busy_until IS NULL OR b.busy_until < clock_timestamp())
  AND (b.paused_until IS NULL OR b.paused_until < clock_timestamp())
  AND (b.minute_at IS DISTINCT FROM date_trunc('minute', clock_timestamp()) OR b.requests_in_minute < %(budget)s)
RETURNING t.generation, t.seconds
"""


def take_turn(exchange: Exchange) -> RequestSlot | None:
    """Returns a request slot; None when polling needs the exchange, the minute's budget is spent or another fills."""
    with connection.cursor() as cursor:
        cursor.execute(
            TAKE_TURN,
            idle_window.parameters(exchange, deadline_seconds=DEADLINE_SECONDS)
            | {"budget": settings.BACKFILL_REQUESTS_PER_MINUTE},
        )
        row = cursor.fetchone()
    return None if row is None else RequestSlot(exchange, int(row[0]), float(row[1]))


def end_turn(exchange_id: str, **changes: Any) -> None:
    Backfill.objects.filter(pk=exchange_id).update(busy_until=None, **changes)
