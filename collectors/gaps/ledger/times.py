"""Takes back gaps whose time cannot be, where a clock ran ahead, and counts pipelines' gaps anew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from collectors.gaps.ledger.statements import execute
from collectors.rules.gap_causes import UNCOUNTED_SQL
from collectors.rules.gaps import MISSED

GAP_CURSOR = "gaps_24h"  # gaps that ended before are out of the pipelines' counts


NEVER_BEGAN = "DELETE FROM collectors_gap WHERE pipeline_id = ANY(%(pipelines)s) AND started_at > %(limit)s"
STILL_LASTS = """
UPDATE collectors_gap SET ended_at = NULL, is_judged = false
WHERE pipeline_id = ANY(%(pipelines)s) AND ended_at > %(limit)s
"""
ENDED_WITH_ROW = f"""
UPDATE collectors_gap AS g SET ended_at = s.received_at, is_judged = false,
    missed_count = {MISSED.format(start="g.started_at", end="s.received_at", expected="p.expected_seconds")}
FROM stage_quotes AS s JOIN collectors_pipeline AS p ON p.market_id = s.pipeline_id
WHERE g.pipeline_id = s.pipeline_id AND g.pipeline_id = ANY(%(pipelines)s)
  AND g.started_at < s.received_at AND g.ended_at > %(limit)s
"""
MARK_ANEW = f"""
UPDATE collectors_pipeline AS p SET
    gap_open = EXISTS (SELECT FROM collectors_gap WHERE pipeline_id = p.market_id AND ended_at IS NULL),
    gaps_24h = (SELECT count(*) FROM collectors_gap
                WHERE pipeline_id = p.market_id AND cause NOT IN ({UNCOUNTED_SQL}) AND (ended_at IS NULL OR ended_at >
                    COALESCE((SELECT reached_at FROM collectors_cursor WHERE name = %(gap_cursor)s), '-infinity')))
WHERE %(pipelines)s::int[] IS NULL OR market_id = ANY(%(pipelines)s::int[])
"""


def count_anew() -> int:
    """Counts the gaps of all pipelines anew, after their cursor was set back; returns how many pipelines there are."""
    return execute(MARK_ANEW, {"pipelines": None, "gap_cursor": GAP_CURSOR})


def take_back(pipelines: Sequence[int], limit: datetime, *, ended_with_row: bool = False) -> None:
    """Corrects the gaps of locked pipelines that begin or end after `limit`, where no gap can. What ends there lasts,
    or `ended_with_row` that is in `stage_quotes`."""
    values = {"pipelines": list(pipelines), "limit": limit, "gap_cursor": GAP_CURSOR}
    for statement in (NEVER_BEGAN, ENDED_WITH_ROW if ended_with_row else STILL_LASTS, MARK_ANEW):
        execute(statement, values)
