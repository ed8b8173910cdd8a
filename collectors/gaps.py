"""What is a gap? The rule in words and numbers; `store.py` and `sweep.py` carry it out in SQL with these constants."""

from __future__ import annotations

from datetime import datetime

# contracts.md 4: a distance between stored points of more than two expected intervals.
GAP_INTERVALS = 2.0


def is_gap(started_at: datetime, ended_at: datetime, expected_seconds: float) -> bool:
    return (ended_at - started_at).total_seconds() > GAP_INTERVALS * expected_seconds


def missed_count(started_at: datetime, ended_at: datetime, expected_seconds: float) -> int:
    """How many points should have been stored between the two, at least one."""
    return max(1, round((ended_at - started_at).total_seconds() / expected_seconds) - 1)


def cause_of(last_outcome: str) -> tuple[str, str]:
    """Why a pipeline is silent although its worker finishes cycles: the cause, and the evidence in words."""
    if last_outcome == "throttled":
        return "rate limited", "the exchange asked us to wait"
    if last_outcome in ("unreachable", "bad_reply"):
        return "exchange outage", f"the last cycle ended {last_outcome}"
    if last_outcome in ("failed", "denied"):
        return "unknown", f"the last cycle ended {last_outcome}"
    return "unknown", "cycles were stored, this market was not in them or was quarantined"
