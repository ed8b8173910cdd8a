"""Keeps which parts of an exchange its polls go without, since when and why: the causes of gaps are read from it.

A part that is missing costs its own markets and nothing else: neither the run's outcome nor the worker's health.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

import structlog
from django.db import connection, transaction

from collectors.models import PartOutage, Worker, reports
from collectors.models.parts import IN_TURN, LEFT_OUT
from feeds.base import MissingPart

log = structlog.get_logger(__name__)

NO_TROUBLE = (LEFT_OUT, IN_TURN)
MOST_PARTS = 50
PART_CHARACTERS = 100
REASON_CHARACTERS = 1000
# Nobody has asked for so long: what is known of it is over. A stream's comparison polls are far apart.
FORGOTTEN = "greatest(interval '10 minutes', 20 * e.poll_interval_seconds * interval '1 second')"

END_FORGOTTEN = f"""
WITH ended AS (
    UPDATE collectors_partoutage AS o SET ended_at = greatest(o.seen_at, o.started_at) FROM exchanges_exchange AS e
    WHERE e.id = o.exchange_id AND o.ended_at IS NULL
      AND (o.seen_at < %(now)s - {FORGOTTEN} OR NOT e.is_collected)
    RETURNING o.exchange_id
)
UPDATE collectors_worker SET missing_markets = 0, left_out_markets = 0
WHERE exchange_id IN (SELECT exchange_id FROM ended)
"""


def note(
    exchange_id: str,
    generation: int,
    missing: Sequence[MissingPart],
    pipelines: Mapping[str, int],
    *,
    started_at: datetime,
    seen_at: datetime,
) -> None:
    """Notes what the newest poll went without, which ends whatever it did not go without. Without effect under an
    old generation."""
    told = _by_name(missing, pipelines)
    if not told and not PartOutage.objects.filter(exchange_id=exchange_id, ended_at=None).exists():
        return
    with transaction.atomic():
        worker = Worker.objects.select_for_update(no_key=True).filter(pk=exchange_id, generation=generation).first()
        if worker is None:
            return
        running = {row.part: row for row in PartOutage.objects.filter(exchange_id=exchange_id, ended_at=None)}
        for name, row in running.items():
            if name not in told or told[name].kind != row.outcome:
                _end(row, started_at)
            else:
                _follow(row, told[name], pipelines, seen_at)
        fresh = [part for name, part in told.items() if name not in running or running[name].ended_at is not None]
        PartOutage.objects.bulk_create(_begun(exchange_id, part, pipelines, started_at, seen_at) for part in fresh)
        left_out = [part for part in told.values() if part.kind == LEFT_OUT]
        worker.missing_markets = _count((part for part in told.values() if part.kind not in NO_TROUBLE), pipelines)
        worker.left_out_markets = _count(left_out, pipelines)
        worker.save(update_fields=["missing_markets", "left_out_markets"])
    for part in fresh:
        log.warning("part_missing", exchange=exchange_id, part=part.part, outcome=part.kind, markets=len(part.symbols))


def end_forgotten(now: datetime) -> int:
    """Ends what no poll has asked for lately, and what is no longer collected; returns how many exchanges had any."""
    with connection.cursor() as cursor:
        cursor.execute(END_FORGOTTEN, {"now": now})
        return int(cursor.rowcount)


def running(exchange_ids: Collection[str] | None = None) -> dict[str, list[PartOutage]]:
    """Returns by exchange what polls go without now, of all exchanges or of these. One query."""
    rows = PartOutage.objects.filter(ended_at=None, exchange__removed_at=None).order_by("exchange_id", "part")
    if exchange_ids is not None:
        rows = rows.filter(exchange_id__in=exchange_ids)
    found: dict[str, list[PartOutage]] = {}
    for row in rows:
        found.setdefault(row.exchange_id, []).append(row)
    return found


def _by_name(missing: Sequence[MissingPart], pipelines: Mapping[str, int]) -> dict[str, MissingPart]:
    """Returns the parts that are wanted, each once: a part without a market of ours is missed by nobody."""
    told: dict[str, MissingPart] = {}
    for part in missing[:MOST_PARTS]:
        if any(symbol in pipelines for symbol in part.symbols):
            told.setdefault(part.part[:PART_CHARACTERS] or "markets asked for one by one", part)
    return told


def _numbers(part: MissingPart, pipelines: Mapping[str, int]) -> list[int]:
    return sorted({pipelines[symbol] for symbol in part.symbols if symbol in pipelines})


def _count(told: Iterable[MissingPart], pipelines: Mapping[str, int]) -> int:
    return len({number for part in told for number in _numbers(part, pipelines)})


def _begun(
    exchange_id: str, part: MissingPart, pipelines: Mapping[str, int], started_at: datetime, seen_at: datetime
) -> PartOutage:
    return PartOutage(
        exchange_id=exchange_id,
        part=part.part[:PART_CHARACTERS] or "markets asked for one by one",
        outcome=part.kind,
        reason=reports.clean(part.reason)[:REASON_CHARACTERS],
        pipelines=_numbers(part, pipelines),
        started_at=started_at,
        seen_at=seen_at,
    )


def _follow(row: PartOutage, part: MissingPart, pipelines: Mapping[str, int], seen_at: datetime) -> None:
    """Keeps all markets that have been missing: where they are asked for in turn, others are missing in each poll."""
    row.seen_at, row.reason = seen_at, reports.clean(part.reason)[:REASON_CHARACTERS]
    changed = ["seen_at", "reason"]
    numbers = set(_numbers(part, pipelines))
    if not numbers <= set(row.pipelines):
        row.pipelines = sorted(numbers.union(row.pipelines))
        changed.append("pipelines")
    row.save(update_fields=changed)


def _end(row: PartOutage, at: datetime) -> None:
    row.ended_at = max(at, row.seen_at)
    row.save(update_fields=["ended_at"])
