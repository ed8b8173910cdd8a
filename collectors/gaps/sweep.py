"""What changes only because time passes: silences become gaps, old gaps leave the 24 h count, workers go silent.

Safe to run anywhere and twice: every change is a conditional UPDATE, and pipelines that a poll is just writing are
passed over until the next sweep. How a gap is written stands in `ledger`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import connection, transaction

from collectors.gaps import causes as judging
from collectors.gaps import ledger, misdated, parts
from collectors.gaps.ledger import GAP_CURSOR
from collectors.models import Transition, Watermark, Worker
from collectors.rules import worker_status
from collectors.rules.gap_causes import UNCOUNTED_SQL
from collectors.status.workers import facts

log = structlog.get_logger(__name__)

GAP_WINDOW = timedelta(hours=24)
SWEPT_CURSOR = "pulse"

FORGET_OLD_GAPS = f"""
WITH gone AS (
    SELECT pipeline_id, count(*) AS gaps FROM collectors_gap
    WHERE ended_at > %(reached)s AND ended_at <= %(until)s AND cause NOT IN ({UNCOUNTED_SQL}) GROUP BY pipeline_id
), locked AS (
    SELECT p.market_id FROM collectors_pipeline AS p JOIN gone AS g ON g.pipeline_id = p.market_id
    ORDER BY p.market_id FOR UPDATE OF p
)
UPDATE collectors_pipeline AS p SET gaps_24h = greatest(0, p.gaps_24h - gone.gaps)
FROM gone JOIN locked ON locked.market_id = gone.pipeline_id WHERE p.market_id = gone.pipeline_id
"""

# A row that is written every second would be the busiest of all; a clock that was set back moves the mark back, too.
NOTE_SWEEP = """
INSERT INTO collectors_cursor AS c (name, reached_at) VALUES (%(name)s, %(now)s)
ON CONFLICT (name) DO UPDATE SET reached_at = excluded.reached_at
WHERE c.reached_at NOT BETWEEN excluded.reached_at - interval '5 seconds' AND excluded.reached_at
"""


@dataclass(frozen=True, slots=True)
class Swept:
    """The results of one sweep."""

    gaps_opened: int
    workers_turned: int
    gaps_judged: int = 0
    taken_back: int = 0


def run(now: datetime) -> Swept:
    """Sweeps once. Raises django.db.DatabaseError when the database is away; the next sweep makes up for it."""
    taken_back = misdated.take_back(now)
    opened, turned = ledger.open_silent(now), turn_workers(now)
    parts.end_forgotten(now)
    judged = judging.judge_new(now) + judging.judge_again(now)
    note_sweep(now)
    return Swept(opened, turned, gaps_judged=judged, taken_back=taken_back)


def note_sweep(now: datetime) -> None:
    """Notes that silences were looked for. Only a sweep may: else nobody would notice a pulse that is dead."""
    with connection.cursor() as cursor:
        cursor.execute(NOTE_SWEEP, {"name": SWEPT_CURSOR, "now": now})


def forget_old_gaps(now: datetime) -> int:
    """Takes gaps that ended more than 24 h ago out of the pipelines' counters; each once, by a stored cursor."""
    until = now - GAP_WINDOW
    with transaction.atomic():
        cursor_row, _ = Watermark.objects.select_for_update().get_or_create(
            name=GAP_CURSOR, defaults={"reached_at": until}
        )
        if cursor_row.reached_at > misdated.limit(until):
            return _forget_anew(until)
        if until <= cursor_row.reached_at:
            return 0
        with connection.cursor() as cursor:
            cursor.execute(FORGET_OLD_GAPS, {"reached": cursor_row.reached_at, "until": until})
            count = int(cursor.rowcount)
        Watermark.objects.filter(pk=GAP_CURSOR).update(reached_at=until)
    return count


def _forget_anew(until: datetime) -> int:
    """Sets back a cursor that a clock ahead has moved into the future, and counts what it took out too soon."""
    Watermark.objects.filter(pk=GAP_CURSOR).update(reached_at=until)
    log.warning("cursor_set_back", cursor=GAP_CURSOR, reached_at=until.isoformat())
    return ledger.count_anew()


def turn_workers(now: datetime) -> int:
    """Records status changes that no run records: silence, an operator's verb, waiting to start."""
    turned = 0
    for worker in Worker.objects.select_related("exchange"):
        status, reason = worker_status.worker_status(facts(worker), now)
        if status != worker.status:
            turned += _turn(worker, status, reason, now)
    return turned


def _turn(worker: Worker, status: str, reason: str, now: datetime) -> int:
    """Changes the status once: whoever changes the row from the old status writes the transition."""
    with transaction.atomic():
        seen = {"status": worker.status, "heartbeat_at": worker.heartbeat_at, "generation": worker.generation}
        won = Worker.objects.filter(pk=worker.pk, **seen).update(status=status, status_since=now)
        if won:
            Transition.objects.create(
                exchange_id=worker.pk, happened_at=now, from_status=worker.status, to_status=status, reason=reason
            )
    return won
