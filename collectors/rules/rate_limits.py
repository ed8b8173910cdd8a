"""An exchange's limit, and what of it each kind of request may use. `rate_limits/counting.py` counts by it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Priority(StrEnum):
    """The order in which requests go when not all can. The words are stored."""

    LIVE = "live"  # polls and dials: a slot that is lost is a hole
    SHADOW = "shadow"  # polls beside a stream, books, trades
    CHECK = "check"  # market lists, candles, balances, connectivity
    BACKFILL = "backfill"
    IMPORT = "import"  # history from before we began


# Shares of the usable budget. What a kind may not use stays free for those before it.
SHARES: Mapping[Priority, float] = {
    Priority.LIVE: 1.0,
    Priority.SHADOW: 0.8,
    Priority.CHECK: 0.7,
    Priority.BACKFILL: 0.5,
    Priority.IMPORT: 0.3,
}
USABLE_SHARE = 0.9  # of the limit; the rest is for what nobody counted, such as a retry inside a proxy
RESERVE_SHARE = 0.1  # of the limit, for all processes together, while nobody knows what the others have just used
MARGIN_SECONDS = 0.25  # between our counting and the exchange's; two requests may come closer than they left
BUCKETS = 20  # of a window; a bucket counts until all of it has left
# A window this short is soon empty again: a request that is larger than its share may wait for that.
SHORT_WINDOW_SECONDS = 5.0
LEAST_LOCAL_UNITS = 2.0  # a smaller share is no share: then processes take turns by the clock
USUAL_RATE_MS = 1000.0


@dataclass(frozen=True, slots=True)
class RateBudget:
    """The exchange's limit: `units` in any `seconds`. Most requests cost one unit."""

    units: float
    seconds: float

    @property
    def usable(self) -> float:
        return max(USABLE_SHARE * self.units, min(self.units, 1.0))

    @property
    def span_seconds(self) -> float:
        """Returns for how many seconds a request is counted."""
        return self.seconds + MARGIN_SECONDS

    @property
    def bucket_seconds(self) -> float:
        return self.span_seconds / BUCKETS

    def allowed(self, priority: Priority) -> float:
        return self.usable * SHARES[priority]

    def may_wait_for_empty(self, priority: Priority, cost: float) -> bool:
        """Says whether a request larger than its share is let through when nothing else is in the window."""
        fits = self.span_seconds * max(1.0, cost / self.usable) <= SHORT_WINDOW_SECONDS
        return cost > self.allowed(priority) and (priority is Priority.LIVE or fits)


def budget_of(
    *, set_units: float | None, set_seconds: float, rate_limit_ms: float, window_seconds: float | None
) -> RateBudget:
    """Returns an operator's setting, else what the exchange documents, which without a window holds every second."""
    if set_units is not None:
        return RateBudget(set_units, set_seconds)
    rate_ms = rate_limit_ms if 0 < rate_limit_ms < 3_600_000 else USUAL_RATE_MS
    seconds = window_seconds or max(1.0, rate_ms / 1000)
    return RateBudget(max(1.0, seconds * 1000 / rate_ms), seconds)


# --- alone: while the shared books are out of reach -------------------------------------------------------------


class Grant(NamedTuple):
    """A request that this process let through; `at` is monotonic."""

    at: float
    cost: float


@dataclass(frozen=True, slots=True)
class Outage:
    """The knowledge of one process while it cannot ask.

    `seen_units`: what all had used at the last answer, None when that is older than the window.
    """

    began_at: float
    processes: int
    rank: int
    seen_units: float | None


def wait_alone(
    budget: RateBudget,
    outage: Outage,
    grants: Sequence[Grant],
    *,
    priority: Priority,
    cost: float,
    now: float,
    wall: float,
) -> float:
    """Returns seconds until this process may send, infinite for never. All processes together stay within the budget.

    In the first window after the books were lost the others' last requests still count.
    """
    unknown_for = outage.began_at + budget.span_seconds - now
    if budget.usable / outage.processes < LEAST_LOCAL_UNITS:
        return unknown_for if unknown_for > 0 else _until_turn(budget, outage, grants, priority, cost, now, wall)
    mine = _units_for_all(budget, outage, is_unknown=unknown_for > 0) / outage.processes * SHARES[priority]
    wait = _until_room(budget, grants, mine, cost, now)
    return min(wait, unknown_for) if unknown_for > 0 else wait


def _units_for_all(budget: RateBudget, outage: Outage, *, is_unknown: bool) -> float:
    if not is_unknown:
        return budget.usable
    if outage.seen_units is None:
        return RESERVE_SHARE * budget.units
    return max(0.0, budget.usable - outage.seen_units)


def _until_room(budget: RateBudget, grants: Sequence[Grant], units: float, cost: float, now: float) -> float:
    if cost > units:
        return math.inf
    counted = [grant for grant in grants if grant.at > now - budget.span_seconds]
    excess = sum(grant.cost for grant in counted) + cost - units
    for grant in counted:
        if excess <= 0:
            break
        excess -= grant.cost
        wait = grant.at + budget.span_seconds - now
        if excess <= 0:
            return wait
    return 0.0


def _until_turn(
    budget: RateBudget,
    outage: Outage,
    grants: Sequence[Grant],
    priority: Priority,
    cost: float,
    now: float,
    wall: float,
) -> float:
    """Returns seconds until the first half of this process's slot; the second half keeps it off the next one's."""
    if priority is not Priority.LIVE or cost > budget.usable:
        return math.inf
    half = budget.span_seconds
    cycle = 2 * half * outage.processes
    into_slot = (wall - 2 * half * outage.rank) % cycle
    was_used = bool(grants) and now - grants[-1].at < into_slot + half
    return 0.0 if into_slot < half and not was_used else cycle - into_slot
