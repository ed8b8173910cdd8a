"""Counts what objectives came to: finished days from the days of pipelines, the running day from its minutes.

Lost minutes are the whole minutes of gaps without a row that was known in time: the ledger of gaps says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import connection

from collectors.history import quality, rollups
from collectors.models import Watermark
from incidents import maintenance
from incidents.models import Incident
from incidents.objectives.models import Objective, ObjectiveDay, ObjectiveKind
from incidents.rules import budgets
from incidents.rules.budgets import SPANS_MINUTES, Burn, LostMinutes, MinuteAccount

DAY = timedelta(days=1)
RECOUNT_EVERY = timedelta(minutes=5)  # the running day and the window; burning is looked at each minute
LOSERS_OF_MINUTES = 30  # whose losses of so long are what burns
DAYS_A_RUN = 40  # of one objective: a new one is counted back over its window at once

SCOPE = """
SELECT p.market_id, p.expected_seconds, m.exchange_id FROM collectors_pipeline AS p
JOIN exchanges_market AS m ON m.id = p.market_id
WHERE (cardinality(%(exchanges)s::text[]) = 0 OR m.exchange_id = ANY(%(exchanges)s))
  AND (cardinality(%(bases)s::text[]) = 0 OR (m.base, m.quote) IN (
       SELECT * FROM unnest(%(bases)s::text[], %(quotes)s::text[])))
  AND p.received_at IS NOT NULL
"""
COUNTED = f"""
SELECT coalesce(sum(k.expected), 0) FROM ({SCOPE}) AS p
JOIN collectors_pipelineday AS k ON k.pipeline_id = p.market_id AND k.day = %(day)s
"""
# A minute is good when it holds a row that was known in time: live ones are, those of backfill by their own stamp.
GOOD = {
    ObjectiveKind.TIMELY: "(r.live > 0 OR r.known_at <= r.minute_at + (60 + %(within)s) * interval '1 second')",
    ObjectiveKind.COMPLETE: "true",
}
IN_GAP = "r.pipeline_id = p.market_id AND r.minute_at >= g.whole_from AND r.minute_at < g.whole_to"
LOST = f"""
SELECT s.exchange_id, g.cause, link.incident_id, s.is_planned, g.may_come, sum(greatest(0,
           floor(extract(epoch FROM g.whole_to - g.whole_from) / g.every_seconds)::int
           - (SELECT count(*) FROM collectors_rollup AS r WHERE {IN_GAP} AND {{good}})::int))
FROM ({SCOPE}) AS p
JOIN unnest(%(names)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(plans)s::bool[])
     AS s (exchange_id, start, until, is_planned) ON s.exchange_id = p.exchange_id
CROSS JOIN LATERAL ({quality.GAPS.format(start="s.start", until="s.until")}) AS g
LEFT JOIN incidents_incidentgap AS link ON link.gap_id = g.id
WHERE g.counts AND g.whole_to > g.whole_from
GROUP BY 1, 2, 3, 4, 5
"""
STORED = f"""
SELECT count(*) FROM ({SCOPE}) AS p
JOIN collectors_rollup AS r ON r.pipeline_id = p.market_id AND r.minute_at >= %(start)s AND r.minute_at < %(until)s
"""


def run(now: datetime) -> int:
    """Counts what is due of each objective; returns how many were recounted. Twice finds the same."""
    recounted = 0
    for objective in Objective.objects.filter(is_enabled=True).order_by("pk"):
        look_at_burn(objective, now)
        if objective.counted_at is None or now - objective.counted_at >= RECOUNT_EVERY:
            count(objective, now)
            recounted += 1
    return recounted


def count(objective: Objective, now: datetime) -> MinuteAccount:
    """Counts finished days that are not counted yet, and the running one; keeps and returns the window's account."""
    today = now.astimezone(UTC).date()
    first = today - timedelta(days=objective.window_days - 1)
    for day in _uncounted(objective, first, today):
        count_day(objective, day, now)
    days = ObjectiveDay.objects.filter(objective=objective, day__gte=first, day__lt=today)
    total = sum(map(account_of, days), of_running_day(objective, now))
    Objective.objects.filter(pk=objective.pk).update(
        counted_at=now, expected=total.expected, spent=dict(total.spent), pending=total.pending, planned=total.planned
    )
    return total


def account_of(row: ObjectiveDay | Objective) -> MinuteAccount:
    return MinuteAccount(row.expected, row.spent, row.pending, row.planned)


def look_at_burn(objective: Objective, now: datetime) -> str:
    """Keeps and returns whether the budget burns, by the last minutes that are rolled up, and who loses them."""
    until = _settled(now)
    starts = {minutes: until - timedelta(minutes=minutes) for minutes in SPANS_MINUTES}
    word = budgets.burn(
        {span: of_span(objective, start, until, now) for span, start in starts.items()}, objective.target
    )
    losers = lost(objective, starts[LOSERS_OF_MINUTES], until, now) if word != Burn.NONE else []
    losing = sorted({each.exchange for each in losers if each.minutes})
    Objective.objects.filter(pk=objective.pk).update(burn=word, burning=losing, looked_at=now)
    return word


def _settled(now: datetime) -> datetime:
    """Returns the end of the last minute that is rolled up, or would be: minutes that never came are lost ones."""
    return (now - rollups.SETTLE - rollups.MINUTE).replace(second=0, microsecond=0)


def _uncounted(objective: Objective, first: date, today: date) -> list[date]:
    """Returns the finished days of the window, counted by pipelines, that have no count of this objective."""
    mark = Watermark.objects.filter(name=quality.DAYS_CURSOR).values_list("reached_at", flat=True).first()
    end = min(today, mark.astimezone(UTC).date()) if mark is not None else first
    there = set(ObjectiveDay.objects.filter(objective=objective, day__gte=first).values_list("day", flat=True))
    days = [first + timedelta(days=number) for number in range(max(0, (end - first).days))]
    return [day for day in days if day not in there][-DAYS_A_RUN:]


def count_day(objective: Objective, day: date, now: datetime) -> MinuteAccount:
    """Counts a finished day anew, from what is known by now; keeps and returns it."""
    start = midnight(day)
    with connection.cursor() as cursor:
        cursor.execute(COUNTED, {**scope(objective), "day": day})
        expected = int(cursor.fetchone()[0])
    found = budgets.account(expected, lost(objective, start, start + DAY, now))
    facts = {"expected": found.expected, "spent": found.spent, "pending": found.pending, "planned": found.planned}
    ObjectiveDay.objects.update_or_create(objective=objective, day=day, defaults=facts)
    return found


def of_running_day(objective: Objective, now: datetime) -> MinuteAccount:
    """Returns what today and the days that pipelines have not counted yet came to."""
    mark = Watermark.objects.filter(name=quality.DAYS_CURSOR).values_list("reached_at", flat=True).first()
    today = midnight(now.astimezone(UTC).date())
    start = max(min(mark or today, today), today - DAY)
    return of_span(objective, start, max(start, _settled(now)), now)


def of_span(objective: Objective, start: datetime, until: datetime, now: datetime) -> MinuteAccount:
    """Returns what [start, until) came to, from its minutes. Expected is what is stored, and what gaps miss."""
    found = lost(objective, start, until, now)
    missing = found if objective.kind == ObjectiveKind.COMPLETE else lost(objective, start, until, now, kind="complete")
    with connection.cursor() as cursor:
        cursor.execute(STORED, {**scope(objective), "start": start, "until": until})
        stored = int(cursor.fetchone()[0])
    return budgets.account(stored + sum(each.minutes for each in missing), found)


def lost(objective: Objective, start: datetime, until: datetime, now: datetime, *, kind: str = "") -> list[LostMinutes]:
    """Returns the lost minutes of [start, until) by cause, by the root of the gap's incident, and by planned work."""
    what = ObjectiveKind(kind or objective.kind)
    segments = list(_segments(objective, start, until))
    given: dict[str, Any] = {
        **scope(objective), "now": now, "within": objective.within_seconds,
        "names": [each[0] for each in segments], "starts": [each[1] for each in segments],
        "ends": [each[2] for each in segments], "plans": [each[3] for each in segments],
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(LOST.format(good=GOOD[what]), given)
        rows = cursor.fetchall()
    roots = root_kinds([incident for _, _, incident, *_ in rows if incident is not None])
    may_wait = what == ObjectiveKind.COMPLETE  # what comes later than in time is lost already
    return [
        LostMinutes(cause, roots.get(incident, ""), is_planned, may_come and may_wait, int(minutes), exchange)
        for exchange, cause, incident, is_planned, may_come, minutes in rows
    ]


def _segments(objective: Objective, start: datetime, until: datetime) -> Iterable[tuple[str, datetime, datetime, bool]]:
    """Yields the times of each exchange within [start, until), planned ones and others, without overlap."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT exchange_id FROM ({SCOPE}) AS p", scope(objective))
        names = [name for (name,) in cursor.fetchall()]
    planned = maintenance.between(start, until)
    for name in sorted(names):
        at = start
        for each in sorted(planned, key=lambda each: each.starts_at):
            if each.exchanges and name not in each.exchanges:
                continue
            begins, ends = max(at, each.starts_at), min(until, each.ends_at)
            if begins < ends:
                if at < begins:
                    yield name, at, begins, False
                yield name, begins, ends, True
                at = ends
        if at < until:
            yield name, at, until, False


def root_kinds(incidents: Sequence[int]) -> Mapping[int, str]:
    """Returns the kind of the deepest cause of each of these incidents."""
    found: dict[int, str] = {}
    asked = {number: number for number in set(incidents)}  # by incident: the ancestor that is looked at
    for _ in range(10):  # deeper than any tree of causes
        rows = {pk: (kind, up) for pk, kind, up in Incident.objects.filter(pk__in=set(asked.values())).values_list(
            "pk", "kind", "parent_id")}  # fmt: skip
        found |= {number: rows[at][0] for number, at in asked.items() if at in rows}
        asked = {number: rows[at][1] for number, at in asked.items() if at in rows and rows[at][1] is not None}
        if not asked:
            break
    return found


def scope(objective: Objective) -> dict[str, Any]:
    """Returns the values by which the statements find the objective's pipelines."""
    pairs = [pair.split("/", 1) for pair in objective.pairs]
    return {
        "exchanges": list(objective.exchanges),
        "bases": [base for base, _ in pairs],
        "quotes": [quote for _, quote in pairs],
    }


def pipelines(objective: Objective) -> int:
    """Returns how many pipelines an objective is about."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ({SCOPE}) AS p", scope(objective))
        return int(cursor.fetchone()[0])


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
