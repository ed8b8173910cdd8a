"""Ends gaps on purpose: by an operator's verb, a new market list, the end of a halt, or because their mark was lost."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from collectors.gaps.ledger.statements import execute
from collectors.models import Gap, GapCause
from collectors.rules.gap_causes import UNCOUNTED_SQL
from collectors.rules.gaps import MISSED

NOT_LISTED = "the exchange no longer lists this market"


# Pipelines are locked in the order in which a poll locks them.
_ENDED_BY_VERB = f"""
UPDATE collectors_gap AS g
SET ended_at = %(now)s, is_judged = false,
    missed_count = {MISSED.format(start="g.started_at", end="%(now)s", expected="stopped.expected_seconds")}
FROM stopped
WHERE g.pipeline_id = stopped.market_id AND g.ended_at IS NULL AND g.started_at < %(now)s
"""
# A stop makes a new generation, under which the rows of polls that began before are refused: no `resumed_at` here.
END_OF_EXCHANGE = f"""
WITH stopped AS (
    UPDATE collectors_pipeline AS p SET gap_open = false
    FROM (SELECT q.market_id FROM collectors_pipeline AS q JOIN exchanges_market AS m ON m.id = q.market_id
          WHERE m.exchange_id = %(exchange)s AND q.gap_open ORDER BY q.market_id FOR UPDATE OF q) AS locked
    WHERE p.market_id = locked.market_id
    RETURNING p.market_id, p.expected_seconds
)
{_ENDED_BY_VERB}"""
# The generation stays, and a poll that began before may still bring a row of a market that is out: `resumed_at` says
# that it was not expected from here on, and lets `correct` find the gap that this row ended sooner.
END_OF_MARKETS = f"""
WITH stopped AS (
    UPDATE collectors_pipeline AS p SET gap_open = false, resumed_at = %(now)s
    FROM (SELECT market_id FROM collectors_pipeline WHERE market_id = ANY(%(markets)s)
          ORDER BY market_id FOR UPDATE) AS locked
    WHERE p.market_id = locked.market_id
    RETURNING p.market_id, p.expected_seconds
)
{_ENDED_BY_VERB}"""
END_OF_DELISTED = f"""
WITH silent AS (
    UPDATE collectors_pipeline AS p SET gap_open = false
    FROM exchanges_market AS m
    WHERE m.id = p.market_id AND m.exchange_id = %(exchange)s AND NOT m.active AND p.gap_open
    RETURNING p.market_id, p.expected_seconds
)
UPDATE collectors_gap AS g
SET ended_at = greatest(%(now)s, g.started_at + interval '1 microsecond'),
    missed_count = {MISSED.format(start="g.started_at", end="%(now)s", expected="silent.expected_seconds")},
    cause = CASE WHEN g.cause IN ({UNCOUNTED_SQL}) THEN g.cause ELSE '{GapCause.DELISTED}' END,
    evidence = CASE WHEN g.cause IN ({UNCOUNTED_SQL}) THEN g.evidence ELSE '{NOT_LISTED}' END
FROM silent WHERE g.pipeline_id = silent.market_id AND g.ended_at IS NULL
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


def end_of_exchange(exchange_id: str, now: datetime) -> int:
    """Ends the gaps of an exchange whose worker has a new generation in this transaction; returns how many."""
    return execute(END_OF_EXCHANGE, {"exchange": exchange_id, "now": now})


def end_of_markets(market_ids: Iterable[int], now: datetime) -> int:
    """Ends gaps of markets that are taken out of a running exchange, and expects no row of them; returns how many."""
    wanted = sorted(market_ids)
    return execute(END_OF_MARKETS, {"markets": wanted, "now": now}) if wanted else 0


def end_of_delisted(exchange_id: str, now: datetime) -> int:
    """Ends the gaps of an exchange's markets that it no longer lists, which is their cause; returns how many."""
    return execute(END_OF_DELISTED, {"exchange": exchange_id, "now": now})


def end_of_halts(market_ids: Iterable[int], now: datetime) -> int:
    """Ends gaps that a halt explains, of markets that are traded again: a silence from here on has a cause of its own.
    Returns how many."""
    explained = Gap.objects.filter(pipeline_id__in=list(market_ids), ended_at__isnull=True, cause=GapCause.HALTED)
    return end_of_markets(explained.values_list("pipeline_id", flat=True), now)


def end_orphans() -> int:
    """Ends gaps unknown to their pipeline; none unless somebody wrote past the write path. Returns how many."""
    return execute(END_ORPHANS, {})
