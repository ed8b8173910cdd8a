"""Invariants of everything stored, whatever failed meanwhile, and one query each that finds what breaks it.

For `manage.py verify`, the tests of the running system and the soak. All are read in one snapshot; a row is an offence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from collectors.gaps.sweep import GAP_CURSOR
from collectors.history.rollups import CURSOR as ROLLED_UP
from collectors.rules.gap_causes import UNCOUNTED_SQL

EXAMPLES = 3
TOUCHING_MS = 50  # clocks of two processes on two machines agree no better

# Each gives (exchange, symbol, moment, words) of what is wrong since %(since)s.
OVERLAPS = """
SELECT m.exchange_id, m.symbol, greatest(a.started_at, b.started_at), 'two gaps at one time'
FROM collectors_gap AS a
JOIN collectors_gap AS b ON b.pipeline_id = a.pipeline_id AND b.id > a.id
     AND tstzrange(a.started_at, a.ended_at) && tstzrange(b.started_at, b.ended_at)
JOIN exchanges_market AS m ON m.id = a.pipeline_id
WHERE COALESCE(a.ended_at, 'infinity') > %(since)s AND COALESCE(b.ended_at, 'infinity') > %(since)s
"""
ROWS_IN_GAPS = """
SELECT m.exchange_id, m.symbol, t.received_at, 'a live row inside a gap'
FROM collectors_gap AS g
JOIN collectors_tick AS t ON t.pipeline_id = g.pipeline_id AND t.origin = 0
     AND t.received_at > g.started_at AND t.received_at < COALESCE(g.ended_at, 'infinity')
JOIN exchanges_market AS m ON m.id = g.pipeline_id
WHERE g.started_at > %(since)s
"""
MARKS = """
SELECT m.exchange_id, m.symbol, COALESCE(g.started_at, p.received_at),
       CASE WHEN p.gap_open THEN 'marked silent without a gap' ELSE 'an open gap that its pipeline does not know' END
FROM collectors_pipeline AS p
LEFT JOIN collectors_gap AS g ON g.pipeline_id = p.market_id AND g.ended_at IS NULL
JOIN exchanges_market AS m ON m.id = p.market_id
WHERE p.gap_open <> (g.id IS NOT NULL)
"""
GAP_COUNTS = f"""
SELECT m.exchange_id, m.symbol, p.received_at, format('counts %%s gaps in 24 h, has %%s', p.gaps_24h, g.gaps)
FROM collectors_pipeline AS p
CROSS JOIN LATERAL (
    SELECT count(*) AS gaps FROM collectors_gap
    WHERE pipeline_id = p.market_id AND cause NOT IN ({UNCOUNTED_SQL}) AND (ended_at IS NULL OR ended_at >
        COALESCE((SELECT reached_at FROM collectors_cursor WHERE name = %(gap_cursor)s), '-infinity'))) AS g
JOIN exchanges_market AS m ON m.id = p.market_id
WHERE p.gaps_24h <> g.gaps
"""
NEWEST = """
SELECT m.exchange_id, m.symbol, t.received_at, 'newer than the state that is shown'
FROM collectors_pipeline AS p
CROSS JOIN LATERAL (
    SELECT received_at FROM collectors_tick WHERE pipeline_id = p.market_id AND origin = 0 AND received_at > %(since)s
    ORDER BY received_at DESC LIMIT 1) AS t
JOIN exchanges_market AS m ON m.id = p.market_id
WHERE p.received_at IS NULL OR p.received_at < t.received_at
"""
# A run that stored nothing may look back: a stream's end says since when.
AT_ONCE = f"""
SELECT exchange_id, NULL, started_at, 'stored while another collector of this exchange did'
FROM (SELECT exchange_id, started_at, started_at - lag(started_at + duration_ms * interval '1 millisecond')
          OVER (PARTITION BY exchange_id ORDER BY started_at) AS pause
      FROM collectors_run WHERE outcome = 'stored' AND started_at > %(since)s) AS runs
WHERE pause < interval '-{TOUCHING_MS} milliseconds'
"""
# A candle's raw row is a price at its minute's end, and makes no minute; minutes from before that rule count all rows.
ROLLED = """
SELECT m.exchange_id, m.symbol, minute_at, format('%%s rows in this minute, its rollup counts %%s', t.rows, r.samples)
FROM (SELECT pipeline_id, date_trunc('minute', received_at) AS minute_at, count(*) AS rows,
             count(*) FILTER (WHERE origin <> 1) AS told FROM collectors_tick
      WHERE received_at >= date_trunc('minute', %(since)s::timestamptz) + interval '1 minute' GROUP BY 1, 2) AS t
FULL JOIN (SELECT pipeline_id, minute_at, samples, live, trade FROM collectors_rollup
           WHERE minute_at >= date_trunc('minute', %(since)s::timestamptz) + interval '1 minute') AS r
     USING (pipeline_id, minute_at)
JOIN exchanges_market AS m ON m.id = pipeline_id
WHERE CASE WHEN r.samples IS NOT NULL AND r.live IS NULL THEN t.rows IS DISTINCT FROM r.samples
           ELSE coalesce(t.told, 0) <> coalesce(r.live + r.trade, 0) END
  AND minute_at >= (SELECT min(minute_at) FROM collectors_rollup)
  AND minute_at < (SELECT reached_at FROM collectors_cursor WHERE name = %(rollup_cursor)s)
"""
# Each revision ends where the next begins: nothing that was known at some moment is missing or was changed later.
REVISED = """
SELECT m.exchange_id, m.symbol, c.minute_at, format('what it was before revision %%s is not kept', c.revision)
FROM (SELECT pipeline_id, minute_at, revision, known_at FROM collectors_rollup
      WHERE revision > 0 AND minute_at >= %(since)s
      UNION ALL SELECT pipeline_id, minute_at, revision, known_at FROM collectors_rolluprevision
      WHERE revision > 0 AND minute_at >= %(since)s) AS c
LEFT JOIN collectors_rolluprevision AS before ON before.pipeline_id = c.pipeline_id
     AND before.minute_at = c.minute_at AND before.revision = c.revision - 1
JOIN exchanges_market AS m ON m.id = c.pipeline_id
WHERE before.replaced_at IS DISTINCT FROM c.known_at OR before.known_at > before.replaced_at
"""

PROMISES = {
    "no two gaps of a pipeline overlap": OVERLAPS,
    "no live row lies inside a gap": ROWS_IN_GAPS,
    "a pipeline is marked silent exactly while it has an open gap": MARKS,
    "each pipeline's count of gaps is the number of its gaps": GAP_COUNTS,
    "the state shown is the newest row": NEWEST,
    "one collector at a time stores for an exchange": AT_ONCE,
    "each finished minute's rollup counts all its rows": ROLLED,
    "each changed minute's old state is kept": REVISED,
}


@dataclass(frozen=True, slots=True)
class PromiseResult:
    """A promise, the number of offences against it, and the first few of them in words."""

    promise: str
    offences: int
    examples: tuple[str, ...] = ()


def check(*, since: datetime) -> Iterator[PromiseResult]:
    """Yields each promise as it is judged, slowest last. Looks at what happened after `since`, and all that is open."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for promise, query in PROMISES.items():
            yield _judge(cursor, promise, query, since)


def _judge(cursor: Any, promise: str, query: str, since: datetime) -> PromiseResult:
    cursor.execute(
        f"SELECT count(*) OVER (), * FROM ({query}) AS offence (exchange, symbol, moment, words) "
        f"ORDER BY moment LIMIT {EXAMPLES}",
        {"since": since, "gap_cursor": GAP_CURSOR, "rollup_cursor": ROLLED_UP},
    )
    found = cursor.fetchall()
    return PromiseResult(promise, found[0][0] if found else 0, tuple(_say(*row[1:]) for row in found))


def _say(exchange: str, symbol: str | None, moment: datetime | None, words: str) -> str:
    when = "never" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-3]
    return f"{exchange}{f' {symbol}' if symbol else ''} {when}: {words}"
