"""Invariants of everything stored, whatever failed meanwhile, and one query each that finds what breaks it.

For `manage.py verify`, the tests of the running system and the soak. All are read in one snapshot; a row is an offence.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DatabaseError, InterfaceError, connection, transaction

from collectors.gaps.ledger import GAP_CURSOR
from collectors.history import quality
from collectors.history.rollups import CURSOR as ROLLED_UP
from collectors.history.rollups import OLDEST_ROW
from collectors.rules.gap_causes import UNCOUNTED_SQL

EXAMPLES = 3
PATIENCE_SECONDS = 300.0
PORTION = 50  # pipelines of a first statement
PORTION_SECONDS = 1.0  # the database has other work, and one that is given up has cost no more than this
TOUCHING_MS = 50  # clocks of two processes on two machines agree no better

# Each gives (exchange, symbol, moment, words) of what is wrong since %(since)s with the pipelines (or, for runs, the
# exchanges) of %(chosen)s: some at a time, so that none of them takes longer the more there is.
OVERLAPS = """
SELECT m.exchange_id, m.symbol, greatest(a.started_at, b.started_at), 'two gaps at one time'
FROM collectors_gap AS a
JOIN collectors_gap AS b ON b.pipeline_id = a.pipeline_id AND b.id > a.id
     AND tstzrange(a.started_at, a.ended_at) && tstzrange(b.started_at, b.ended_at)
JOIN exchanges_market AS m ON m.id = a.pipeline_id
WHERE a.pipeline_id = ANY(%(chosen)s)
  AND COALESCE(a.ended_at, 'infinity') > %(since)s AND COALESCE(b.ended_at, 'infinity') > %(since)s
"""
ROWS_IN_GAPS = """
SELECT m.exchange_id, m.symbol, t.received_at, 'a live row inside a gap'
FROM collectors_gap AS g
JOIN collectors_tick AS t ON t.pipeline_id = g.pipeline_id AND t.origin = 0
     AND t.received_at > g.started_at AND t.received_at < COALESCE(g.ended_at, 'infinity')
JOIN exchanges_market AS m ON m.id = g.pipeline_id
WHERE g.pipeline_id = ANY(%(chosen)s) AND g.started_at > %(since)s
"""
MARKS = """
SELECT m.exchange_id, m.symbol, COALESCE(g.started_at, p.received_at),
       CASE WHEN p.gap_open THEN 'marked silent without a gap' ELSE 'an open gap that its pipeline does not know' END
FROM collectors_pipeline AS p
LEFT JOIN collectors_gap AS g ON g.pipeline_id = p.market_id AND g.ended_at IS NULL
JOIN exchanges_market AS m ON m.id = p.market_id
WHERE p.market_id = ANY(%(chosen)s) AND p.gap_open <> (g.id IS NOT NULL)
"""
GAP_COUNTS = f"""
SELECT m.exchange_id, m.symbol, p.received_at, format('counts %%s gaps in 24 h, has %%s', p.gaps_24h, g.gaps)
FROM collectors_pipeline AS p
CROSS JOIN LATERAL (
    SELECT count(*) AS gaps FROM collectors_gap
    WHERE pipeline_id = p.market_id AND cause NOT IN ({UNCOUNTED_SQL}) AND (ended_at IS NULL OR ended_at >
        COALESCE((SELECT reached_at FROM collectors_cursor WHERE name = %(gap_cursor)s), '-infinity'))) AS g
JOIN exchanges_market AS m ON m.id = p.market_id
WHERE p.market_id = ANY(%(chosen)s) AND p.gaps_24h <> g.gaps
"""
NEWEST = """
SELECT m.exchange_id, m.symbol, t.received_at, 'newer than the state that is shown'
FROM collectors_pipeline AS p
CROSS JOIN LATERAL (
    SELECT received_at FROM collectors_tick WHERE pipeline_id = p.market_id AND origin = 0 AND received_at > %(since)s
    ORDER BY received_at DESC LIMIT 1) AS t
JOIN exchanges_market AS m ON m.id = p.market_id
WHERE p.market_id = ANY(%(chosen)s) AND (p.received_at IS NULL OR p.received_at < t.received_at)
"""
# A run that stored nothing may look back: a stream's end says since when.
AT_ONCE = f"""
SELECT exchange_id, NULL, started_at, 'stored while another collector of this exchange did'
FROM (SELECT exchange_id, started_at, started_at - lag(started_at + duration_ms * interval '1 millisecond')
          OVER (PARTITION BY exchange_id ORDER BY started_at) AS pause
      FROM collectors_run
      WHERE exchange_id = ANY(%(chosen)s) AND outcome = 'stored' AND started_at > %(since)s) AS runs
WHERE pause < interval '-{TOUCHING_MS} milliseconds'
"""
# Of the minutes whose rows are kept: those before have only their rollups. A candle's raw row is a price at the end of
# its minute, and makes no minute; minutes from before that rule count all rows.
ROLLED = """
WITH span AS MATERIALIZED (
    SELECT greatest(date_trunc('minute', %(since)s::timestamptz) + interval '1 minute',
                    date_trunc('minute', %(raw_since)s::timestamptz)) AS start,
           (SELECT reached_at FROM collectors_cursor WHERE name = %(rollup_cursor)s) AS stop)
SELECT m.exchange_id, m.symbol, minute_at, format('%%s rows in this minute, its rollup counts %%s', t.rows, r.samples)
FROM (SELECT pipeline_id, date_trunc('minute', received_at) AS minute_at, count(*) AS rows,
             count(*) FILTER (WHERE origin NOT IN (1, 3)) AS told FROM collectors_tick
      WHERE pipeline_id = ANY(%(chosen)s) AND received_at >= (SELECT start FROM span)
        AND received_at < (SELECT stop FROM span) GROUP BY 1, 2) AS t
FULL JOIN (SELECT pipeline_id, minute_at, samples, live, trade FROM collectors_rollup
           WHERE pipeline_id = ANY(%(chosen)s) AND minute_at >= (SELECT start FROM span)
             AND minute_at < (SELECT stop FROM span)) AS r
     USING (pipeline_id, minute_at)
JOIN exchanges_market AS m ON m.id = pipeline_id
WHERE CASE WHEN r.samples IS NOT NULL AND r.live IS NULL THEN t.rows IS DISTINCT FROM r.samples
           ELSE coalesce(t.told, 0) <> coalesce(r.live + r.trade, 0) END
  AND minute_at >= (SELECT min(minute_at) FROM collectors_rollup)
"""
# Each revision ends where the next begins: nothing that was known at some moment is missing or was changed later.
REVISED = """
SELECT m.exchange_id, m.symbol, c.minute_at, format('what it was before revision %%s is not kept', c.revision)
FROM (SELECT pipeline_id, minute_at, revision, known_at FROM collectors_rollup
      WHERE pipeline_id = ANY(%(chosen)s) AND revision > 0 AND minute_at >= %(since)s
      UNION ALL SELECT pipeline_id, minute_at, revision, known_at FROM collectors_rolluprevision
      WHERE pipeline_id = ANY(%(chosen)s) AND revision > 0 AND minute_at >= %(since)s) AS c
LEFT JOIN collectors_rolluprevision AS before ON before.pipeline_id = c.pipeline_id
     AND before.minute_at = c.minute_at AND before.revision = c.revision - 1
JOIN exchanges_market AS m ON m.id = c.pipeline_id
WHERE before.replaced_at IS DISTINCT FROM c.known_at OR before.known_at > before.replaced_at
"""
# Some pipelines of each day: what was known of it when it was over is known of it for good.
SEALED = f"""
SELECT m.exchange_id, m.symbol, k.day::timestamp AT TIME ZONE 'UTC', 'as of its end, it is no longer what it was'
FROM collectors_pipelineday AS k
JOIN exchanges_market AS m ON m.id = k.pipeline_id
WHERE k.pipeline_id = ANY(%(chosen)s) AND k.day >= (%(since)s - interval '2 days')::date AND k.fingerprint <> ({
    quality.FINGERPRINT.format(
        pipeline="k.pipeline_id", day="(k.day::timestamp AT TIME ZONE 'UTC')", as_of="k.sealed_at"
    )
})
"""
# The ledger of archived files: each names the one before it, and none was found changed or missing.
CHAINED = """
SELECT exchange, NULL, written_at, CASE WHEN fault <> '' THEN path || ': ' || fault ELSE path || ' follows no file' END
FROM (SELECT exchange, kind, path, written_at, fault, previous_sha256,
             lag(sha256, 1, '') OVER (PARTITION BY exchange, kind ORDER BY id) AS before
      FROM archive_archivefile WHERE exchange = ANY(%(chosen)s) AND state <> 'lost') AS file
WHERE previous_sha256 <> before OR fault <> ''
"""
# What a day's minutes came to is kept for longer than they are.
KEPT = """
SELECT m.exchange_id, m.symbol, k.day::timestamp AT TIME ZONE 'UTC', 'its minutes are in no table and in no file'
FROM collectors_pipelineday AS k
JOIN exchanges_market AS m ON m.id = k.pipeline_id
WHERE k.pipeline_id = ANY(%(chosen)s) AND k.stored > 0
  AND k.day >= (SELECT min(day) FROM archive_archivefile WHERE kind = 'minutes')
  AND NOT EXISTS (SELECT 1 FROM archive_archivefile AS f
                  WHERE f.kind = 'minutes' AND f.exchange = m.exchange_id AND f.day = k.day)
  AND NOT EXISTS (SELECT 1 FROM collectors_rollup AS r WHERE r.pipeline_id = k.pipeline_id
                  AND r.minute_at >= k.day::timestamp AT TIME ZONE 'UTC'
                  AND r.minute_at < (k.day + 1)::timestamp AT TIME ZONE 'UTC')
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
    "yesterday as of its end is unchanged": SEALED,
    "each archived file follows the one before it, and was found sound": CHAINED,
    "no day of minutes was dropped that is not archived": KEPT,
}
OF_EXCHANGES = (AT_ONCE, CHAINED)  # the others are of pipelines
PIPELINES = "SELECT market_id FROM collectors_pipeline ORDER BY market_id"
EXCHANGES = "SELECT exchange_id FROM collectors_worker ORDER BY exchange_id"


@dataclass(frozen=True, slots=True)
class PromiseResult:
    """A promise, the number of offences against it, and the first few of them in words.

    `unjudged` says why it was not judged, or not for all; empty when it was. What was not judged is not proven.
    """

    promise: str
    offences: int
    examples: tuple[str, ...] = ()
    unjudged: str = ""


def check(*, since: datetime, seconds: float = PATIENCE_SECONDS) -> Iterator[PromiseResult]:
    """Yields each promise as it is judged. Looks at what happened after `since`, and all that is open.

    All together end within about `seconds`, whatever there is to look at and however slow the database is.
    """
    waiting = list(PROMISES)
    give_up_at = time.monotonic() + seconds
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            judge = _Judge(cursor, since, give_up_at)
            while waiting:
                result = judge.judge(waiting[0], seconds=(give_up_at - time.monotonic()) / len(waiting))
                waiting.pop(0)
                yield result
    except (DatabaseError, InterfaceError) as error:
        for promise in waiting:
            yield PromiseResult(promise, 0, unjudged=_reason(error))


class _Judge:
    """Judges promises within one snapshot, some pipelines at a time."""

    def __init__(self, cursor: Any, since: datetime, give_up_at: float) -> None:
        self._cursor = cursor
        self._limit_until(give_up_at)
        self._pipelines, self._exchanges = self._column(PIPELINES), self._column(EXCHANGES)
        [raw_since] = self._column(OLDEST_ROW)
        self._values = {
            "since": since, "raw_since": raw_since, "gap_cursor": GAP_CURSOR, "rollup_cursor": ROLLED_UP,
        }  # fmt: skip

    def judge(self, promise: str, *, seconds: float) -> PromiseResult:
        query = PROMISES[promise]
        if query is ROLLED and self._values["raw_since"] is None:
            return PromiseResult(promise, 0, unjudged="no raw row is kept that a rollup could be compared with")
        waiting = self._exchanges if query in OF_EXCHANGES else self._pipelines
        found, judged, unjudged = self._ask_in_portions(query, waiting, time.monotonic() + seconds)
        if unjudged:
            noun = "exchanges" if query in OF_EXCHANGES else "pipelines"
            unjudged = f"{judged} of {len(waiting)} {noun} were judged: {unjudged}"
        found.rows.sort(key=lambda row: (row[2] is not None, row[2]))
        return PromiseResult(promise, found.count, tuple(_say(*row) for row in found.rows[:EXAMPLES]), unjudged)

    def _ask_in_portions(self, query: str, waiting: Sequence[Any], give_up_at: float) -> tuple[_Found, int, str]:
        """Asks for some at a time, as many as take about a second; returns what it found, of how many, and why not of
        all."""
        found, judged, portion = _Found(), 0, PORTION
        while judged < len(waiting):
            started = time.monotonic()
            if started > give_up_at:
                return found, judged, "time is over (--seconds gives it more)"
            chosen = list(waiting[judged : judged + portion])
            try:
                with transaction.atomic():
                    self._limit_until(give_up_at)
                    found.add(self._ask(query, chosen))
            except DatabaseError as error:
                if not connection.is_usable():
                    raise
                return found, judged, _reason(error)
            judged += len(chosen)
            portion = max(1, portion // 2) if time.monotonic() - started > PORTION_SECONDS else portion * 2
        return found, judged, ""

    def _limit_until(self, moment: float) -> None:
        milliseconds = max(int((moment - time.monotonic()) * 1000), 100)
        self._cursor.execute("SET LOCAL statement_timeout = %s", [milliseconds])

    def _ask(self, query: str, chosen: list[Any]) -> list[tuple[Any, ...]]:
        self._cursor.execute(
            f"SELECT count(*) OVER (), * FROM ({query}) AS offence (exchange, symbol, moment, words) "
            f"ORDER BY moment LIMIT {EXAMPLES}",
            {**self._values, "chosen": chosen},
        )
        return list(self._cursor.fetchall())

    def _column(self, query: str) -> list[Any]:
        self._cursor.execute(query)
        return [value for (value,) in self._cursor.fetchall()]


class _Found:
    """Offences of several portions: how many, and the first of each."""

    def __init__(self) -> None:
        self.count = 0
        self.rows: list[tuple[Any, ...]] = []

    def add(self, rows: list[tuple[Any, ...]]) -> None:
        self.count += rows[0][0] if rows else 0
        self.rows += [row[1:] for row in rows]


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _say(exchange: str, symbol: str | None, moment: datetime | None, words: str) -> str:
    when = "never" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-3]
    return f"{exchange}{f' {symbol}' if symbol else ''} {when}: {words}"
