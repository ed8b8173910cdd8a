"""What is said of the quality of data: from counts of minutes and the gaps around them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lib import clock

AVAILABLE, DEGRADED, PENDING, MISSING = "available", "degraded", "pending", "missing"
CONDITIONS = (AVAILABLE, DEGRADED, PENDING, MISSING)
MOST_GAPS_NAMED = 100
WORDS = (AVAILABLE, DEGRADED)  # that may be asked for


@dataclass(frozen=True, slots=True)
class Quality:
    """The quality of what was stored of a span, in minutes; `expected` are the stored ones and those that are missing.

    As of a moment (`as_of`) nobody knows what was known of gaps: then every minute is expected, and `open_gap_ids`,
    `worst_cause`, `is_pending` and `is_frozen` are None.
    """

    expected: int
    stored: int
    filled: int
    origins: Mapping[str, int | None]
    has_rows: bool
    open_gap_ids: tuple[int, ...] | None = ()
    worst_cause: str | None = None
    is_pending: bool | None = False
    is_frozen: bool | None = False
    as_of: datetime | None = None
    is_identity_unproven: bool = False  # some of it may be another market's

    @property
    def completeness(self) -> float | None:
        """Returns the share that is there, from 0 to 1; None where nothing was to come."""
        return min(1.0, self.stored / self.expected) if self.expected else None

    @property
    def condition(self) -> str:
        """Returns `missing` without any row, `pending` while a missing minute may still be filled, `degraded` where one
        will not be, values stand still, or rows may be another market's, else `available`."""
        if not self.has_rows:
            return MISSING
        if self.stored < self.expected:
            return PENDING if self.is_pending else DEGRADED
        return DEGRADED if self.is_frozen or self.is_identity_unproven else AVAILABLE

    def meets(self, least: str | float) -> bool:
        """Says whether it is at least a condition (`available` or `degraded`) or a share of what was expected."""
        if least == AVAILABLE:
            return self.condition == AVAILABLE
        if isinstance(least, str):
            return self.condition != MISSING
        return self.completeness is not None and self.completeness >= least

    def body(self) -> dict[str, Any]:
        """Returns the packet that goes with every answer. A share is cut, not rounded: 1.0 means all of it."""
        return {
            "condition": self.condition,
            "completeness": min(1.0, self.stored * 10**6 // self.expected / 1e6) if self.expected else None,
            "expected": self.expected,
            "stored": self.stored,
            "filled": self.filled,
            "origins": dict(self.origins),
            "open_gap_ids": None if self.open_gap_ids is None else list(self.open_gap_ids),
            "worst_cause": self.worst_cause,
            "frozen": self.is_frozen,
            "identity_unproven": self.is_identity_unproven,
            "as_of": clock.microseconds_z(self.as_of) if self.as_of else None,
        }


def parse_least(text: str) -> str | float:
    """Returns what a caller asks for at least. Raises ValueError."""
    if text in WORDS:
        return text
    share = float(text)
    if not 0 <= share <= 1:
        raise ValueError("a share lies between 0 and 1")
    return share
