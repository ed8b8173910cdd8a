"""What the limit allows, without a server."""

from __future__ import annotations

import math

import pytest

from collectors.rules.rate_limits import (
    LEAST_LOCAL_UNITS,
    MARGIN_SECONDS,
    SHARES,
    Grant,
    Outage,
    Priority,
    RateBudget,
    budget_of,
    wait_alone,
)

KRAKEN = RateBudget(10, 10.0)
LUNO = RateBudget(20, 1.0)
SINGLE = RateBudget(1, 1.0)


def test_what_an_operator_has_set_goes_before_what_the_client_says() -> None:
    assert budget_of(set_units=7, set_seconds=3, rate_limit_ms=50, window_seconds=60) == RateBudget(7, 3)


@pytest.mark.parametrize(
    ("rate_limit_ms", "window", "budget"),
    [
        (50, 60.0, RateBudget(1200, 60)),  # binance
        (1000, 10.0, KRAKEN),
        (100, None, RateBudget(10, 1)),  # no window is known: in every second
        (3000, None, RateBudget(1, 3)),
        (0, None, SINGLE),  # no limit is none that we believe
        (math.nan, None, SINGLE),
    ],
)
def test_what_the_client_says_is_a_number_of_units_in_a_window(
    rate_limit_ms: float, window: float | None, budget: RateBudget
) -> None:
    assert budget_of(set_units=None, set_seconds=60, rate_limit_ms=rate_limit_ms, window_seconds=window) == budget


def test_each_kind_leaves_room_for_those_before_it() -> None:
    shares = [SHARES[priority] for priority in Priority]
    assert shares == sorted(shares, reverse=True)
    assert LUNO.allowed(Priority.BACKFILL) < LUNO.allowed(Priority.LIVE) == LUNO.usable < LUNO.units


def test_a_single_request_is_always_within_a_limit_of_one() -> None:
    assert SINGLE.usable == 1
    assert SINGLE.may_wait_for_empty(Priority.BACKFILL, 1)
    assert not RateBudget(1, 10).may_wait_for_empty(Priority.BACKFILL, 1)  # a poll could not wait for that
    assert RateBudget(1, 10).may_wait_for_empty(Priority.LIVE, 5)


# --- alone ------------------------------------------------------------------------------------------------------


def run_alone(
    budget: RateBudget, *, processes: int, seconds: float, priority: Priority, seen: float | None = None
) -> list[float]:
    """When greedy processes, all alone since second 0, send their requests."""
    outages = [Outage(0.0, processes, rank, seen) for rank in range(processes)]
    grants: list[list[Grant]] = [[] for _ in outages]
    for tick in range(int(seconds / 0.05)):
        now = tick * 0.05
        for outage, mine in zip(outages, grants, strict=True):
            if wait_alone(budget, outage, mine, priority=priority, cost=1, now=now, wall=1e9 + now) <= 0:
                mine.append(Grant(now, 1))
    return sorted(grant.at for mine in grants for grant in mine)


def most(moments: list[float], seconds: float) -> int:
    return max((sum(1 for m in moments if at <= m < at + seconds) for at in moments), default=0)


@pytest.mark.parametrize("budget", [KRAKEN, LUNO, SINGLE, RateBudget(1200, 60.0), RateBudget(3, 0.5)], ids=str)
@pytest.mark.parametrize("processes", [1, 2, 8, 9, 30])
def test_processes_that_cannot_ask_each_other_stay_within_the_limit_together(
    budget: RateBudget, processes: int
) -> None:
    seconds = max(6 * budget.seconds, 2.5 * processes * (budget.seconds + MARGIN_SECONDS))

    moments = run_alone(budget, processes=processes, seconds=min(seconds, 130.0), priority=Priority.LIVE)

    assert moments
    assert most(moments, budget.seconds) <= budget.units


def test_nobody_knows_at_first_what_the_others_have_just_used() -> None:
    seen_all = run_alone(LUNO, processes=8, seconds=1.2, priority=Priority.LIVE, seen=LUNO.usable)
    seen_little = run_alone(LUNO, processes=4, seconds=1.2, priority=Priority.LIVE, seen=2)

    assert seen_all == []
    assert 0 < len(seen_little) <= LUNO.usable - 2


def test_each_has_its_share_after_that() -> None:
    live = run_alone(LUNO, processes=8, seconds=11.25, priority=Priority.LIVE)
    backfill = run_alone(LUNO, processes=8, seconds=11.25, priority=Priority.BACKFILL)

    assert len(live) >= 100  # two of 18/8 in every window of 1.25 s, for each
    assert len(live) == 2 * len(backfill)


def test_a_share_too_small_is_taken_in_turns_and_only_by_polls() -> None:
    assert KRAKEN.usable / 8 < LEAST_LOCAL_UNITS
    polls = run_alone(KRAKEN, processes=8, seconds=400, priority=Priority.LIVE)

    assert len(polls) >= 16
    assert run_alone(KRAKEN, processes=8, seconds=100, priority=Priority.BACKFILL) == []


def test_what_is_larger_than_ones_share_is_not_sent() -> None:
    outage = Outage(0.0, 8, 0, None)
    assert wait_alone(LUNO, outage, [], priority=Priority.LIVE, cost=3, now=9.0, wall=9.0) == math.inf
