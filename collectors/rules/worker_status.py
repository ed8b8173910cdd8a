"""The status of a worker: pure readings of stored timestamps at a given moment."""

from __future__ import annotations

from datetime import datetime

from collectors.rules.snapshot import WorkerFacts, WorkerView
from lib.clock import FUTURE_SECONDS

ERRORS_UNTIL_ERROR = 3
SILENCE_FLOOR_SECONDS = 120.0  # the worker status API calls data older than 2 minutes stale
SILENCE_INTERVALS = 3


def silence_limit_seconds(interval_seconds: float) -> float:
    """Returns how many seconds a worker may go without finishing a run before it counts as dead."""
    return max(SILENCE_INTERVALS * interval_seconds, SILENCE_FLOOR_SECONDS)


def worker_status(facts: WorkerFacts, now: datetime) -> tuple[str, str]:
    """Returns the worker's status and the reason in words. Liveness is proven by finished runs, never by a ping."""
    if not facts.is_collected:
        return "stopped", "switched off or blacklisted by an operator"
    if facts.error_count >= ERRORS_UNTIL_ERROR:
        return "error", f"{facts.error_count} failed runs in a row: {facts.last_error}"
    if facts.is_paused:
        return "error", facts.last_error
    alive_at = max(facts.heartbeat_at or facts.resumed_at, facts.resumed_at)
    silent_seconds = (now - alive_at).total_seconds()
    if silent_seconds < -FUTURE_SECONDS:
        return "error", f"its last sign of life is stamped {-silent_seconds:.0f} s in the future"
    if silent_seconds > silence_limit_seconds(facts.interval_seconds):
        return "error", f"no run finished for {int(silent_seconds)} s"
    if facts.heartbeat_at is None or facts.heartbeat_at < facts.resumed_at:
        return "stopped", "waiting to start"
    return "running", ""


def view(facts: WorkerFacts, now: datetime) -> WorkerView:
    status, reason = worker_status(facts, now)
    stored_at = _believable(facts.stored_at, now)
    made_at = max(answer.made_at for answer in facts.old) if facts.old and facts.is_all_old else None
    return WorkerView(
        exchange=facts.exchange,
        status=status,
        reason=reason,
        stored_at=stored_at,
        heartbeat_at=_believable(facts.heartbeat_at, now),
        error_count=facts.error_count,
        symbols_tracked=facts.symbols_tracked,
        is_collected=facts.is_collected,
        missing_markets=facts.missing_markets if facts.is_collected else 0,
        left_out_markets=facts.left_out_markets if facts.is_collected else 0,
        data_at=min(stored_at, made_at) if stored_at and made_at else stored_at,
        old=facts.old if facts.is_collected else (),
    )


def _believable(moment: datetime | None, now: datetime) -> datetime | None:
    """Returns the moment; None for one in the future, which a clock that ran ahead has written."""
    return None if moment is not None and (moment - now).total_seconds() > FUTURE_SECONDS else moment
