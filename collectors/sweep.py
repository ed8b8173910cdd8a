"""What changes only because time passes: silences become gaps, old gaps leave the 24 h count, workers go silent.

Safe to run anywhere and twice: every change is a conditional UPDATE, and pipelines that a poll is just writing are
passed over until the next sweep.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction

from collectors import freshness
from collectors.gaps import GAP_INTERVALS, cause_of
from collectors.models import Cursor, Transition, Worker
from collectors.status import facts

GAP_WINDOW = timedelta(hours=24)
GAP_CURSOR = "gaps_24h"

# The first condition alone is tested on every row; it leaves few. Rows locked by a poll are about to become fresh.
OPEN_GAPS = f"""
WITH silent AS MATERIALIZED (
    SELECT p.market_id, greatest(p.received_at, p.resumed_at, w.resumed_at) AS silent_since, p.expected_seconds,
           w.heartbeat_at, w.last_outcome
    FROM collectors_pipeline AS p
    JOIN exchanges_market AS m ON m.id = p.market_id AND m.active AND NOT m.blacklisted AND NOT m.excluded
    JOIN exchanges_exchange AS e ON e.id = m.exchange_id AND e.enabled AND NOT e.blacklisted
    JOIN collectors_worker AS w ON w.exchange_id = e.id
    WHERE NOT p.gap_open AND p.received_at < %(now)s - {GAP_INTERVALS} * p.expected_seconds * interval '1 second'
      AND greatest(p.resumed_at, w.resumed_at)
          < %(now)s - {GAP_INTERVALS} * p.expected_seconds * interval '1 second'
    ORDER BY p.market_id
    FOR UPDATE OF p SKIP LOCKED
), marked AS (
    UPDATE collectors_pipeline AS p SET gap_open = true, gaps_24h = p.gaps_24h + 1
    FROM silent AS s WHERE p.market_id = s.market_id
)
INSERT INTO collectors_gap (pipeline_id, started_at, missed_count, cause, evidence, detected_at)
SELECT market_id, silent_since, 1,
       CASE WHEN is_ours THEN 'our outage' ELSE COALESCE(c.cause, %(other_cause)s) END,
       CASE WHEN is_ours THEN 'no cycle was finished during the silence'
            ELSE COALESCE(c.evidence, %(other_evidence)s) END,
       %(now)s
FROM (SELECT *, COALESCE(heartbeat_at < silent_since + expected_seconds * interval '1 second', true) AS is_ours
      FROM silent) AS s
LEFT JOIN (SELECT * FROM unnest(%(outcomes)s::text[], %(causes)s::text[], %(evidences)s::text[])
           AS c (outcome, cause, evidence)) AS c ON c.outcome = s.last_outcome
ON CONFLICT (pipeline_id, started_at) DO NOTHING
"""

FORGET_OLD_GAPS = """
WITH gone AS (
    SELECT pipeline_id, count(*) AS gaps FROM collectors_gap
    WHERE ended_at > %(reached)s AND ended_at <= %(until)s GROUP BY pipeline_id
), locked AS (
    SELECT p.market_id FROM collectors_pipeline AS p JOIN gone AS g ON g.pipeline_id = p.market_id
    ORDER BY p.market_id FOR UPDATE OF p
)
UPDATE collectors_pipeline AS p SET gaps_24h = greatest(0, p.gaps_24h - gone.gaps)
FROM gone JOIN locked ON locked.market_id = gone.pipeline_id WHERE p.market_id = gone.pipeline_id
"""

OUTCOMES_WITH_CAUSE = ("throttled", "unreachable", "bad_reply", "failed", "denied")


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep found."""

    gaps_opened: int
    workers_turned: int


def run(now: datetime) -> Swept:
    """One sweep. Raises django.db.DatabaseError when the database is away; the next sweep makes up for it."""
    return Swept(gaps_opened=open_gaps(now), workers_turned=turn_workers(now))


def open_gaps(now: datetime) -> int:
    """Opens a gap for every live pipeline that has been silent for more than GAP_INTERVALS expected intervals."""
    causes = [cause_of(outcome) for outcome in OUTCOMES_WITH_CAUSE]
    other_cause, other_evidence = cause_of("stored")
    with connection.cursor() as cursor:
        cursor.execute(
            OPEN_GAPS,
            {
                "now": now,
                "outcomes": list(OUTCOMES_WITH_CAUSE),
                "causes": [cause for cause, _ in causes],
                "evidences": [evidence for _, evidence in causes],
                "other_cause": other_cause,
                "other_evidence": other_evidence,
            },
        )
        return int(cursor.rowcount)


def forget_old_gaps(now: datetime) -> int:
    """Takes gaps that ended more than 24 h ago out of the pipelines' counters; each once, by a stored cursor."""
    until = now - GAP_WINDOW
    with transaction.atomic():
        cursor_row, _ = Cursor.objects.select_for_update().get_or_create(
            name=GAP_CURSOR, defaults={"reached_at": until}
        )
        if until <= cursor_row.reached_at:
            return 0
        with connection.cursor() as cursor:
            cursor.execute(FORGET_OLD_GAPS, {"reached": cursor_row.reached_at, "until": until})
            count = int(cursor.rowcount)
        Cursor.objects.filter(pk=GAP_CURSOR).update(reached_at=until)
    return count


def turn_workers(now: datetime) -> int:
    """Records status changes that no cycle records: silence, an operator's verb, waiting to start."""
    turned = 0
    for worker in Worker.objects.select_related("exchange"):
        status, reason = freshness.worker_status(facts(worker, now), now)
        if status != worker.status:
            turned += _turn(worker, status, reason, now)
    return turned


def _turn(worker: Worker, status: str, reason: str, now: datetime) -> int:
    """One winner: whoever changes the row from the old status writes the transition."""
    with transaction.atomic():
        won = Worker.objects.filter(pk=worker.pk, status=worker.status, heartbeat_at=worker.heartbeat_at).update(
            status=status, status_since=now
        )
        if won:
            Transition.objects.create(
                exchange_id=worker.pk, happened_at=now, from_status=worker.status, to_status=status, reason=reason
            )
    return won
