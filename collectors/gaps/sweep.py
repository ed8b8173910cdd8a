"""What changes only because time passes: silences become gaps, old gaps leave the 24 h count, workers go silent.

Safe to run anywhere and twice: every change is a conditional UPDATE, and pipelines that a poll is just writing are
passed over until the next sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from collectors.gaps import causes as judging
from collectors.models import Transition, Watermark, Worker
from collectors.rules import worker_status
from collectors.rules.gaps import GAP_INTERVALS, MISSED, cause_of
from collectors.status.workers import facts

GAP_WINDOW = timedelta(hours=24)
GAP_CURSOR = "gaps_24h"
SWEPT_CURSOR = "pulse"

# The first condition alone is tested on every row; it leaves few. Rows locked by a poll are about to become fresh.
# The locks on the others keep out operators' verbs, which hold exchange and worker, and make PostgreSQL look again at
# what has changed since this statement's snapshot: else a gap would be opened behind a stop's back.
OPEN_GAPS = f"""
WITH silent AS MATERIALIZED (
    SELECT p.market_id, greatest(p.received_at, p.resumed_at, w.resumed_at) AS silent_since, p.expected_seconds,
           w.heartbeat_at, w.last_outcome
    FROM collectors_pipeline AS p
    JOIN exchanges_market AS m ON m.id = p.market_id AND m.active
    JOIN exchanges_exchange AS e ON e.id = m.exchange_id
    JOIN collectors_worker AS w ON w.exchange_id = e.id
    WHERE {{which}} AND NOT p.gap_open
      AND p.received_at < %(now)s - {GAP_INTERVALS} * p.expected_seconds * interval '1 second'
      AND greatest(p.resumed_at, w.resumed_at)
          < %(now)s - {GAP_INTERVALS} * p.expected_seconds * interval '1 second'
    ORDER BY p.market_id
    FOR UPDATE OF p SKIP LOCKED FOR SHARE OF m, e, w SKIP LOCKED
), marked AS (
    UPDATE collectors_pipeline AS p SET gap_open = true, gaps_24h = p.gaps_24h + 1
    FROM silent AS s WHERE p.market_id = s.market_id
)
INSERT INTO collectors_gap (pipeline_id, started_at, missed_count, cause, evidence, detected_at)
SELECT market_id, silent_since, {MISSED.format(start="silent_since", end="%(now)s", expected="expected_seconds")},
       CASE WHEN is_ours THEN 'our outage' ELSE COALESCE(c.cause, %(other_cause)s) END,
       CASE WHEN is_ours THEN 'no cycle was finished during the silence'
            ELSE COALESCE(c.evidence, %(other_evidence)s) END,
       %(now)s
FROM (SELECT *, COALESCE(heartbeat_at < silent_since + expected_seconds * interval '1 second', true) AS is_ours
      FROM silent) AS s
LEFT JOIN (SELECT * FROM unnest(%(outcomes)s::text[], %(causes)s::text[], %(evidences)s::text[])
           AS c (outcome, cause, evidence)) AS c ON c.outcome = s.last_outcome
ON CONFLICT DO NOTHING
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

# A gap that lost its pipeline's mark would stay open for ever; it ended at the first row after its beginning.
END_ORPHANS = f"""
UPDATE collectors_gap AS g
SET ended_at = o.ended_at, is_judged = false,
    missed_count = {MISSED.format(start="g.started_at", end="o.ended_at", expected="o.expected_seconds")}
FROM (
    SELECT lost.id, p.expected_seconds,
           coalesce((SELECT min(t.received_at) FROM collectors_tick AS t
                     WHERE t.pipeline_id = lost.pipeline_id AND t.origin = 0 AND t.received_at > lost.started_at),
                    p.received_at) AS ended_at
    FROM collectors_gap AS lost JOIN collectors_pipeline AS p ON p.market_id = lost.pipeline_id
    WHERE lost.ended_at IS NULL AND NOT p.gap_open AND p.received_at > lost.started_at
) AS o WHERE g.id = o.id AND g.ended_at IS NULL
"""

# A row that is written every second would be the busiest of all; a clock that was set back moves the mark back, too.
NOTE_SWEEP = """
INSERT INTO collectors_cursor AS c (name, reached_at) VALUES (%(name)s, %(now)s)
ON CONFLICT (name) DO UPDATE SET reached_at = excluded.reached_at
WHERE c.reached_at NOT BETWEEN excluded.reached_at - interval '5 seconds' AND excluded.reached_at
"""

COLLECTED = "e.enabled AND NOT e.blacklisted AND NOT m.blacklisted AND NOT m.excluded"
OF_EXCHANGE = "e.id = %(exchange)s AND NOT m.blacklisted AND NOT m.excluded"
OF_MARKETS = "m.id = ANY(%(markets)s) AND e.enabled AND NOT e.blacklisted"

OUTCOMES_WITH_CAUSE = ("throttled", "held_back", "unreachable", "bad_reply", "failed", "denied")


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep found."""

    gaps_opened: int
    workers_turned: int
    gaps_judged: int = 0


def run(now: datetime) -> Swept:
    """One sweep. Raises django.db.DatabaseError when the database is away; the next sweep makes up for it."""
    opened, turned = open_gaps(now), turn_workers(now)
    swept = Swept(opened, turned, gaps_judged=judging.judge_new(now) + judging.judge_again(now))
    note_sweep(now)
    return swept


def note_sweep(now: datetime) -> None:
    """That silences were looked for. Nothing but a sweep may say so: else nobody would miss a pulse that is dead."""
    with connection.cursor() as cursor:
        cursor.execute(NOTE_SWEEP, {"name": SWEPT_CURSOR, "now": now})


def open_gaps(now: datetime) -> int:
    """Opens a gap for every live pipeline that has been silent for more than GAP_INTERVALS expected intervals."""
    return _open(COLLECTED, now)


def open_gaps_of_exchange(exchange_id: str, now: datetime) -> int:
    """The same before an exchange is stopped on purpose: a silence from before the stop was not planned."""
    return _open(OF_EXCHANGE, now, exchange=exchange_id)


def open_gaps_of_markets(market_ids: Sequence[int], now: datetime) -> int:
    """The same before markets are taken out on purpose."""
    return _open(OF_MARKETS, now, markets=list(market_ids)) if market_ids else 0


def _open(which: str, now: datetime, **chosen: Any) -> int:
    causes = [cause_of(outcome) for outcome in OUTCOMES_WITH_CAUSE]
    other_cause, other_evidence = cause_of("stored")
    with connection.cursor() as cursor:
        cursor.execute(
            OPEN_GAPS.format(which=which),
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
        return int(cursor.rowcount)


def forget_old_gaps(now: datetime) -> int:
    """Takes gaps that ended more than 24 h ago out of the pipelines' counters; each once, by a stored cursor."""
    until = now - GAP_WINDOW
    with transaction.atomic():
        cursor_row, _ = Watermark.objects.select_for_update().get_or_create(
            name=GAP_CURSOR, defaults={"reached_at": until}
        )
        if until <= cursor_row.reached_at:
            return 0
        with connection.cursor() as cursor:
            cursor.execute(FORGET_OLD_GAPS, {"reached": cursor_row.reached_at, "until": until})
            count = int(cursor.rowcount)
        Watermark.objects.filter(pk=GAP_CURSOR).update(reached_at=until)
    return count


def end_orphans() -> int:
    """Ends gaps whose pipeline no longer knows of them; there are none unless somebody wrote past the write path."""
    with connection.cursor() as cursor:
        cursor.execute(END_ORPHANS)
        return int(cursor.rowcount)


def turn_workers(now: datetime) -> int:
    """Records status changes that no cycle records: silence, an operator's verb, waiting to start."""
    turned = 0
    for worker in Worker.objects.select_related("exchange"):
        status, reason = worker_status.worker_status(facts(worker), now)
        if status != worker.status:
            turned += _turn(worker, status, reason, now)
    return turned


def _turn(worker: Worker, status: str, reason: str, now: datetime) -> int:
    """One winner: whoever changes the row from the old status writes the transition."""
    with transaction.atomic():
        seen = {"status": worker.status, "heartbeat_at": worker.heartbeat_at, "generation": worker.generation}
        won = Worker.objects.filter(pk=worker.pk, **seen).update(status=status, status_since=now)
        if won:
            Transition.objects.create(
                exchange_id=worker.pk, happened_at=now, from_status=worker.status, to_status=status, reason=reason
            )
    return won
