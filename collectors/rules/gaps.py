"""The rule of what a gap is and how much it misses; `gaps/ledger/` carries it out in SQL, `gap_causes` says why."""

from __future__ import annotations

from datetime import datetime
from math import log2

# The pipelines API, made exact: a distance between stored points of more than two expected intervals.
GAP_INTERVALS = 2.0
# In SQL: how many points should have been stored between two moments, at least one. As `missed` says in Python.
MISSED = "greatest(1, round(extract(epoch FROM {end} - {start}) / {expected}) - 1)::int"
# The same of a gap's row: while it lasts up to now, and then what was counted at its end.
MISSED_BY_NOW = (
    "CASE WHEN {gap}.ended_at IS NULL THEN "
    + MISSED.format(start="{gap}.started_at", end="%(now)s", expected="{expected}")
    + " ELSE {gap}.missed_count END"
)
LOOKS_IN_A_LENGTH = 20  # at least, at the cause of a silence that lasts: of each all its runs are read


def is_gap(started_at: datetime, ended_at: datetime, expected_seconds: float) -> bool:
    return (ended_at - started_at).total_seconds() > GAP_INTERVALS * expected_seconds


def missed(started_at: datetime, until: datetime, expected_seconds: float) -> int:
    """Returns how many points should have been stored in a silence up to a moment, at least one."""
    return max(1, round((until - started_at).total_seconds() / expected_seconds) - 1)


def is_looked_at_again(started_at: datetime, minute: datetime) -> bool:
    """Says whether the cause of a silence that lasts is judged anew in this minute: in each, from forty minutes on
    in every second one, then in every fourth, eighth: the longer it is, the less another minute can change."""
    minutes = (minute - started_at).total_seconds() / 60
    every = 1 << int(log2(max(1.0, minutes / LOOKS_IN_A_LENGTH)))
    return int(minute.timestamp()) // 60 % every == 0
