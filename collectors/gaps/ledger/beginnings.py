"""Begins a gap: `open_silent`, by a sweep, while the silence lasts; or just before an operator's stop."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from collectors.gaps.ledger.statements import NO_CYCLE, execute
from collectors.models import GapCause
from collectors.rules.gap_causes import cause_of
from collectors.rules.gaps import GAP_INTERVALS, MISSED
from exchanges.models import MarketState

NOT_TRADED = "the exchange lists this market and does not trade it"
NEVER_SEEN = "listed, never came"


# The first condition alone is tested on every row; it leaves few. Rows locked by a poll are about to become fresh.
# The locks on the others keep out operators' verbs, which hold exchange and worker, and make PostgreSQL look again at
# what has changed since this statement's snapshot: else a gap would be opened behind a stop's back.
OPEN_SILENT = f"""
WITH silent AS MATERIALIZED (
    SELECT p.market_id, greatest(p.received_at, p.resumed_at, w.resumed_at) AS silent_since, p.expected_seconds,
           w.heartbeat_at, w.last_outcome, p.received_at IS NULL AS never_came,
           m.state = '{MarketState.HALTED}' AS is_halted
    FROM collectors_pipeline AS p
    JOIN exchanges_market AS m ON m.id = p.market_id
    JOIN exchanges_exchange AS e ON e.id = m.exchange_id
    JOIN collectors_worker AS w ON w.exchange_id = e.id
    WHERE {{which}} AND NOT p.gap_open
      AND (p.received_at < %(now)s - {GAP_INTERVALS} * p.expected_seconds * interval '1 second'
           -- listed, and others were stored by a second poll since
           OR p.received_at IS NULL
              AND w.stored_at > greatest(p.resumed_at, w.resumed_at) + p.expected_seconds * interval '1 second')
      AND greatest(p.resumed_at, w.resumed_at)
          < %(now)s - {GAP_INTERVALS} * p.expected_seconds * interval '1 second'
    ORDER BY p.market_id
    FOR UPDATE OF p SKIP LOCKED FOR SHARE OF m, e, w SKIP LOCKED
), marked AS (
    UPDATE collectors_pipeline AS p
    SET gap_open = true, gaps_24h = p.gaps_24h + (NOT s.is_halted AND NOT s.never_came)::int
    FROM silent AS s WHERE p.market_id = s.market_id
)
INSERT INTO collectors_gap (pipeline_id, started_at, missed_count, cause, evidence, detected_at)
SELECT market_id, silent_since, {MISSED.format(start="silent_since", end="%(now)s", expected="expected_seconds")},
       CASE WHEN is_halted THEN '{GapCause.HALTED}' WHEN never_came THEN '{GapCause.NEVER_CAME}'
            WHEN is_ours THEN '{GapCause.OUR_OUTAGE}' ELSE COALESCE(c.cause, %(other_cause)s) END,
       CASE WHEN is_halted THEN '{NOT_TRADED}' WHEN never_came THEN '{NEVER_SEEN}' WHEN is_ours THEN '{NO_CYCLE}'
            ELSE COALESCE(c.evidence, %(other_evidence)s) END,
       %(now)s
FROM (SELECT *, COALESCE(heartbeat_at < silent_since + expected_seconds * interval '1 second', true) AS is_ours
      FROM silent) AS s
LEFT JOIN (SELECT * FROM unnest(%(outcomes)s::text[], %(causes)s::text[], %(evidences)s::text[])
           AS c (outcome, cause, evidence)) AS c ON c.outcome = s.last_outcome
ON CONFLICT DO NOTHING
"""
COLLECTED = "m.is_collected AND e.is_collected"
OF_EXCHANGE = "e.id = %(exchange)s AND m.is_collected"
OF_MARKETS = "m.id = ANY(%(markets)s) AND m.active AND e.is_collected"

OUTCOMES_WITH_CAUSE = ("throttled", "held_back", "unreachable", "bad_reply", "failed", "denied", "not_connected")


def open_silent(now: datetime) -> int:
    """Opens a gap for every collected pipeline that has been silent for more than GAP_INTERVALS expected intervals.

    Returns how many were opened. Twice is harmless.
    """
    return _open(COLLECTED, now)


def open_silent_of_exchange(exchange_id: str, now: datetime) -> int:
    """Opens gaps before an exchange is stopped on purpose: a silence from before the stop was not planned."""
    return _open(OF_EXCHANGE, now, exchange=exchange_id)


def open_silent_of_markets(market_ids: Sequence[int], now: datetime) -> int:
    """Opens gaps before listed markets are taken out on purpose; they are marked as out already."""
    return _open(OF_MARKETS, now, markets=list(market_ids)) if market_ids else 0


def _open(which: str, now: datetime, **chosen: Any) -> int:
    causes = [cause_of(outcome) for outcome in OUTCOMES_WITH_CAUSE]
    other_cause, other_evidence = cause_of("stored")
    return execute(
        OPEN_SILENT.format(which=which),
        {
            **chosen,
            "now": now,
            "outcomes": list(OUTCOMES_WITH_CAUSE),
            "causes": [cause for cause, _ in causes],
            "evidences": [evidence for _, evidence in causes],
            "other_cause": other_cause,
            "other_evidence": other_evidence,
        },
    )
