"""Counts the rows that incidents cost: sums over their gaps, never estimates.

A gap belongs to one incident, the nearest to it; its causes count it with their children's. Gaps expire before
incidents do: then the numbers stay as they were last counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from collectors.rules.gap_causes import DELISTED, HALTED, MARKET_QUIET, NEVER_CAME
from collectors.rules.gaps import MISSED_BY_NOW
from incidents.rules.words import IncidentKind

COUNT_EVERY = timedelta(seconds=10)
SLACK = timedelta(minutes=5)  # a gap begins at the last row, which may have come so long before the first sign
RECOUNTED_FOR = timedelta(days=2)  # after its end: so long rows are filled in

# The gaps that touch an incident that lasts, of its exchanges, each to the nearest incident.
LINK = f"""
WITH lasting AS (
    SELECT id, kind, since, coalesce(quiet_since, %(now)s) AS until, unnest(exchanges) AS exchange
    FROM incidents_incident WHERE ended_at IS NULL AND NOT is_drill
), recent AS (
    SELECT id, pipeline_id, started_at, ended_at, cause FROM collectors_gap WHERE ended_at IS NULL
    UNION ALL
    SELECT id, pipeline_id, started_at, ended_at, cause FROM collectors_gap
    WHERE ended_at >= (SELECT min(since) FROM lasting)
)
INSERT INTO incidents_incidentgap (incident_id, gap_id)
SELECT DISTINCT ON (g.id) i.id, g.id
FROM recent AS g
JOIN exchanges_market AS m ON m.id = g.pipeline_id
JOIN lasting AS i ON i.exchange = m.exchange_id
     AND (g.ended_at IS NULL OR g.ended_at >= i.since) AND g.started_at BETWEEN i.since - %(slack)s AND i.until
WHERE g.cause <> ALL(%(quiet)s) AND (g.cause <> '{MARKET_QUIET}' OR i.kind = 'markets')
      AND NOT EXISTS (SELECT FROM incidents_incidentgap AS known WHERE known.gap_id = g.id)
ORDER BY g.id, array_position(%(order)s::text[], i.kind::text), i.id
ON CONFLICT (gap_id) DO NOTHING
"""
COUNT = f"""
WITH RECURSIVE tree (root, id) AS (
    SELECT id, id FROM incidents_incident WHERE id = ANY(%(ids)s)
    UNION SELECT tree.root, child.id FROM tree JOIN incidents_incident AS child ON child.parent_id = tree.id
), counted AS (
    SELECT tree.root, sum({MISSED_BY_NOW.format(gap="g", expected="p.expected_seconds")}) AS missing,
           sum(g.filled_count) AS recovered, count(*) AS linked, count(g.id) AS there
    FROM tree
    JOIN incidents_incidentgap AS of ON of.incident_id = tree.id
    LEFT JOIN collectors_gap AS g ON g.id = of.gap_id
    LEFT JOIN collectors_pipeline AS p ON p.market_id = g.pipeline_id
    GROUP BY 1
)
UPDATE incidents_incident AS i SET counted_at = %(now)s,
    rows_missing = CASE WHEN c.linked = c.there THEN c.missing ELSE i.rows_missing END,
    rows_recovered = CASE WHEN c.linked = c.there THEN c.recovered ELSE i.rows_recovered END
FROM unnest(%(ids)s::bigint[]) AS wanted (id) LEFT JOIN counted AS c ON c.root = wanted.id
WHERE i.id = wanted.id
"""
NEAREST = [IncidentKind.MARKETS, IncidentKind.EXCHANGE, IncidentKind.LINE, IncidentKind.SYSTEM]
QUIET = (NEVER_CAME, DELISTED, HALTED)
DUE = """
SELECT id FROM incidents_incident
WHERE (ended_at IS NULL AND (counted_at IS NULL OR counted_at <= %(lasting)s))
   OR (ended_at > %(lately)s AND counted_at <= %(minute)s)
"""


def link(now: datetime) -> int:
    """Gives new gaps to the incidents that last; returns how many."""
    with connection.cursor() as cursor:
        values: dict[str, Any] = {"now": now, "slack": SLACK, "quiet": list(QUIET), "order": list(map(str, NEAREST))}
        cursor.execute(LINK, values)
        return int(cursor.rowcount)


def count(now: datetime) -> None:
    """Counts those that are due: what lasts every ten seconds, what is over once a minute while it is filled in."""
    with connection.cursor() as cursor:
        cursor.execute(
            DUE,
            {"lasting": now - COUNT_EVERY, "lately": now - RECOUNTED_FOR, "minute": now - timedelta(minutes=1)},
        )
        due = [number for (number,) in cursor.fetchall()]
    if due:
        link(now)
        count_of(due, now)


def count_of(incidents: Sequence[int], now: datetime) -> None:
    """Counts the rows of these incidents and of what they explain."""
    with connection.cursor() as cursor:
        cursor.execute(COUNT, {"ids": list(incidents), "now": now})
