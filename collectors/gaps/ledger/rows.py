"""Ends gaps by the rows that come, writes down those that no sweep has seen, and corrects what a row proves wrong."""

from __future__ import annotations

from typing import Any

from collectors.gaps.ledger.statements import NO_CYCLE
from collectors.models import GapCause
from collectors.rules.gap_causes import UNCOUNTED_SQL
from collectors.rules.gaps import GAP_INTERVALS, MISSED

# `polling/store.py` composes these into its one statement: `s` are the rows of `stage_quotes` with the worker's
# `resumed_at`, `p` the pipelines that they are merged into, `fenced` has the worker's `heartbeat_before`.
SILENCE = "s.received_at - greatest(p.received_at, p.resumed_at, s.resumed_at)"
LIMIT = f"{GAP_INTERVALS} * p.expected_seconds * interval '1 second'"
# In MERGE's SET: what a row makes of its pipeline's mark and count.
MARKED = f"""
        gaps_24h = p.gaps_24h + CASE
            WHEN {SILENCE} > {LIMIT}
            THEN (p.received_at IS NOT NULL AND NOT p.gap_open)::int
            ELSE -((p.gap_open AND p.received_at IS NOT NULL)::int) END,
        gap_open = false
"""
# In its RETURNING: the silence that the row has ended.
ENDED_SILENCE = f"""
              p.market_id, s.received_at AS ended_at,
              greatest(old.received_at, old.resumed_at, s.resumed_at) AS silent_since,
              old.received_at IS NULL AS is_first, old.gap_open AS was_open, p.expected_seconds,
              s.received_at - greatest(old.received_at, old.resumed_at, s.resumed_at) > {LIMIT} AS is_gap
"""
# A CTE after `merged`: ends the gap that a sweep has opened, or writes down one that none has seen.
CLOSED = f"""closed AS (
    INSERT INTO collectors_gap (pipeline_id, started_at, ended_at, missed_count, cause, evidence, detected_at)
    SELECT market_id, silent_since, ended_at,
           {MISSED.format(start="silent_since", end="ended_at", expected="expected_seconds")},
           CASE WHEN is_ours THEN '{GapCause.OUR_OUTAGE}' ELSE %(cause)s END,
           CASE WHEN is_ours THEN '{NO_CYCLE}' ELSE %(evidence)s END,
           %(finished_at)s
    FROM (SELECT m.*, COALESCE(f.heartbeat_before < m.silent_since + m.expected_seconds * interval '1 second', true)
                 AS is_ours
          FROM merged AS m CROSS JOIN fenced AS f) AS ended
    WHERE is_gap AND (was_open OR NOT is_first)
    ON CONFLICT (pipeline_id, started_at) DO UPDATE
        SET ended_at = excluded.ended_at, missed_count = excluded.missed_count, is_judged = false
        WHERE collectors_gap.ended_at IS NULL
)"""
# Whether `correct` must be called after the statement, in its transaction.
MUST_CORRECT = "EXISTS (SELECT FROM merged WHERE silent_since > ended_at OR was_open AND NOT is_gap)"

# Sweep saw the silence a moment before the row that ended it in time was committed. A statement of its own: the gap may
# have come after the snapshot of the one above, which found the pipeline's mark only because it waited for the row.
WITHDRAW = f"""
WITH withdrawn AS (
    DELETE FROM collectors_gap AS g USING stage_quotes AS s, collectors_pipeline AS p
    WHERE g.pipeline_id = s.pipeline_id AND p.market_id = s.pipeline_id AND NOT p.gap_open AND g.ended_at IS NULL
    RETURNING g.pipeline_id, g.cause
)
UPDATE collectors_pipeline AS p SET gaps_24h = p.gaps_24h + 1  -- the row has taken off what was not in it
FROM withdrawn AS w WHERE p.market_id = w.pipeline_id AND w.cause = '{GapCause.HALTED}'
"""
# A market was taken out while its row was under way: the gap that the verb has ended at its own moment ended with this
# row, or was none.
END_SOONER = f"""
WITH late AS (
    SELECT g.id, g.pipeline_id, g.started_at, s.received_at, p.expected_seconds,
           s.received_at - g.started_at <= {LIMIT} AS is_none
    FROM stage_quotes AS s
    JOIN collectors_pipeline AS p ON p.market_id = s.pipeline_id AND p.resumed_at > s.received_at
    JOIN collectors_gap AS g ON g.pipeline_id = s.pipeline_id
         AND g.started_at < s.received_at AND g.ended_at > s.received_at
), withdrawn AS (
    DELETE FROM collectors_gap AS g USING late WHERE g.id = late.id AND late.is_none RETURNING g.pipeline_id, g.cause
), counted AS (
    UPDATE collectors_pipeline AS p SET gaps_24h = greatest(0, p.gaps_24h - 1)
    FROM withdrawn WHERE p.market_id = withdrawn.pipeline_id AND withdrawn.cause NOT IN ({UNCOUNTED_SQL})
)
UPDATE collectors_gap AS g
SET ended_at = late.received_at, is_judged = false,
    missed_count = {MISSED.format(start="late.started_at", end="late.received_at", expected="late.expected_seconds")}
FROM late WHERE g.id = late.id AND NOT late.is_none
"""


def correct(cursor: Any) -> None:
    """Withdraws or shortens the gaps that the rows in `stage_quotes` prove wrong, in the caller's transaction."""
    cursor.execute(WITHDRAW)
    cursor.execute(END_SOONER)
