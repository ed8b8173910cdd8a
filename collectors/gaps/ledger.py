"""Every statement that writes a gap, in the order of its life; nobody else writes the table `collectors_gap`.

It begins   `open_silent`, by a sweep, while the silence lasts;
            CLOSED, by the row that ends it, where no sweep came in between.
It ends     CLOSED, by the next row, in the statement that stores the row;
            `end_of_exchange`, when an operator stops its exchange;
            `end_of_markets`, when an operator or a filter takes its market out;
            `end_of_delisted`, when the exchange no longer lists its market;
          `end_of_halts`, when the exchange trades its market again;
            `end_orphans`, where the pipeline has lost its mark;
            `correct`, sooner, by a row that was under way while the market was taken out.
It is none  `correct` withdraws it: the row that ended the silence in time was committed a moment later.
Its cause   a first guess where it begins; `record_causes`, from all runs of the silence.
Filled      `claim`, `note_filled`, `note_nothing`, `put_off`, `release`, `ask_again`, `expire`.
Its time    `take_back`, where a clock ran ahead: what begins in the future was none, what ends there still lasts.
Forgotten   long after its end, see `collectors/retention.py`.

A silence counts from the pipeline's newest row, or from its or its worker's `resumed_at` where that is later; of a
market that never came, from when it was listed, once two polls have stored others. Each
pipeline carries a mark (`gap_open`) and a count (`gaps_24h`) of its gaps, without those whose cause is UNCOUNTED. The
statements here keep both, except that `sweep` takes gaps out of the count when they are a day old.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Q

from collectors.models import TO_FILL, TO_FILL_SQL, Gap, GapCause, GapState
from collectors.rules.gap_causes import UNCOUNTED_SQL, cause_of
from collectors.rules.gaps import GAP_INTERVALS, MISSED, MISSED_BY_NOW
from exchanges.models import MarketState

NO_CYCLE = "no run was finished during the silence"
GAP_CURSOR = "gaps_24h"  # gaps that ended before are out of the pipelines' counts
NOT_LISTED = "the exchange no longer lists this market"
NOT_TRADED = "the exchange lists this market and does not trade it"
NEVER_SEEN = "listed, never came"

# --- it begins --------------------------------------------------------------------------------------------------

# The first condition alone is tested on every row; it leaves few. Rows locked by a poll are about to become fresh.
# The locks on the others keep out operators' verbs, which hold exchange and worker, and make PostgreSQL look again at
# what has changed since this statement's snapshot: else a gap would be opened behind a stop's back.
OPEN_SILENT = f"""
WITH silent AS MATERIALIZED (
    SELECT p.market_id, greatest(p.received_at, p.resumed_at, w.resumed_at) AS silent_since, p.expected_seconds,
           w.heartbeat_at, w.last_outcome, p.received_at IS NULL AS never_came,
           m.state = '{MarketState.HALTED}' AS is_halted
    FROM collectors_pipeline AS p
    JOIN exchanges_market AS m ON m.id = p.market_id
    JOIN exchanges_exchange AS e ON e.id = m.exchange_id
    JOIN collectors_worker AS w ON w.exchange_id = e.id
    WHERE {{which}} AND NOT p.gap_open
      AND (p.received_at < %(now)s - {GAP_INTERVALS} * p.expected_seconds * interval '1 second'
           -- listed, and others were stored by a second poll since
           OR p.received_at IS NULL
              AND w.stored_at > greatest(p.resumed_at, w.resumed_at) + p.expected_seconds * interval '1 second')
      AND greatest(p.resumed_at, w.resumed_at)
          < %(now)s - {GAP_INTERVALS} * p.expected_seconds * interval '1 second'
    ORDER BY p.market_id
    FOR UPDATE OF p SKIP LOCKED FOR SHARE OF m, e, w SKIP LOCKED
), marked AS (
    UPDATE collectors_pipeline AS p
    SET gap_open = true, gaps_24h = p.gaps_24h + (NOT s.is_halted AND NOT s.never_came)::int
    FROM silent AS s WHERE p.market_id = s.market_id
)
INSERT INTO collectors_gap (pipeline_id, started_at, missed_count, cause, evidence, detected_at)
SELECT market_id, silent_since, {MISSED.format(start="silent_since", end="%(now)s", expected="expected_seconds")},
       CASE WHEN is_halted THEN '{GapCause.HALTED}' WHEN never_came THEN '{GapCause.NEVER_CAME}'
            WHEN is_ours THEN '{GapCause.OUR_OUTAGE}' ELSE COALESCE(c.cause, %(other_cause)s) END,
       CASE WHEN is_halted THEN '{NOT_TRADED}' WHEN never_came THEN '{NEVER_SEEN}' WHEN is_ours THEN '{NO_CYCLE}'
            ELSE COALESCE(c.evidence, %(other_evidence)s) END,
       %(now)s
FROM (SELECT *, COALESCE(heartbeat_at < silent_since + expected_seconds * interval '1 second', true) AS is_ours
      FROM silent) AS s
LEFT JOIN (SELECT * FROM unnest(%(outcomes)s::text[], %(causes)s::text[], %(evidences)s::text[])
           AS c (outcome, cause, evidence)) AS c ON c.outcome = s.last_outcome
ON CONFLICT DO NOTHING
"""
COLLECTED = "m.is_collected AND e.is_collected"
OF_EXCHANGE = "e.id = %(exchange)s AND m.is_collected"
OF_MARKETS = "m.id = ANY(%(markets)s) AND m.active AND e.is_collected"

OUTCOMES_WITH_CAUSE = ("throttled", "held_back", "unreachable", "bad_reply", "failed", "denied", "not_connected")


def open_silent(now: datetime) -> int:
    """Opens a gap for every collected pipeline that has been silent for more than GAP_INTERVALS expected intervals.

    Returns how many were opened. Twice is harmless.
    """
    return _open(COLLECTED, now)


def open_silent_of_exchange(exchange_id: str, now: datetime) -> int:
    """Opens gaps before an exchange is stopped on purpose: a silence from before the stop was not planned."""
    return _open(OF_EXCHANGE, now, exchange=exchange_id)


def open_silent_of_markets(market_ids: Sequence[int], now: datetime) -> int:
    """Opens gaps before listed markets are taken out on purpose; they are marked as out already."""
    return _open(OF_MARKETS, now, markets=list(market_ids)) if market_ids else 0


def _open(which: str, now: datetime, **chosen: Any) -> int:
    causes = [cause_of(outcome) for outcome in OUTCOMES_WITH_CAUSE]
    other_cause, other_evidence = cause_of("stored")
    return _execute(
        OPEN_SILENT.format(which=which),
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


# --- a row comes ------------------------------------------------------------------------------------------------

# `polling/store.py` composes these into its one statement: `s` are the rows of `stage_quotes` with the worker's
# `resumed_at`, `p` the pipelines that they are merged into, `fenced` has the worker's `heartbeat_before`.
SILENCE = "s.received_at - greatest(p.received_at, p.resumed_at, s.resumed_at)"
LIMIT = f"{GAP_INTERVALS} * p.expected_seconds * interval '1 second'"
# In MERGE's SET: what a row makes of its pipeline's mark and count.
MARKED = f"""
        gaps_24h = p.gaps_24h + CASE
            WHEN {SILENCE} > {LIMIT}
            THEN (p.received_at IS NOT NULL AND NOT p.gap_open)::int
            ELSE -((p.gap_open AND p.received_at IS NOT NULL)::int) END,
        gap_open = false
"""
# In its RETURNING: the silence that the row has ended.
ENDED_SILENCE = f"""
              p.market_id, s.received_at AS ended_at,
              greatest(old.received_at, old.resumed_at, s.resumed_at) AS silent_since,
              old.received_at IS NULL AS is_first, old.gap_open AS was_open, p.expected_seconds,
              s.received_at - greatest(old.received_at, old.resumed_at, s.resumed_at) > {LIMIT} AS is_gap
"""
# A CTE after `merged`: ends the gap that a sweep has opened, or writes down one that none has seen.
CLOSED = f"""closed AS (
    INSERT INTO collectors_gap (pipeline_id, started_at, ended_at, missed_count, cause, evidence, detected_at)
    SELECT market_id, silent_since, ended_at,
           {MISSED.format(start="silent_since", end="ended_at", expected="expected_seconds")},
           CASE WHEN is_ours THEN '{GapCause.OUR_OUTAGE}' ELSE %(cause)s END,
           CASE WHEN is_ours THEN '{NO_CYCLE}' ELSE %(evidence)s END,
           %(finished_at)s
    FROM (SELECT m.*, COALESCE(f.heartbeat_before < m.silent_since + m.expected_seconds * interval '1 second', true)
                 AS is_ours
          FROM merged AS m CROSS JOIN fenced AS f) AS ended
    WHERE is_gap AND (was_open OR NOT is_first)
    ON CONFLICT (pipeline_id, started_at) DO UPDATE
        SET ended_at = excluded.ended_at, missed_count = excluded.missed_count, is_judged = false
        WHERE collectors_gap.ended_at IS NULL
)"""
# Whether `correct` must be called after the statement, in its transaction.
MUST_CORRECT = "EXISTS (SELECT FROM merged WHERE silent_since > ended_at OR was_open AND NOT is_gap)"

# Sweep saw the silence a moment before the row that ended it in time was committed. A statement of its own: the gap may
# have come after the snapshot of the one above, which found the pipeline's mark only because it waited for the row.
WITHDRAW = f"""
WITH withdrawn AS (
    DELETE FROM collectors_gap AS g USING stage_quotes AS s, collectors_pipeline AS p
    WHERE g.pipeline_id = s.pipeline_id AND p.market_id = s.pipeline_id AND NOT p.gap_open AND g.ended_at IS NULL
    RETURNING g.pipeline_id, g.cause
)
UPDATE collectors_pipeline AS p SET gaps_24h = p.gaps_24h + 1  -- the row has taken off what was not in it
FROM withdrawn AS w WHERE p.market_id = w.pipeline_id AND w.cause = '{GapCause.HALTED}'
"""
# A market was taken out while its row was under way: the gap that the verb has ended at its own moment ended with this
# row, or was none.
END_SOONER = f"""
WITH late AS (
    SELECT g.id, g.pipeline_id, g.started_at, s.received_at, p.expected_seconds,
           s.received_at - g.started_at <= {LIMIT} AS is_none
    FROM stage_quotes AS s
    JOIN collectors_pipeline AS p ON p.market_id = s.pipeline_id AND p.resumed_at > s.received_at
    JOIN collectors_gap AS g ON g.pipeline_id = s.pipeline_id
         AND g.started_at < s.received_at AND g.ended_at > s.received_at
), withdrawn AS (
    DELETE FROM collectors_gap AS g USING late WHERE g.id = late.id AND late.is_none RETURNING g.pipeline_id, g.cause
), counted AS (
    UPDATE collectors_pipeline AS p SET gaps_24h = greatest(0, p.gaps_24h - 1)
    FROM withdrawn WHERE p.market_id = withdrawn.pipeline_id AND withdrawn.cause NOT IN ({UNCOUNTED_SQL})
)
UPDATE collectors_gap AS g
SET ended_at = late.received_at, is_judged = false,
    missed_count = {MISSED.format(start="late.started_at", end="late.received_at", expected="late.expected_seconds")}
FROM late WHERE g.id = late.id AND NOT late.is_none
"""


def correct(cursor: Any) -> None:
    """Withdraws or shortens the gaps that the rows in `stage_quotes` prove wrong, in the caller's transaction."""
    cursor.execute(WITHDRAW)
    cursor.execute(END_SOONER)


# --- it ends on purpose -----------------------------------------------------------------------------------------

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
    return _execute(END_OF_EXCHANGE, {"exchange": exchange_id, "now": now})


def end_of_markets(market_ids: Iterable[int], now: datetime) -> int:
    """Ends gaps of markets that are taken out of a running exchange, and expects no row of them; returns how many."""
    wanted = sorted(market_ids)
    return _execute(END_OF_MARKETS, {"markets": wanted, "now": now}) if wanted else 0


def end_of_delisted(exchange_id: str, now: datetime) -> int:
    """Ends the gaps of an exchange's markets that it no longer lists, which is their cause; returns how many."""
    return _execute(END_OF_DELISTED, {"exchange": exchange_id, "now": now})


def end_of_halts(market_ids: Iterable[int], now: datetime) -> int:
    """Ends gaps that a halt explains, of markets that are traded again: a silence from here on has a cause of its own.
    Returns how many."""
    explained = Gap.objects.filter(pipeline_id__in=list(market_ids), ended_at__isnull=True, cause=GapCause.HALTED)
    return end_of_markets(explained.values_list("pipeline_id", flat=True), now)


def judge_anew(market_ids: Iterable[int]) -> int:
    """Leaves the open gaps of these markets to be judged by the next sweep: what is known of them has changed."""
    wanted = Gap.objects.filter(pipeline_id__in=list(market_ids), ended_at__isnull=True)
    return wanted.update(is_judged=False)


def end_orphans() -> int:
    """Ends gaps unknown to their pipeline; none unless somebody wrote past the write path. Returns how many."""
    return _execute(END_ORPHANS, {})


# --- its time cannot be -----------------------------------------------------------------------------------------

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
    return _execute(MARK_ANEW, {"pipelines": None, "gap_cursor": GAP_CURSOR})


def take_back(pipelines: Sequence[int], limit: datetime, *, ended_with_row: bool = False) -> None:
    """Corrects the gaps of locked pipelines that begin or end after `limit`, where no gap can. What ends there lasts,
    or `ended_with_row` that is in `stage_quotes`."""
    values = {"pipelines": list(pipelines), "limit": limit, "gap_cursor": GAP_CURSOR}
    for statement in (NEVER_BEGAN, ENDED_WITH_ROW if ended_with_row else STILL_LASTS, MARK_ANEW):
        _execute(statement, values)


# --- its cause --------------------------------------------------------------------------------------------------

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
        return _execute(RECORD_CAUSES, values) + _execute(RECORD_TURNED, values)


# --- what the exchange still has of it --------------------------------------------------------------------------

FILLED_FIELDS = (
    "filled_until", "filled_count", "lacking_count", "lacking_reason", "attempts", "state", "next_try_at"
)  # fmt: skip
EXPIRE = f"""
UPDATE collectors_gap SET next_try_at = NULL,
    state = CASE WHEN filled_count > 0 THEN '{GapState.PARTLY_FILLED}' ELSE '{GapState.EXPIRED}' END
WHERE id IN (SELECT id FROM collectors_gap WHERE state IN ({TO_FILL_SQL}) AND ended_at < %(before)s
             ORDER BY id LIMIT 10000 FOR UPDATE SKIP LOCKED)
"""


def claim(gap: Gap, *, until: datetime) -> None:
    """Takes a locked gap from all others; `until` is also how its holder knows that it is still theirs."""
    Gap.objects.filter(pk=gap.pk).update(state=GapState.FILLING, next_try_at=until)


def note_filled(
    gap: Gap, *, until: datetime, rows: int, lacking: int, lacking_reason: str, ask_again_at: datetime
) -> None:
    """Notes an answer that reaches to `until`, of a locked gap. One that lasts is due again at `ask_again_at`."""
    gap.filled_until = until
    gap.filled_count += rows
    gap.lacking_count += lacking
    if lacking:
        gap.lacking_reason = lacking_reason
    gap.attempts, gap.next_try_at = 0, None
    if gap.ended_at is None:
        gap.state, gap.next_try_at = GapState.FILLING, ask_again_at
    elif until < gap.ended_at:
        gap.state = GapState.FILLING  # a page was full: the rest stays open, for the next turn
    else:
        gap.state = final_state(gap.filled_count, gap.lacking_count)
    gap.save(update_fields=FILLED_FIELDS)


def note_nothing(gap: Gap, *, until: datetime, lacking: int, why: str, ask_again_at: datetime | None) -> None:
    """Notes that the exchange has nothing of a locked gap up to `until`. What was filled before stays.

    It is never asked again, unless it lasted: then from `ask_again_at` on.
    """
    gap.lacking_count += lacking
    gap.filled_until, gap.next_try_at = until, ask_again_at
    gap.state = GapState.FILLING if ask_again_at else final_state(gap.filled_count, gap.lacking_count)
    gap.lacking_reason = why
    gap.save(update_fields=["lacking_count", "lacking_reason", "filled_until", "next_try_at", "state"])


def final_state(filled_count: int, lacking_count: int) -> GapState:
    """Returns the state of a gap that was asked for to its end."""
    if filled_count == 0:
        return GapState.NOTHING
    return GapState.PARTLY_FILLED if lacking_count else GapState.FILLED


def put_off(gap_id: int, *, claimed_until: datetime, attempts: int, next_try_at: datetime) -> None:
    """Keeps a claimed gap for later after a failed attempt."""
    Gap.objects.filter(pk=gap_id, next_try_at=claimed_until).update(attempts=attempts, next_try_at=next_try_at)


def release(gap_id: int, *, claimed_until: datetime) -> None:
    """Gives a claimed gap back: nothing was asked, and it stays due."""
    Gap.objects.filter(pk=gap_id, next_try_at=claimed_until).update(next_try_at=None)


def ask_again(exchange_id: str, *, claims_end_before: datetime, now: datetime) -> int:
    """Forgets the pauses of an exchange's gaps; returns how many there are to fill.

    A next try before `claims_end_before`, with no failed attempt, is a request that is just being made: it stays.
    """
    mine = Gap.objects.filter(pipeline__market__exchange_id=exchange_id, state__in=TO_FILL)
    paused = Q(next_try_at__gt=claims_end_before) | Q(next_try_at__gt=now, attempts__gt=0)
    mine.filter(paused).update(next_try_at=None, attempts=0)
    return mine.count()


def expire(*, before: datetime) -> int:
    """Gives up what ended before a moment and was not filled: it would be dropped at once. Returns how many."""
    return _execute(EXPIRE, {"before": before})


def _execute(statement: str, values: dict[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)
