"""Takes back what is stamped in the future: rows of a clock that ran ahead, and what followed from them.

Nothing is deleted. The rows are kept with an origin of their own and count for nothing; a pipeline's newest row is the
newest that can be believed, and the time since then is a silence like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import redis
import structlog
from django.db import connection, transaction

from collectors.gaps import ledger
from collectors.models import Origin, Watermark
from lib import processes
from lib.clock import FUTURE_SECONDS

log = structlog.get_logger(__name__)

TAKEN_BACK_CURSOR = "misdated"  # when something was taken back last
MOST_PIPELINES = 500  # of a sweep; the rest is the next one's
MOST_ROWS = 20_000
COLUMNS = "received_at, exchange_at, last, bid, ask, high, low, base_volume, quote_volume"

FIND = """
SELECT market_id FROM collectors_pipeline WHERE received_at > %(limit)s
ORDER BY market_id LIMIT %(most)s FOR UPDATE SKIP LOCKED
"""
# A stored row has taken the state's place of one in the future, which only the history knows now.
OVERTAKEN = f"""
SELECT s.pipeline_id FROM stage_quotes AS s
WHERE EXISTS (SELECT FROM collectors_tick AS t WHERE t.pipeline_id = s.pipeline_id AND t.received_at > %(limit)s
              AND t.origin = {Origin.LIVE})
"""
MARK = f"""
UPDATE collectors_tick AS t SET origin = {Origin.MISDATED}, known_at = %(now)s
FROM (SELECT pipeline_id, received_at FROM collectors_tick
      WHERE pipeline_id = ANY(%(pipelines)s) AND received_at > %(limit)s AND origin = {Origin.LIVE}
      LIMIT %(most)s) AS ahead
WHERE t.pipeline_id = ahead.pipeline_id AND t.received_at = ahead.received_at
"""
SET_BACK = f"""
UPDATE collectors_pipeline AS p SET ({COLUMNS}) = (
        SELECT {COLUMNS} FROM collectors_tick AS t
        WHERE t.pipeline_id = p.market_id AND t.origin = {Origin.LIVE} AND t.received_at <= %(limit)s
        ORDER BY t.received_at DESC LIMIT 1),
    changed_at = CASE WHEN p.changed_at > %(limit)s THEN %(now)s ELSE p.changed_at END,
    resumed_at = CASE WHEN p.resumed_at > %(limit)s THEN %(now)s ELSE p.resumed_at END
WHERE market_id = ANY(%(pipelines)s)
"""
# One that never finished a run since is waiting to start, which is what is known of it.
SET_WORKERS_BACK = """
UPDATE collectors_worker AS w SET
    stored_at = (SELECT max(p.received_at) FROM collectors_pipeline AS p
                 JOIN exchanges_market AS m ON m.id = p.market_id
                 WHERE m.exchange_id = w.exchange_id AND p.received_at <= %(limit)s),
    heartbeat_at = CASE WHEN heartbeat_at > %(limit)s THEN NULL ELSE heartbeat_at END,
    resumed_at = least(resumed_at, %(now)s), status_since = least(status_since, %(now)s),
    markets_loaded_at = CASE WHEN markets_loaded_at > %(limit)s THEN %(now)s ELSE markets_loaded_at END,
    last_error_at = CASE WHEN last_error_at > %(limit)s THEN %(now)s ELSE last_error_at END
WHERE greatest(stored_at, heartbeat_at, resumed_at, status_since) > %(limit)s
"""
# Of a run nobody can say when it was; at the moment of finding out it touches no other.
SET_RUNS_BACK = """
UPDATE collectors_run SET started_at = %(now)s, duration_ms = 0,
    excerpt = 'dated by a clock that ran ahead: ' || started_at
WHERE started_at > %(limit)s
"""


def limit(now: datetime) -> datetime:
    """Returns the moment from which a stamp is in the future."""
    return now + timedelta(seconds=FUTURE_SECONDS)


def take_back(now: datetime) -> int:
    """Takes back what is stamped in the future; returns how many pipelines were set back. Twice is harmless."""
    values = {"now": now, "limit": limit(now)}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(FIND, {**values, "most": MOST_PIPELINES})
        pipelines = [number for (number,) in cursor.fetchall()]
        if pipelines and (_is_doubted() or not _mark(pipelines, now)):
            return 0
        if pipelines:
            ledger.take_back(pipelines, values["limit"])
            cursor.execute(SET_BACK, {**values, "pipelines": pipelines})
        cursor.execute(SET_WORKERS_BACK, values)
        workers = int(cursor.rowcount)
        if pipelines or workers:
            cursor.execute(SET_RUNS_BACK, values)
            Watermark.objects.update_or_create(name=TAKEN_BACK_CURSOR, defaults={"reached_at": now})
            log.warning("stamps_in_the_future", pipelines=len(pipelines), workers=workers)
    return len(pipelines)


def _is_doubted() -> bool:
    """Says whether another process does not follow PostgreSQL's clock back yet: it may come forward again, and what
    seems to lie ahead does not, then."""
    try:
        return any(each.is_clock_held for each in processes.live())
    except redis.RedisError:
        return False


def take_back_overtaken(now: datetime) -> None:
    """Sets aside rows in the future of the pipelines in `stage_quotes`, in the caller's transaction."""
    values = {"limit": limit(now)}
    with connection.cursor() as cursor:
        cursor.execute(OVERTAKEN, values)
        pipelines = [number for (number,) in cursor.fetchall()]
    if pipelines:
        _mark(pipelines, now)
        ledger.take_back(pipelines, values["limit"], ended_with_row=True)
        log.warning("stamps_in_the_future", pipelines=len(pipelines))


def _mark(pipelines: Sequence[int], now: datetime) -> bool:
    """Gives rows in the future their origin; returns False while there may be more than one statement's worth."""
    with connection.cursor() as cursor:
        cursor.execute(MARK, {"pipelines": list(pipelines), "now": now, "limit": limit(now), "most": MOST_ROWS})
        return int(cursor.rowcount) < MOST_ROWS
