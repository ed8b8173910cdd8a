"""Ends a run in one statement: history, state, gaps, run, status change and heartbeat, all or nothing.

Everything hangs on the CTE `fenced`: it finds the Worker row only under the permit's generation and lease, so a run
that an operator has overtaken stores nothing. `RETURNING old` of MERGE (PostgreSQL 18) tells how long a pipeline was
silent without a second look; what follows of that for its gaps stands in `gaps/ledger/`.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction

from collectors.gaps import ledger, misdated
from collectors.lease import Permit, UnknownRows
from collectors.models import GapCause, RunTransport, reports
from collectors.polling import copy_format, jumps
from collectors.rules import age
from collectors.rules.age import AnswerState
from collectors.rules.quote_checks import QuoteRow
from feeds.base import RejectedRow
from lib.clock import FUTURE_SECONDS

STAGE = """
CREATE TEMP TABLE IF NOT EXISTS stage_quotes (
    pipeline_id int, received_at timestamptz, last float8, bid float8, ask float8, high float8, low float8,
    base_volume float8, quote_volume float8, exchange_at timestamptz
) ON COMMIT DELETE ROWS
"""
COPY = f"COPY stage_quotes ({copy_format.COLUMNS}) FROM STDIN (FORMAT binary)"

IN_FUTURE = f"interval '{FUTURE_SECONDS} seconds'"

FENCED = """
WITH fenced AS (
    UPDATE collectors_worker SET
        lease_token = CASE WHEN %(keep_seconds)s IS NULL THEN NULL ELSE lease_token END,
        lease_until = clock_timestamp() + make_interval(secs => %(keep_seconds)s),
        heartbeat_at = %(finished_at)s,
        stored_at = COALESCE(%(stored_at)s, stored_at),
        stored_count = COALESCE(%(stored_count)s, stored_count),
        usual_count = CASE WHEN %(usual_version)s IS NULL THEN usual_count ELSE %(stored_count)s END,
        usual_version = COALESCE(%(usual_version)s, usual_version),
        answers = COALESCE(%(answers)s, answers), old_answers = COALESCE(%(old_answers)s, old_answers),
        unknown_rows = COALESCE(%(unknown_rows)s, unknown_rows),
        accepted_unknown = COALESCE(%(accepted_unknown)s, accepted_unknown),
        unknown_version = COALESCE(%(unknown_version)s, unknown_version),
        error_count = %(error_count)s, strikes = %(strikes)s, last_outcome = %(outcome)s,
        -- nobody begins in a pause: one that still runs was told to somebody else meanwhile
        retry_at = CASE WHEN retry_at > %(finished_at)s THEN greatest(retry_at, %(retry_at)s) ELSE %(retry_at)s END,
        last_error = CASE WHEN %(error)s = '' THEN last_error ELSE %(error)s END,
        last_error_at = CASE WHEN %(error)s = '' THEN last_error_at ELSE %(finished_at)s END,
        status = %(status)s,
        status_since = CASE WHEN status = %(status)s THEN status_since ELSE %(finished_at)s END
    WHERE exchange_id = %(exchange)s AND generation = %(generation)s AND lease_token = %(token)s
    RETURNING exchange_id, resumed_at, old.status AS status_before, old.heartbeat_at AS heartbeat_before
), turned AS (
    INSERT INTO collectors_transition (exchange_id, happened_at, from_status, to_status, reason)
    SELECT exchange_id, %(finished_at)s, status_before, %(status)s, %(error)s FROM fenced
    WHERE status_before <> %(status)s
)
"""

QUOTES = f"""
, merged AS (
    MERGE INTO collectors_pipeline AS p
    USING (SELECT s.*, f.resumed_at FROM stage_quotes AS s CROSS JOIN fenced AS f) AS s
    ON p.market_id = s.pipeline_id
    -- a row from the future would hide all others until then; `misdated` sets it aside
    WHEN MATCHED AND (p.received_at IS NULL OR p.received_at < s.received_at
                      OR p.received_at > %(finished_at)s + {IN_FUTURE}) THEN UPDATE SET
        received_at = s.received_at, exchange_at = s.exchange_at,
        last = s.last, bid = s.bid, ask = s.ask, high = s.high, low = s.low,
        base_volume = COALESCE(s.base_volume, p.base_volume),  -- some streams tell none
        quote_volume = COALESCE(s.quote_volume, p.quote_volume),
        changed_at = CASE WHEN (p.last, p.bid, p.ask) IS DISTINCT FROM (s.last, s.bid, s.ask)
                          THEN s.received_at ELSE least(p.changed_at, s.received_at) END,
        {jumps.MARKED},
        {ledger.MARKED}
    RETURNING {ledger.ENDED_SILENCE}, {jumps.RETURNED}
), history AS (
    INSERT INTO collectors_tick ({copy_format.COLUMNS}, origin)
    SELECT {copy_format.COLUMNS}, 0 FROM stage_quotes CROSS JOIN fenced
    RETURNING 1
), {ledger.CLOSED}
"""

RUN = """
, run AS (
    INSERT INTO collectors_run (exchange_id, started_at, duration_ms, outcome, rows_answered, rows_stored,
                                rows_quarantined, rows_repaired, quarantine, http_status, error, excerpt,
                                correlation_id, transport, retry_at)
    SELECT exchange_id, %(started_at)s, %(duration_ms)s, %(outcome)s, %(rows_answered)s,
           {stored} + %(stored_before)s,
           %(rows_quarantined)s, %(rows_repaired)s, %(quarantine)s, %(http_status)s, %(error)s, %(excerpt)s,
           %(correlation_id)s,
           %(transport)s, %(retry_at)s
    FROM fenced WHERE %(records_run)s
)
SELECT (SELECT count(*) FROM fenced), {stored}, {corrected}, {jumped}
"""
FINISH_WITH_QUOTES = (
    FENCED
    + QUOTES
    + RUN.format(
        stored="(SELECT count(*) FROM history)",
        corrected=ledger.MUST_CORRECT,
        jumped=jumps.HAVE_JUMPED,
    )
)
FINISH_WITHOUT_QUOTES = FENCED + RUN.format(stored="0", corrected="false", jumped="false")
# The first statement for the rare cycle that brings a row which is already there; as the rule it costs a sixth of the
# speed.
FINISH_WITH_KNOWN_QUOTES = FINISH_WITH_QUOTES.replace("RETURNING 1\n)", "ON CONFLICT DO NOTHING RETURNING 1\n)")

# What `_parameters` gives, in the types that a prepared statement wants to know.
PARAMETERS = {
    "exchange": "text",
    "generation": "int",
    "token": "uuid",
    "started_at": "timestamptz",
    "finished_at": "timestamptz",
    "duration_ms": "int",
    "stored_at": "timestamptz",
    "stored_count": "int",
    "usual_version": "int",
    "answers": "jsonb",
    "old_answers": "jsonb",
    "unknown_rows": "int",
    "accepted_unknown": "int",
    "unknown_version": "int",
    "outcome": "text",
    "error_count": "int",
    "strikes": "int",
    "retry_at": "timestamptz",
    "status": "text",
    "cause": "text",
    "evidence": "text",
    "rows_answered": "int",
    "rows_quarantined": "int",
    "rows_repaired": "int",
    "quarantine": "jsonb",
    "http_status": "smallint",
    "error": "text",
    "excerpt": "text",
    "correlation_id": "text",
    "transport": "text",
    "keep_seconds": "float8",
    "records_run": "boolean",
    "jump_share": "float8",
    "stored_before": "int",
}
PREPARE = f"PREPARE finish_with_quotes ({', '.join(PARAMETERS.values())}) AS " + FINISH_WITH_QUOTES % {
    name: f"${number}" for number, name in enumerate(PARAMETERS, start=1)
}
EXECUTE = f"EXECUTE finish_with_quotes ({', '.join(f'%({name})s' for name in PARAMETERS)})"

_staged: weakref.WeakSet[Any] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class Cycle:
    """A finished run as it will be written down. Empty `accepted` means that nothing is stored but the record.

    A stream's batch is stored so, too. It keeps the lease, for `keep_seconds` more; only some batches leave a run, and
    none says how many rows are usual.
    """

    started_at: datetime
    finished_at: datetime
    outcome: str
    error_count: int
    strikes: int
    retry_at: datetime | None
    status: str
    accepted: Sequence[QuoteRow] = ()
    rejected: Sequence[RejectedRow] = ()
    rows_answered: int = 0
    rows_repaired: int = 0
    http_status: int | None = None
    error: str = ""
    excerpt: str = ""
    cause: tuple[str, str] = (GapCause.UNKNOWN, "")
    correlation_id: str = ""
    transport: str = RunTransport.POLL
    keep_seconds: float | None = None
    records_run: bool = True
    stored_before: int = 0  # by batches since the last run
    usual_version: int | None = None  # the market list of which so many rows are usual; None where they are not
    answers: Mapping[str, AnswerState] | None = None  # by kind of market, after this one; None where nothing came
    unknown: UnknownRows | None = None  # None where nobody looked


def finish(permit: Permit, cycle: Cycle) -> int | None:
    """Writes the run down and gives the lease back, unless it keeps it. Returns the number of rows stored, or None when
    the permit was out of date."""
    if not cycle.accepted:
        return _finish(permit, cycle, FINISH_WITHOUT_QUOTES)
    stage = STAGE if _is_pooled() else ""  # the next transaction may be in a session that has neither stage nor plan
    if not stage:
        _ensure_stage()
    try:
        return _finish(permit, cycle, FINISH_WITH_QUOTES if stage else EXECUTE, stage=stage)
    except IntegrityError:  # a moment that this pipeline has in its history: the wall clock was set back
        return _finish(permit, cycle, FINISH_WITH_KNOWN_QUOTES, stage=stage)


def _finish(permit: Permit, cycle: Cycle, statement: str, *, stage: str = "") -> int | None:
    with transaction.atomic(), connection.cursor() as cursor:
        if stage:
            cursor.execute(stage)
        if cycle.accepted:
            with connection.wrap_database_errors:  # Django does so for its own methods only
                cursor.copy_expert(COPY, copy_format.pack(cycle.accepted))
        cursor.execute(statement, _parameters(permit, cycle))
        was_ours, stored, must_correct, have_jumped = cursor.fetchone()
        if must_correct:
            misdated.take_back_overtaken(cycle.finished_at)
            ledger.correct(cursor)
        if have_jumped:
            jumps.confirm(cursor, now=cycle.finished_at, share=settings.RATE_JUMP_SHARE)
    return int(stored) if was_ours else None


def _is_pooled() -> bool:
    """Says whether a pooler stands between us and the server, as far as this thread's connection knows."""
    connection.ensure_connection()
    return bool(getattr(connection, "is_pooled", False))


def _ensure_stage() -> None:
    """Makes this connection's stage, outside of any transaction: a rollback would take it away again.

    The statement is parsed and planned once per connection, which saves a tenth of every poll.
    """
    with connection.cursor() as cursor:
        if cursor.connection not in _staged:
            cursor.execute(STAGE)
            cursor.execute(PREPARE)
            _staged.add(cursor.connection)


def _parameters(permit: Permit, cycle: Cycle) -> dict[str, Any]:
    return {
        "exchange": permit.exchange.id,
        "generation": permit.generation,
        "token": str(permit.token),
        "started_at": cycle.started_at,
        "finished_at": cycle.finished_at,
        "duration_ms": round((cycle.finished_at - cycle.started_at).total_seconds() * 1000),
        "stored_at": cycle.finished_at if cycle.accepted else None,
        "stored_count": None if cycle.keep_seconds else len(cycle.accepted) or None,
        "usual_version": cycle.usual_version if cycle.accepted else None,
        "answers": None if cycle.answers is None else age.written(cycle.answers),
        "old_answers": None if cycle.answers is None else age.written_old(cycle.answers),
        "unknown_rows": cycle.unknown.seen if cycle.unknown else None,
        "accepted_unknown": cycle.unknown.accepted if cycle.unknown else None,
        "unknown_version": cycle.unknown.version if cycle.unknown else None,
        "outcome": cycle.outcome,
        "error_count": cycle.error_count,
        "strikes": cycle.strikes,
        "retry_at": cycle.retry_at,
        "status": cycle.status,
        "cause": cycle.cause[0],
        "evidence": cycle.cause[1],
        "rows_answered": cycle.rows_answered,
        "rows_quarantined": len(cycle.rejected),
        "rows_repaired": cycle.rows_repaired,
        "quarantine": json.dumps(reports.samples(cycle.rejected)),
        "http_status": cycle.http_status,
        "error": reports.clean(cycle.error),
        "excerpt": reports.clean(cycle.excerpt),
        "correlation_id": cycle.correlation_id,
        "transport": cycle.transport,
        "keep_seconds": cycle.keep_seconds,
        "records_run": cycle.records_run,
        "jump_share": settings.RATE_JUMP_SHARE,
        "stored_before": cycle.stored_before,
    }
