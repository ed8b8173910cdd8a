"""Records what caused gaps, and lets those be judged anew of which more is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from collectors.gaps.ledger.statements import execute
from collectors.models import Gap
from collectors.rules.gap_causes import UNCOUNTED_SQL
from collectors.rules.gaps import MISSED_BY_NOW

_VERDICT = """
WITH verdict AS (SELECT * FROM unnest(%(gaps)s::bigint[], %(causes)s::text[], %(evidences)s::text[],
                                      %(ends)s::timestamptz[]) AS v (id, cause, evidence, ended_at)),
"""
_TURNS = f"(g.cause IN ({UNCOUNTED_SQL})) <> (v.cause IN ({UNCOUNTED_SQL}))"
RECORD_CAUSES = f"""{_VERDICT}
locked AS (
    SELECT g.id FROM collectors_gap AS g JOIN verdict AS v ON v.id = g.id
    WHERE (g.cause, g.evidence, g.is_judged) IS DISTINCT FROM (v.cause, v.evidence, true) AND NOT {_TURNS}
    ORDER BY g.id FOR UPDATE OF g SKIP LOCKED
)
UPDATE collectors_gap AS g SET cause = v.cause, evidence = v.evidence, is_judged = true,
    missed_count = {MISSED_BY_NOW.format(gap="g", expected="p.expected_seconds")}
FROM verdict AS v JOIN locked ON locked.id = v.id, collectors_pipeline AS p
WHERE g.id = v.id AND p.market_id = g.pipeline_id AND g.ended_at IS NOT DISTINCT FROM v.ended_at
"""
# Those that come into the count of 24 hours by their new cause, or leave it. A poll locks its pipelines before their
# gaps, so both are taken at once or not at all.
RECORD_TURNED = f"""{_VERDICT}
locked AS (
    SELECT g.id, g.pipeline_id, v.cause, v.evidence, v.cause IN ({UNCOUNTED_SQL}) AS leaves,
           {MISSED_BY_NOW.format(gap="g", expected="p.expected_seconds")} AS missed_count
    FROM collectors_gap AS g JOIN verdict AS v ON v.id = g.id
    JOIN collectors_pipeline AS p ON p.market_id = g.pipeline_id
    WHERE {_TURNS} AND g.ended_at IS NOT DISTINCT FROM v.ended_at
    ORDER BY g.id FOR UPDATE OF g, p SKIP LOCKED
), counted AS (
    UPDATE collectors_pipeline AS p SET gaps_24h = greatest(0, p.gaps_24h + t.more)
    FROM (SELECT pipeline_id, sum(CASE WHEN leaves THEN -1 ELSE 1 END) AS more FROM locked GROUP BY 1) AS t
    WHERE p.market_id = t.pipeline_id
)
UPDATE collectors_gap AS g
SET cause = l.cause, evidence = l.evidence, is_judged = true, missed_count = l.missed_count
FROM locked AS l WHERE g.id = l.id
"""


class JudgedCause(NamedTuple):
    """The cause of one gap, why, and the end that it was judged by."""

    gap: int
    cause: str
    evidence: str
    ended_at: datetime | None


def record_causes(verdicts: Sequence[JudgedCause], now: datetime) -> int:
    """Writes causes where they differ, in the order of keys; returns how many.

    Gaps that are locked, or that a poll has ended meanwhile, are passed over: the next sweep judges them.
    """
    gaps, causes, evidences, ends = map(list, zip(*sorted(verdicts), strict=True))
    values = {"gaps": gaps, "causes": causes, "evidences": evidences, "ends": ends, "now": now}
    with transaction.atomic():
        return execute(RECORD_CAUSES, values) + execute(RECORD_TURNED, values)


def judge_anew(market_ids: Iterable[int]) -> int:
    """Leaves the open gaps of these markets to be judged by the next sweep: what is known of them has changed."""
    wanted = Gap.objects.filter(pipeline_id__in=list(market_ids), ended_at__isnull=True)
    return wanted.update(is_judged=False)
