"""Hands out request slots for market data: one request at a time, in the pauses between good polls, so that
tickers come first; and none while the exchange told us to wait."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from django.db import connection

from collectors.models import Worker
from collectors.models.market_data import DepthTurn
from collectors.rate_limits import idle_window
from collectors.rate_limits.idle_window import RequestSlot
from exchanges.models import Exchange
from feeds.base import Throttled

DEADLINE_SECONDS = 5.0  # of one request; shortened where the next poll is due sooner
PATIENCE_SECONDS = 2.0  # a poll that is just running takes less
LOOK_AGAIN_SECONDS = 0.05
THROTTLE_PAUSE = timedelta(minutes=5)

WELL = f"""
SELECT 1 FROM collectors_worker AS w JOIN exchanges_exchange AS e ON e.id = w.exchange_id
LEFT JOIN collectors_depthturn AS d ON d.exchange_id = e.id
WHERE e.id = %s AND {idle_window.IS_WELL}
  AND (d.paused_until IS NULL OR d.paused_until < clock_timestamp())
"""
TAKE = f"""
UPDATE collectors_depthturn AS d SET busy_until = clock_timestamp() + make_interval(secs => t.seconds + 1)
FROM ({idle_window.WINDOW}) AS t
WHERE d.exchange_id = t.exchange_id AND t.seconds >= %(least)s
  AND (d.busy_until IS NULL OR d.busy_until < clock_timestamp())
  AND (d.paused_until IS NULL OR d.paused_until < clock_timestamp())
RETURNING t.generation, t.seconds
"""


def is_well(exchange_id: str) -> bool:
    """Says whether a request slot can be had by waiting: False when stopped, failing, or told to wait."""
    with connection.cursor() as cursor:
        cursor.execute(WELL, [exchange_id])
        return cursor.fetchone() is not None


def wait_for(exchange: Exchange, *, patience_seconds: float = PATIENCE_SECONDS) -> RequestSlot | None:
    """Waits until polling leaves time and returns a request slot; None in the end."""
    give_up_at = time.monotonic() + patience_seconds
    while True:
        turn = take(exchange)
        if turn is not None or time.monotonic() > give_up_at or not is_well(exchange.id):
            return turn
        time.sleep(LOOK_AGAIN_SECONDS)


def take(exchange: Exchange) -> RequestSlot | None:
    DepthTurn.objects.get_or_create(exchange=exchange)
    with connection.cursor() as cursor:
        cursor.execute(TAKE, idle_window.parameters(exchange, deadline_seconds=DEADLINE_SECONDS))
        row = cursor.fetchone()
    return None if row is None else RequestSlot(exchange, int(row[0]), float(row[1]))


def give_back(turn: RequestSlot) -> None:
    DepthTurn.objects.filter(pk=turn.exchange.id).update(busy_until=None)


def pause(exchange_id: str, *, until: datetime) -> None:
    DepthTurn.objects.filter(pk=exchange_id).update(paused_until=until)


def heed(exchange_id: str, error: Throttled, *, now: datetime) -> None:
    """Pauses requests after the exchange told this address to wait, and polls, too, where it said how long."""
    asked = timedelta(seconds=error.retry_after_seconds or 0)
    pause(exchange_id, until=now + max(THROTTLE_PAUSE, asked))
    if asked or error.banned:
        until = now + (asked or THROTTLE_PAUSE)
        worker = Worker.objects.filter(pk=exchange_id)
        worker.exclude(retry_at__gte=until).update(retry_at=until, last_outcome="throttled")
