"""Causes of gaps, from all runs of a silence: given when gaps open, while they last, and at their end.

`rules/gap_causes.py` has the rule and `ledger` the writing; here the evidence is read, so much of it in one sweep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

from django.db import connection

from collectors.gaps import ledger
from collectors.models import RunTransport, Watermark
from collectors.rules.gap_causes import AWAITED, HALTED, NEVER_CAME, UNCOUNTED_SQL, AbsentPart, Evidence, judge
from collectors.rules.gaps import GAP_INTERVALS, is_looked_at_again
from exchanges.models import MarketState

MOST_SILENCES = 300  # a sweep judges; an outage is one for all of an exchange's markets
MOST_JUDGED = timedelta(days=14)  # of silence together: 120,000 runs at the usual interval, read in a fifth of a second
# A sweep looks at fewer gaps that last: a round has a minute, and its sweeps have other things to do.
MOST_JUDGED_AGAIN = MOST_JUDGED / 10
MOST_GAPS_AGAIN = 1000
ROUND_CURSOR, WALK_CURSOR = "open_gaps_round", "open_gaps"  # the round's minute; the beginnings that it has come to
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

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

# Those that last, in the order of their beginnings. Materialized, so that they are found by the end that they have
# not: in the order of beginnings the whole ledger would be read. 3 ms for a thousand beside 200,000 that have ended.
TO_JUDGE_AGAIN = """
WITH lasting AS MATERIALIZED (SELECT * FROM collectors_gap WHERE ended_at IS NULL)
SELECT m.exchange_id, g.started_at, %(now)s::timestamptz, min(p.expected_seconds), array_agg(g.id), NULL
FROM lasting AS g
JOIN collectors_pipeline AS p ON p.market_id = g.pipeline_id
JOIN exchanges_market AS m ON m.id = g.pipeline_id
WHERE g.is_judged AND g.detected_at < %(minute)s
  AND g.started_at > %(reached)s AND g.started_at < %(now)s
GROUP BY 1, 2 ORDER BY 2 FETCH FIRST %(most)s ROWS WITH TIES
"""

# Each run covers the time until the next one, but no more than itself, its pause or two intervals. The poll that ended
# the silence says nothing of it until it was answered.
COVERED = f"""
SELECT s.number, r.word, count(*), sum(extract(epoch FROM r.covered))
FROM unnest(%(numbers)s::int[], %(exchanges)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[],
            %(intervals)s::float8[]) AS s (number, exchange, started_at, ended_at, seconds)
CROSS JOIN LATERAL (
    SELECT CASE WHEN outcome = 'stored' AND finished_at >= s.ended_at - interval '1 millisecond'
                     AND transport <> '{RunTransport.STREAM}' THEN '{AWAITED}' ELSE outcome END AS word,
           least(
               greatest(retry_at, finished_at, started_at + {GAP_INTERVALS} * s.seconds * interval '1 second'),
               lead(started_at, 1, s.ended_at) OVER (ORDER BY started_at), s.ended_at) - started_at AS covered
    FROM collectors_run
    CROSS JOIN LATERAL (SELECT started_at + duration_ms * interval '1 millisecond') AS f (finished_at)
    WHERE exchange_id = s.exchange AND started_at > s.started_at AND started_at < s.ended_at - interval '1 millisecond'
) AS r GROUP BY 1, 2
"""

# What only some markets of a silence went through. Rejected rows, and the parts that polls went without, are read once
# for all of them. A gap of a market that never came keeps saying so when its first row has ended it.
OF_SINGLE_MARKETS = f"""
WITH s AS MATERIALIZED (
    SELECT * FROM unnest(%(numbers)s::int[], %(exchanges)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
         AS s (number, exchange, started_at, ended_at)
), bad AS (
    SELECT s.number, row ->> 'symbol' AS symbol, count(*) AS times, max(row ->> 'reason') AS reason
    FROM s
    CROSS JOIN LATERAL (
        SELECT quarantine FROM collectors_run
        WHERE exchange_id = s.exchange AND started_at > s.started_at AND started_at < s.ended_at
          AND rows_quarantined > 0) AS r
    CROSS JOIN LATERAL jsonb_array_elements(r.quarantine) AS row
    GROUP BY 1, 2
), absent AS (
    SELECT DISTINCT ON (s.number, o.pipeline_id) s.number, o.pipeline_id, o.part, o.outcome, o.reason,
           extract(epoch FROM least(o.ended_at, s.ended_at) - greatest(o.started_at, s.started_at)) AS seconds
    FROM s
    CROSS JOIN LATERAL (
        SELECT part, outcome, reason, started_at, coalesce(ended_at, 'infinity') AS ended_at,
               unnest(pipelines) AS pipeline_id
        FROM collectors_partoutage
        WHERE exchange_id = s.exchange AND started_at < s.ended_at AND coalesce(ended_at, 'infinity') > s.started_at
    ) AS o
    ORDER BY s.number, o.pipeline_id, seconds DESC
)
SELECT g.id, CASE WHEN m.active THEN NULL ELSE m.delisted_at END, bad.times, bad.reason,
       p.received_at IS NULL OR g.cause = '{NEVER_CAME}',
       CASE WHEN m.state = '{MarketState.HALTED}' THEN m.halted_at END, m.halt,
       CASE WHEN g.cause = '{HALTED}' THEN g.evidence ELSE '' END,
       absent.part, absent.outcome, absent.reason, absent.seconds
FROM unnest(%(gaps)s::bigint[], %(silences)s::int[]) AS wanted (id, number)
JOIN collectors_gap AS g ON g.id = wanted.id
JOIN collectors_pipeline AS p ON p.market_id = g.pipeline_id
JOIN exchanges_market AS m ON m.id = g.pipeline_id
LEFT JOIN bad ON bad.number = wanted.number AND bad.symbol = m.symbol
LEFT JOIN absent ON absent.number = wanted.number AND absent.pipeline_id = g.pipeline_id
WHERE m.state <> '{MarketState.TRADING}' OR bad.times > 0 OR p.received_at IS NULL OR g.cause IN ({UNCOUNTED_SQL})
      OR absent.part IS NOT NULL
"""


def judge_new(now: datetime) -> int:
    """Gives a cause to gaps that were opened or have ended since they were judged. Twice finds the same."""
    with connection.cursor() as cursor:
        cursor.execute(TO_JUDGE, {"now": now, "most": MOST_SILENCES, "most_gaps": 200 * MOST_SILENCES})
        return _judge(_affordable([SilentSpan(*row) for row in cursor.fetchall()], MOST_JUDGED), now)


def judge_again(now: datetime) -> int:
    """Judges gaps that last anew: once a minute all of them, in as many sweeps as it takes. Only rows whose words
    have changed are written."""
    marks = dict(Watermark.objects.filter(name__in=(ROUND_CURSOR, WALK_CURSOR)).values_list("name", "reached_at"))
    minute, reached = marks.get(ROUND_CURSOR, EPOCH), marks.get(WALK_CURSOR, EPOCH)
    if reached >= minute:  # that round is over
        if minute == now.replace(second=0, microsecond=0):
            return 0
        minute, reached = now.replace(second=0, microsecond=0), EPOCH
    silences, reached = _next_of_round(minute, reached, now)
    written = _judge(silences, now)
    for name, moment in ((ROUND_CURSOR, minute), (WALK_CURSOR, reached)):
        Watermark.objects.update_or_create(name=name, defaults={"reached_at": moment})
    return written


def _next_of_round(minute: datetime, reached: datetime, now: datetime) -> tuple[list[SilentSpan], datetime]:
    """Returns what one sweep looks at, and how far the round has come with it; its end is its own minute."""
    with connection.cursor() as cursor:
        cursor.execute(TO_JUDGE_AGAIN, {"now": now, "minute": minute, "reached": reached, "most": MOST_SILENCES})
        found = [SilentSpan(*row) for row in cursor.fetchall()]
    due = [silence for silence in found if is_looked_at_again(silence.started_at, minute)]
    chosen = _affordable(due, MOST_JUDGED_AGAIN, most_gaps=MOST_GAPS_AGAIN)
    if len(chosen) < len(due):
        last = chosen[-1].started_at  # the walk goes by it, so it takes all that began then
        return [silence for silence in due if silence.started_at <= last], last
    return chosen, minute if len(found) < MOST_SILENCES else found[-1].started_at


def _judge(silences: Sequence[SilentSpan], now: datetime) -> int:
    if not silences:
        return 0
    spans = {
        "numbers": list(range(len(silences))),
        "exchanges": [silence.exchange_id for silence in silences],
        "starts": [silence.started_at for silence in silences],
        "ends": [silence.seen_until for silence in silences],
    }
    with connection.cursor() as cursor:
        covered = _covered(cursor, spans, [silence.expected_seconds for silence in silences])
        particular = _particular(cursor, spans, silences)
    verdicts = [
        ledger.JudgedCause(
            gap, *judge(_evidence(silence, covered.get(number, []), particular.get(gap))), silence.ended_at
        )
        for number, silence in enumerate(silences)
        for gap in silence.gaps
    ]
    return ledger.record_causes(verdicts, now)


class SilentSpan(NamedTuple):
    """A row of TO_JUDGE: the time in which some markets of an exchange sent nothing, and their gaps."""

    exchange_id: str
    started_at: datetime
    seen_until: datetime
    expected_seconds: float
    gaps: list[int]
    ended_at: datetime | None

    @property
    def length(self) -> timedelta:
        return self.seen_until - self.started_at


def _affordable(
    silences: Sequence[SilentSpan], most: timedelta, *, most_gaps: int = 200 * MOST_SILENCES
) -> list[SilentSpan]:
    """Returns the first of them whose runs can be read in one sweep, at least one; the others are the next sweep's."""
    lengths = accumulate(silence.length for silence in silences)
    gaps = accumulate(len(silence.gaps) for silence in silences)
    spent = zip(silences, lengths, gaps, strict=True)
    return [silence for number, (silence, length, count) in enumerate(spent)
            if number == 0 or (length <= most and count <= most_gaps)]  # fmt: skip


def _covered(
    cursor: Any, spans: Mapping[str, Any], intervals: Sequence[float]
) -> dict[int, list[tuple[str, int, float]]]:
    cursor.execute(COVERED, {**spans, "intervals": list(intervals)})
    found: dict[int, list[tuple[str, int, float]]] = {}
    for number, outcome, count, seconds in cursor.fetchall():
        found.setdefault(number, []).append((outcome, count, float(seconds)))
    return found


def _particular(cursor: Any, spans: Mapping[str, Any], silences: Sequence[SilentSpan]) -> dict[int, Sequence[Any]]:
    of_gaps = [(gap, number) for number, silence in enumerate(silences) for gap in silence.gaps]
    gaps, numbers = map(list, zip(*of_gaps, strict=True))
    cursor.execute(OF_SINGLE_MARKETS, {**spans, "gaps": gaps, "silences": numbers})
    return {gap: facts for gap, *facts in cursor.fetchall()}


def _evidence(
    silence: SilentSpan, covered: Sequence[tuple[str, int, float]], particular: Sequence[Any] | None
) -> Evidence:
    nothing: Sequence[Any] = (None, 0, "", False, None, "", "")
    delisted_at, times, reason, never_came, halted_at, halt, halted_before, *part = particular or nothing
    was_delisted = delisted_at is not None and silence.started_at <= delisted_at <= silence.seen_until
    was_halted = halted_at is not None and (silence.ended_at is None or halted_at <= silence.ended_at)
    return Evidence(
        length_seconds=silence.length.total_seconds(),
        slack_seconds=GAP_INTERVALS * silence.expected_seconds,
        seconds={outcome: seconds for outcome, _, seconds in covered},
        counts={outcome: count for outcome, count, _ in covered},
        delisted_at=delisted_at if was_delisted else None,
        quarantined_count=times or 0,
        quarantine_reason=reason or "",
        never_came=never_came,
        halted_at=halted_at if was_halted else None,
        halt=halt,
        halted_before=halted_before,
        absent_part=_absent_part(*part),
    )


def _absent_part(
    part: str | None = None, outcome: str = "", reason: str = "", seconds: float = 0.0
) -> AbsentPart | None:
    return None if part is None else AbsentPart(part, outcome, reason, float(seconds))
