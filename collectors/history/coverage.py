"""Counts how much was stored of what should have been: minutes of pipelines, by exchange and quarter of an hour.

It counts once a minute with the rollups, in their transaction. It says what was known live: rows that are fetched
later do not raise it. Planned stops and halts expect nothing; our own downtime does.
"""

from __future__ import annotations

# Continues the rollup's statement: `minute` are the pipelines that have rows in it, with `live`.
#
# A pipeline that comes at most every half minute has a row in every minute, or a gap. Others hold a minute as long as
# their newest row is no older than two of their intervals at its end. A row that is there was expected, whatever its
# exchange's state is by now: so minutes in which something was stopped or resumed count what they hold, no more. The
# first row is not looked for unless it can lie within the minute or behind it. `LIMIT 1` where EXISTS would do keeps
# the planner from reading a whole table for its answer.
COUNT = """
, market AS (
    SELECT m.id, m.exchange_id,
           m.is_collected AND m.halted_at IS NULL
           AND (e.is_collected AND w.resumed_at <= %(start)s
                OR w.status = 'stopped' AND w.status_since >= %(end)s AND w.stored_at IS NOT NULL) AS is_wanted
    FROM exchanges_market AS m
    JOIN exchanges_exchange AS e ON e.id = m.exchange_id
    JOIN collectors_worker AS w ON w.exchange_id = e.id
), looked AS (
    SELECT m.exchange_id, p.market_id, p.received_at, p.expected_seconds, coalesce(s.live > 0, false) AS has_row,
           m.is_wanted AND coalesce(p.resumed_at <= %(start)s, true) AS is_wanted
    FROM collectors_pipeline AS p
    JOIN market AS m ON m.id = p.market_id
    LEFT JOIN minute AS s ON s.pipeline_id = p.market_id
    WHERE p.received_at IS NOT NULL
), counted AS (
    SELECT exchange_id,
           CASE WHEN has_row THEN true
                WHEN NOT is_wanted THEN false
                ELSE received_at < %(start)s OR (
                    SELECT true FROM collectors_rollup AS r
                    WHERE r.pipeline_id = l.market_id AND r.minute_at < %(start)s LIMIT 1) IS NOT NULL
           END AS is_expected,
           CASE WHEN has_row THEN true
                WHEN NOT is_wanted OR expected_seconds <= 30 THEN false
                ELSE (
                    SELECT true FROM collectors_tick AS t
                    WHERE t.pipeline_id = l.market_id AND t.origin = 0 AND t.received_at < %(end)s
                    AND t.received_at >= %(end)s - 2 * l.expected_seconds * interval '1 second' LIMIT 1) IS NOT NULL
           END AS is_held
    FROM looked AS l
), covered AS (
    INSERT INTO collectors_coverage AS c (exchange_id, quarter_at, expected_minutes, stored_minutes)
    SELECT exchange_id, date_bin('15 minutes', %(start)s, '2000-01-01 00:00:00+00'), count(*),
           count(*) FILTER (WHERE is_held)
    FROM counted WHERE is_expected GROUP BY exchange_id
    ON CONFLICT (exchange_id, quarter_at) DO UPDATE SET
        expected_minutes = c.expected_minutes + excluded.expected_minutes,
        stored_minutes = c.stored_minutes + excluded.stored_minutes
)
"""
