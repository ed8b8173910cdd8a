"""Learns whether an exchange stamps candles at their end, before any of them fills a gap: one request in some hours."""

from __future__ import annotations

import time
from typing import Final

import structlog
from django.db import connection

from collectors.backfill.answers import MINUTE, GapSpan
from collectors.rules import candle_stamps
from feeds.base import Feed, MayCall

log = structlog.get_logger(__name__)

COMPARED_MINUTES = 30
KEPT_SECONDS = 6 * 3600.0  # by each process: it is learned again soon enough
LEAST_ROWS = 3  # of ours in a minute, so that the last one is near its end

OUR_MINUTES = """
SELECT extract(epoch FROM date_trunc('minute', received_at))::float8, (array_agg(last ORDER BY received_at DESC))[1]
FROM collectors_tick
WHERE pipeline_id = %(pipeline)s AND origin = 0 AND last > 0
  AND received_at >= to_timestamp(%(start)s) AND received_at < to_timestamp(%(end)s)
GROUP BY 1 HAVING count(*) >= %(least)s
"""
_learned: Final[dict[str, tuple[float | None, float]]] = {}


def known_shift(exchange_id: str) -> float:
    """Returns the seconds by which the exchange's minute candles are stamped too late, as far as is known."""
    return _learned.get(exchange_id, (None, 0.0))[0] or 0.0


def forget() -> None:
    _learned.clear()


def learn_if_due(exchange_id: str, feed: Feed, span: GapSpan, *, deadline_seconds: float, may_call: MayCall) -> bool:
    """Compares the candles of the minutes before a gap with our rows of them; says whether that took the request.
    Raises FeedError."""
    learned_at = _learned.get(exchange_id, (None, -KEPT_SECONDS))[1]
    if time.monotonic() - learned_at < KEPT_SECONDS:
        return False
    end = span.start - span.start % MINUTE
    ours = _our_minutes(span.pipeline_id, end - COMPARED_MINUTES * MINUTE, end)
    if len(ours) <= candle_stamps.LEAST_COMPARED:
        return False
    candles = feed.fetch_candles(
        span.symbol, timeframe="1m", since=min(ours), limit=COMPARED_MINUTES, deadline_seconds=deadline_seconds,
        may_call=may_call,
    )  # fmt: skip
    shift = candle_stamps.shift_seconds({each.opened_at: each.close for each in candles}, ours)
    _learned[exchange_id] = shift, time.monotonic()
    if shift:
        log.warning("candles_stamped_at_their_end", exchange=exchange_id, symbol=span.symbol)
    return True


def _our_minutes(pipeline_id: int, start: float, end: float) -> dict[float, float]:
    values = {"pipeline": pipeline_id, "start": start, "end": end, "least": LEAST_ROWS}
    with connection.cursor() as cursor:
        cursor.execute(OUR_MINUTES, values)
        return dict(cursor.fetchall())
