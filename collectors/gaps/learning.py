"""The usual behaviour of pipelines, read from their history: how often rows come, whether values stand still.

Never on the write path: a part of the pipelines each minute, and hot rows are written only where something changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from collectors.history import currencies
from collectors.models import GapCause
from collectors.rules import cadence, frozen
from collectors.rules.gaps import GAP_INTERVALS

SLICES = 30  # so many minutes until every pipeline was looked at
NEWEST_DISTANCES = 100
LEARNING_SPAN = timedelta(hours=6)
MOST_CANDIDATES = 500
MOST_PEERS = 10
TICKS_FOR_USUAL = 500

LIVE = """
JOIN exchanges_market AS m ON m.id = p.market_id AND m.is_collected
JOIN exchanges_exchange AS e ON e.id = m.exchange_id AND e.is_collected
"""

# Distances that an outage made teach nothing about the market.
OUTAGES = f"'{GapCause.OUR_OUTAGE}', '{GapCause.EXCHANGE_OUTAGE}', '{GapCause.RATE_LIMITED}', '{GapCause.HALTED}'"
DISTANCES = f"""
SELECT p.market_id, p.expected_seconds, e.poll_interval_seconds, d.distances
FROM collectors_pipeline AS p {LIVE}
CROSS JOIN LATERAL (
    SELECT array_agg(extract(epoch FROM t.next_at - t.received_at)::float8) AS distances
    FROM (
        SELECT received_at, lead(received_at) OVER (ORDER BY received_at) AS next_at
        FROM (SELECT received_at FROM collectors_tick
              WHERE pipeline_id = p.market_id AND origin = 0 AND received_at > %(since)s
              ORDER BY received_at DESC LIMIT {NEWEST_DISTANCES + 1}) AS newest
    ) AS t
    WHERE t.next_at IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM collectors_gap AS g WHERE g.pipeline_id = p.market_id AND g.started_at = t.received_at
        AND g.cause IN ({OUTAGES}))
) AS d
WHERE %(slice)s IS NULL OR p.market_id %% {SLICES} = %(slice)s
"""
SET_EXPECTED = """
WITH learned AS (SELECT * FROM unnest(%s::int[], %s::float8[]) AS l (market_id, seconds)),
locked AS (
    SELECT p.market_id FROM collectors_pipeline AS p JOIN learned AS l ON l.market_id = p.market_id
    ORDER BY p.market_id FOR UPDATE OF p SKIP LOCKED
)
UPDATE collectors_pipeline AS p SET expected_seconds = l.seconds
FROM learned AS l JOIN locked ON locked.market_id = l.market_id WHERE p.market_id = l.market_id
"""


def learn(now: datetime, *, everything: bool = False) -> int:
    """Learns the cadence of this minute's part of the pipelines; returns how many changed. Twice finds the same."""
    part = None if everything else int(now.timestamp() // 60) % SLICES
    with connection.cursor() as cursor:
        cursor.execute(DISTANCES, {"since": now - LEARNING_SPAN, "slice": part})
        rows = cursor.fetchall()
    changed = [(number, seconds) for number, known, seconds in map(_learned, rows) if cadence.is_news(seconds, known)]
    return _write(SET_EXPECTED, changed)


def _learned(row: Sequence[Any]) -> tuple[int, float, float]:
    number, known, poll_seconds, distances = row
    learned = cadence.expected_seconds(
        distances or (), poll_seconds=poll_seconds, ceiling_seconds=settings.CADENCE_CEILING_SECONDS
    )
    return number, known, learned


FRESH = f"received_at > %(now)s - {GAP_INTERVALS} * {{table}}.expected_seconds * interval '1 second'"
# In no order, so that markets that rest by nature do not stand in the way of the others.
STILL = f"""
WITH still AS MATERIALIZED (
    SELECT p.market_id, m.exchange_id, m.kind, m.base, m.quote, p.changed_at
    FROM collectors_pipeline AS p {LIVE}
    WHERE NOT p.frozen AND NOT p.gap_open AND p.changed_at < %(changed_before)s AND p.{FRESH.format(table="p")}
      AND m.kind IN ('spot', 'swap') AND m.halted_at IS NULL
    ORDER BY random() LIMIT {MOST_CANDIDATES}
)
SELECT s.market_id, s.base, s.quote, s.changed_at, usual.seconds, others.moves, (s.exchange_id, s.kind) IN (
           SELECT exchange, kind FROM unnest(%(exchanges)s::text[], %(kinds)s::text[]) AS w (exchange, kind))
FROM still AS s
CROSS JOIN LATERAL (
    SELECT array_agg(move) AS moves FROM (
        SELECT DISTINCT ON (m.exchange_id) abs(p.last - before.last) / before.last AS move
        FROM exchanges_market AS m
        JOIN collectors_pipeline AS p ON p.market_id = m.id
        CROSS JOIN LATERAL (SELECT t.last FROM collectors_tick AS t
                            WHERE t.pipeline_id = m.id AND t.received_at <= s.changed_at AND t.last > 0
                            ORDER BY t.received_at DESC LIMIT 1) AS before
        WHERE m.base = s.base AND m.quote = s.quote AND m.exchange_id <> s.exchange_id AND m.active
          AND m.halted_at IS NULL AND m.kind IN ('spot', 'swap') AND p.last IS NOT NULL
          AND p.changed_at > %(changed_before)s AND p.{FRESH.format(table="p")}
        LIMIT {MOST_PEERS}
    ) AS peers
) AS others
CROSS JOIN LATERAL (
    SELECT extract(epoch FROM max(received_at) - min(received_at))::float8 / nullif(count(*) FILTER (WHERE differs), 0)
           AS seconds
    FROM (SELECT received_at, (last, bid, ask) IS DISTINCT FROM lag((last, bid, ask)) OVER (ORDER BY received_at)
                 AS differs
          FROM (SELECT * FROM collectors_tick
                WHERE pipeline_id = s.market_id AND received_at <= s.changed_at AND origin = 0
                ORDER BY received_at DESC LIMIT {TICKS_FOR_USUAL}) AS own) AS t
) AS usual
WHERE cardinality(others.moves) >= 1
"""
# Sources of which not one market has changed, though rows come.
WHOLE_SOURCES = f"""
SELECT m.exchange_id, m.kind
FROM collectors_pipeline AS p {LIVE}
WHERE NOT p.gap_open AND p.{FRESH.format(table="p")} AND m.kind IN ('spot', 'swap') AND m.halted_at IS NULL
GROUP BY 1, 2 HAVING count(*) >= {frozen.LEAST_MARKETS} AND max(p.changed_at) < %(changed_before)s
"""
FREEZE = """
WITH found AS (SELECT * FROM unnest(%s::int[], %s::timestamptz[]) AS f (market_id, changed_at)),
locked AS (
    SELECT p.market_id FROM collectors_pipeline AS p JOIN found AS f ON f.market_id = p.market_id
    WHERE p.changed_at = f.changed_at ORDER BY p.market_id FOR UPDATE OF p SKIP LOCKED
)
UPDATE collectors_pipeline AS p SET frozen = true FROM locked WHERE p.market_id = locked.market_id
"""
THAW = """
UPDATE collectors_pipeline AS p SET frozen = false
FROM (SELECT market_id FROM collectors_pipeline WHERE frozen AND (changed_at >= %s OR gap_open)
      ORDER BY market_id FOR UPDATE SKIP LOCKED) AS thawed
WHERE p.market_id = thawed.market_id
"""


def find_frozen(now: datetime) -> int:
    """Marks pipelines whose values stand still while their pair moves, unmarks others; returns how many are now."""
    changed_before = now - timedelta(seconds=settings.FROZEN_AFTER_SECONDS)
    with connection.cursor() as cursor:
        cursor.execute(THAW, [changed_before])
        cursor.execute(WHOLE_SOURCES, {"now": now, "changed_before": changed_before})
        sources = cursor.fetchall()
        whole = {"exchanges": [exchange for exchange, _ in sources], "kinds": [kind for _, kind in sources]}
        cursor.execute(STILL, {"now": now, "changed_before": changed_before, **whole})
        rows = cursor.fetchall()
    pegs = currencies.pegged_pairs(now) if rows else frozenset()
    return _write(FREEZE, [(row[0], row[3]) for row in rows if _is_frozen(row, pegs, now)])


def _is_frozen(row: Sequence[Any], pegs: frozenset[tuple[str, str]], now: datetime) -> bool:
    _, base, quote, changed_at, usual_seconds, moves, is_whole_source = row
    is_pegged = (base.upper(), quote.upper()) in pegs
    rests = (now - changed_at).total_seconds()
    still = frozen.Stillness(rests, usual_seconds, tuple(moves or ()), is_pegged, is_whole_source)
    return frozen.is_frozen(still, after_seconds=settings.FROZEN_AFTER_SECONDS, least_move=frozen.LEAST_MOVE_SHARE)


def _write(statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
    if not rows:
        return 0
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, tuple(map(list, zip(*sorted(rows), strict=True))))
        return int(cursor.rowcount)
