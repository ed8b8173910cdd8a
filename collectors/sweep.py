"""What changes only because time passes: silences become gaps, old gaps leave the 24 h count, workers go silent.

Safe to run anywhere and twice: every change is a conditional UPDATE, and pipelines that a poll is just writing are
passed over until the next sweep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

from django.db import connection, transaction

from collectors import freshness
from collectors.gaps import AWAITED, GAP_INTERVALS, LISTENED, MISSED, Evidence, cause_of, judge
from collectors.models import Cursor, Transition, Worker
from collectors.status import facts

GAP_WINDOW = timedelta(hours=24)
GAP_CURSOR = "gaps_24h"
SWEPT_CURSOR = "pulse"
MOST_SILENCES = 300  # a sweep judges; an outage is one for all of an exchange's markets
MOST_JUDGED = timedelta(days=14)  # of silence together: 120,000 runs at the usual interval, read in a fifth of a second

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

# Gaps by the silence that they are part of. The markets of one poll share theirs, so an outage is judged once; only
# those that others' rows covered are looked at one by one.
TO_JUDGE = """
SELECT m.exchange_id, g.started_at, COALESCE(g.ended_at, %(now)s), min(p.expected_seconds), array_agg(g.id),
       g.ended_at
FROM (SELECT * FROM collectors_gap WHERE NOT is_judged ORDER BY id LIMIT %(most_gaps)s) AS g
JOIN collectors_pipeline AS p ON p.market_id = g.pipeline_id
JOIN exchanges_market AS m ON m.id = g.pipeline_id
GROUP BY 1, 2, g.ended_at ORDER BY min(g.id) LIMIT %(most)s
"""

# Each run covers the time until the next one, but no more than itself, its pause or two intervals. The poll that ended
# the silence says nothing of it until it was answered.
COVERED = f"""
SELECT s.number, r.word, count(*), sum(extract(epoch FROM r.covered))
FROM unnest(%(numbers)s::int[], %(exchanges)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[],
            %(intervals)s::float8[]) AS s (number, exchange, started_at, ended_at, seconds)
CROSS JOIN LATERAL (
    SELECT CASE WHEN outcome = 'stored' AND finished_at >= s.ended_at - interval '1 millisecond'
                     AND correlation_id <> '{LISTENED}' THEN '{AWAITED}' ELSE outcome END AS word,
           least(
               greatest(retry_at, finished_at, started_at + {GAP_INTERVALS} * s.seconds * interval '1 second'),
               lead(started_at, 1, s.ended_at) OVER (ORDER BY started_at), s.ended_at) - started_at AS covered
    FROM collectors_run
    CROSS JOIN LATERAL (SELECT started_at + duration_ms * interval '1 millisecond') AS f (finished_at)
    WHERE exchange_id = s.exchange AND started_at > s.started_at AND started_at < s.ended_at - interval '1 millisecond'
) AS r GROUP BY 1, 2
"""

# What only some markets of a silence went through. Rejected rows are counted once for all of them.
DELISTED_AND_QUARANTINED = """
WITH bad AS (
    SELECT s.number, row ->> 'symbol' AS symbol, count(*) AS times, max(row ->> 'reason') AS reason
    FROM unnest(%(numbers)s::int[], %(exchanges)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
         AS s (number, exchange, started_at, ended_at)
    CROSS JOIN LATERAL (
        SELECT quarantine FROM collectors_run
        WHERE exchange_id = s.exchange AND started_at > s.started_at AND started_at < s.ended_at
          AND rows_quarantined > 0) AS r
    CROSS JOIN LATERAL jsonb_array_elements(r.quarantine) AS row
    GROUP BY 1, 2
)
SELECT g.id, m.delisted_at, bad.times, bad.reason
FROM unnest(%(gaps)s::bigint[], %(silences)s::int[]) AS wanted (id, number)
JOIN collectors_gap AS g ON g.id = wanted.id
JOIN exchanges_market AS m ON m.id = g.pipeline_id
LEFT JOIN bad ON bad.number = wanted.number AND bad.symbol = m.symbol
WHERE m.delisted_at IS NOT NULL AND NOT m.active OR bad.times > 0
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
    swept = Swept(gaps_opened=open_gaps(now), workers_turned=turn_workers(now), gaps_judged=judge_gaps(now))
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


def end_orphans() -> int:
    """Ends gaps whose pipeline no longer knows of them; there are none unless somebody wrote past the write path."""
    with connection.cursor() as cursor:
        cursor.execute(END_ORPHANS)
        return int(cursor.rowcount)


def judge_gaps(now: datetime) -> int:
    """Gives gaps their cause from all runs of the silence; again when they end. Twice finds the same."""
    with connection.cursor() as cursor:
        cursor.execute(TO_JUDGE, {"now": now, "most": MOST_SILENCES, "most_gaps": 200 * MOST_SILENCES})
        silences = _affordable([Silence(*row) for row in cursor.fetchall()])
        if not silences:
            return 0
        spans = {
            "numbers": list(range(len(silences))),
            "exchanges": [silence.exchange_id for silence in silences],
            "starts": [silence.started_at for silence in silences],
            "ends": [silence.seen_until for silence in silences],
        }
        covered = _covered(cursor, spans, [silence.expected_seconds for silence in silences])
        particular = _particular(cursor, spans, silences)
    return _record(
        [
            (gap, *judge(_evidence(silence, covered.get(number, []), particular.get(gap))), silence.ended_at)
            for number, silence in enumerate(silences)
            for gap in silence.gaps
        ]
    )


class Silence(NamedTuple):
    """What TO_JUDGE gives: the time in which some markets of an exchange sent nothing, and their gaps."""

    exchange_id: str
    started_at: datetime
    seen_until: datetime
    expected_seconds: float
    gaps: list[int]
    ended_at: datetime | None

    @property
    def length(self) -> timedelta:
        return self.seen_until - self.started_at


def _affordable(silences: Sequence[Silence]) -> list[Silence]:
    """The first of them whose runs can be read in one sweep, at least one; the others are the next sweep's."""
    spent = accumulate(silence.length for silence in silences)
    return [silence for number, (silence, total) in enumerate(zip(silences, spent, strict=True))
            if number == 0 or total <= MOST_JUDGED]  # fmt: skip


def _covered(
    cursor: Any, spans: Mapping[str, Any], intervals: Sequence[float]
) -> dict[int, list[tuple[str, int, float]]]:
    cursor.execute(COVERED, {**spans, "intervals": list(intervals)})
    found: dict[int, list[tuple[str, int, float]]] = {}
    for number, outcome, count, seconds in cursor.fetchall():
        found.setdefault(number, []).append((outcome, count, float(seconds)))
    return found


def _particular(cursor: Any, spans: Mapping[str, Any], silences: Sequence[Silence]) -> dict[int, Sequence[Any]]:
    of_gaps = [(gap, number) for number, silence in enumerate(silences) for gap in silence.gaps]
    gaps, numbers = map(list, zip(*of_gaps, strict=True))
    cursor.execute(DELISTED_AND_QUARANTINED, {**spans, "gaps": gaps, "silences": numbers})
    return {gap: facts for gap, *facts in cursor.fetchall()}


def _evidence(
    silence: Silence, covered: Sequence[tuple[str, int, float]], particular: Sequence[Any] | None
) -> Evidence:
    delisted_at, times, reason = particular or (None, 0, "")
    was_delisted = delisted_at is not None and silence.started_at <= delisted_at <= silence.seen_until
    return Evidence(
        length_seconds=silence.length.total_seconds(),
        slack_seconds=GAP_INTERVALS * silence.expected_seconds,
        seconds={outcome: seconds for outcome, _, seconds in covered},
        counts={outcome: count for outcome, count, _ in covered},
        delisted_at=delisted_at if was_delisted else None,
        quarantined_count=times or 0,
        quarantine_reason=reason or "",
    )


def _record(verdicts: Sequence[tuple[int, str, str, datetime | None]]) -> int:
    """In the order of keys, and past gaps that a poll has ended meanwhile: they are judged by the next sweep."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(RECORD, tuple(map(list, zip(*sorted(verdicts), strict=True))))
        return int(cursor.rowcount)


RECORD = """
WITH verdict AS (SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::timestamptz[])
                 AS v (id, cause, evidence, ended_at)),
locked AS (
    SELECT g.id FROM collectors_gap AS g JOIN verdict AS v ON v.id = g.id ORDER BY g.id FOR UPDATE OF g SKIP LOCKED
)
UPDATE collectors_gap AS g SET cause = v.cause, evidence = v.evidence, is_judged = true
FROM verdict AS v JOIN locked ON locked.id = v.id
WHERE g.id = v.id AND g.ended_at IS NOT DISTINCT FROM v.ended_at
"""


def turn_workers(now: datetime) -> int:
    """Records status changes that no cycle records: silence, an operator's verb, waiting to start."""
    turned = 0
    for worker in Worker.objects.select_related("exchange"):
        status, reason = freshness.worker_status(facts(worker), now)
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
