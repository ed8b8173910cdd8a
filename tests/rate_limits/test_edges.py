"""Each rule of the ledger at its edge and just beside it: what is let through, and for how long the rest waits."""

from __future__ import annotations

import math

import pytest

from collectors.rate_limits.memory import Memory, RememberedUsage
from collectors.rules.rate_limits import Grant, Outage, Priority, RateBudget, budget_of, wait_alone
from lib.valkey import AWAY_SECONDS

LUNO = RateBudget(20, 1.0)  # 18 are usable; each is counted for 1.25 s
SINGLE = RateBudget(1, 1.0)
LIVE, SHADOW, CHECK, BACKFILL, _ = Priority
NOW = 100.0
LONG_AGO = Outage(began_at=0.0, processes=1, rank=0, seen_units=None)


# --- the budget -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate_limit_ms", "window", "budget"),
    [
        (-1, None, RateBudget(1, 1)),  # nonsense is one in a second
        (0, None, RateBudget(1, 1)),
        (1, None, RateBudget(1000, 1)),
        (999, None, RateBudget(1000 / 999, 1)),
        (2000, None, RateBudget(1, 2)),
        (3_599_000, None, RateBudget(1, 3599)),
        (3_600_000, None, RateBudget(1, 1)),  # an hour between two requests is nobody's limit
        (math.inf, None, RateBudget(1, 1)),
        (500, 0.0, RateBudget(2, 1)),  # no window
        (120_000, 60.0, RateBudget(1, 60)),  # less than one in a window is one
    ],
)
def test_what_a_client_says_at_the_edges_of_what_is_believed(
    rate_limit_ms: float, window: float | None, budget: RateBudget
) -> None:
    found = budget_of(set_units=None, set_seconds=60, rate_limit_ms=rate_limit_ms, window_seconds=window)

    assert (found.units, found.seconds) == pytest.approx((budget.units, budget.seconds))


def test_an_operator_may_allow_less_than_one() -> None:
    assert budget_of(set_units=0.5, set_seconds=3, rate_limit_ms=50, window_seconds=None) == RateBudget(0.5, 3)


@pytest.mark.parametrize(
    ("units", "usable"), [(0.5, 0.5), (1, 1), (1.05, 1), (10 / 9, 1), (2, 1.8), (10, 9), (1200, 1080)]
)
def test_nine_tenths_are_usable_but_always_a_single_request(units: float, usable: float) -> None:
    assert RateBudget(units, 1.0).usable == pytest.approx(usable)


def test_the_shares_of_each_kind() -> None:
    assert [LUNO.allowed(priority) for priority in Priority] == pytest.approx([18, 14.4, 12.6, 9, 5.4])


def test_a_request_is_counted_a_little_longer_than_the_window_in_twenty_buckets() -> None:
    assert (LUNO.span_seconds, LUNO.bucket_seconds) == (1.25, 0.0625)


@pytest.mark.parametrize(
    ("budget", "priority", "cost", "may"),
    [
        (LUNO, BACKFILL, 9, False),  # its share: the usual way
        (LUNO, BACKFILL, 9.1, True),
        (LUNO, BACKFILL, 72, True),  # four windows of 1.25 s are 5 s
        (LUNO, BACKFILL, 72.1, False),
        (LUNO, LIVE, 18, False),
        (LUNO, LIVE, 72.1, True),
        (RateBudget(1, 4.75), CHECK, 1, True),  # 5 s with the margin
        (RateBudget(1, 4.76), CHECK, 1, False),
        (RateBudget(1, 4.76), LIVE, 1.1, True),
        (RateBudget(10, 6.0), BACKFILL, 5, False),  # a whole window, however little of it
    ],
)
def test_what_is_larger_than_its_share_may_wait_for_a_window_that_is_soon_empty(
    budget: RateBudget, priority: Priority, cost: float, may: bool
) -> None:
    assert budget.may_wait_for_empty(priority, cost) is may


# --- alone, after a window: a share of its own --------------------------------------------------------------------


def wait(
    grants: list[tuple[float, float]],
    cost: float = 1,
    *,
    priority: Priority = LIVE,
    outage: Outage = LONG_AGO,
    budget: RateBudget = LUNO,
    wall: float = 0.0,
) -> float:
    made = [Grant(*each) for each in grants]
    return wait_alone(budget, outage, made, priority=priority, cost=cost, now=NOW, wall=wall)


@pytest.mark.parametrize(
    ("grants", "cost", "seconds"),
    [
        ([], 18, 0),
        ([], 18.1, math.inf),  # never fits
        ([(99.5, 17)], 1, 0),  # fits exactly
        ([(99.5, 18)], 1, 0.75),
        ([(98.75, 18)], 1, 0),  # just left
        ([(98.76, 18)], 1, 0.01),
        ([(99.0, 9), (99.5, 9)], 9, 0.25),  # the oldest must go
        ([(99.0, 9), (99.5, 9)], 9.5, 0.75),  # both must
        ([(90.0, 500), (99.0, 9), (99.5, 9)], 9, 0.25),  # what has left long ago is nothing to wait for
    ],
)
def test_room_is_made_by_what_leaves_the_window(grants: list[tuple[float, float]], cost: float, seconds: float) -> None:
    assert wait(grants, cost) == pytest.approx(seconds)


@pytest.mark.parametrize(("priority", "units"), [(LIVE, 18), (SHADOW, 14), (CHECK, 12), (BACKFILL, 9)])
def test_each_kind_stops_at_its_own_share(priority: Priority, units: int) -> None:
    assert wait([(99.5, units - 1)], priority=priority) == 0
    assert wait([(99.5, units)], priority=priority) == pytest.approx(0.75)


def test_a_share_is_divided_by_the_processes() -> None:
    two = Outage(began_at=0.0, processes=2, rank=0, seen_units=None)

    assert wait([(99.5, 8)], outage=two) == 0
    assert wait([(99.5, 9)], outage=two) == pytest.approx(0.75)
    assert wait([], 9.1, outage=two) == math.inf


# --- alone, in the first window: what the others have used still counts -------------------------------------------


@pytest.mark.parametrize(
    ("seen", "used", "cost", "seconds"),
    [
        (None, 0, 2, 0),  # a tenth of the limit is kept for this
        (None, 1, 1, 0),
        (None, 2, 1, 0.5),  # the end of the unknown comes before its own have left
        (None, 0, 2.1, 0.5),
        (15, 0, 3, 0),
        (15, 0, 3.1, 0.5),
        (18, 0, 1, 0.5),
        (25, 0, 1, 0.5),  # more was used than we would
        (0, 0, 18, 0),
        (0, 17, 1, 0),
        (0, 18, 1, 0.5),
    ],
)
def test_in_the_first_window_only_what_surely_is_left(
    seen: float | None, used: float, cost: float, seconds: float
) -> None:
    young = Outage(began_at=NOW + 0.5 - LUNO.span_seconds, processes=1, rank=0, seen_units=seen)

    assert wait([(99.9, used)], cost, outage=young) == pytest.approx(seconds)


def test_the_sooner_of_room_and_knowledge_ends_the_wait() -> None:
    young = Outage(began_at=NOW + 0.5 - LUNO.span_seconds, processes=1, rank=0, seen_units=None)

    assert wait([(98.85, 2)], outage=young) == pytest.approx(0.1)


def test_the_first_window_ends_to_the_moment() -> None:
    just_over = Outage(began_at=NOW - LUNO.span_seconds, processes=1, rank=0, seen_units=18)

    assert wait([], 18, outage=just_over) == 0
    assert wait([], 19, outage=just_over) == math.inf


# --- alone, with too little for each: turns by the clock -----------------------------------------------------------


def test_turns_begin_below_two_units_each() -> None:
    nine, ten = (Outage(began_at=0.0, processes=number, rank=0, seen_units=None) for number in (9, 10))

    assert wait([], 2, outage=nine) == 0
    assert wait([], 3, outage=nine) == math.inf
    assert wait([], 3, outage=ten, wall=0.0) == 0  # a turn is for a whole request
    assert wait([], 1, outage=ten, wall=1.25) == pytest.approx(10 * 2.5 - 1.25)


@pytest.mark.parametrize(
    ("rank", "wall", "seconds"),
    [
        (0, 0.0, 0),
        (0, 1.24, 0),
        (0, 1.25, 3.75),  # the second half of a slot is nobody's
        (0, 2.5, 2.5),
        (0, 4.99, 0.01),
        (0, 5.0, 0),
        (1, 0.0, 2.5),
        (1, 2.5, 0),
        (1, 3.74, 0),
        (1, 3.75, 3.75),
        (1, 1e9, 2.5),
    ],
)
def test_two_processes_take_turns_of_two_spans(rank: int, wall: float, seconds: float) -> None:
    outage = Outage(began_at=0.0, processes=2, rank=rank, seen_units=None)

    assert wait([], outage=outage, budget=SINGLE, wall=wall) == pytest.approx(seconds)


def test_turns_follow_the_ranks() -> None:
    three = [Outage(began_at=0.0, processes=3, rank=rank, seen_units=None) for rank in range(3)]

    assert [wait([], outage=outage, budget=SINGLE) for outage in three] == pytest.approx([0, 2.5, 5.0])


@pytest.mark.parametrize(
    ("last_at", "seconds"),
    [(97.75, 0), (97.76, 4.0), (99.5, 4.0)],
    ids=["of the turn before", "too near to this one", "of this turn"],
)
def test_a_turn_is_used_once(last_at: float, seconds: float) -> None:
    outage = Outage(began_at=0.0, processes=2, rank=0, seen_units=None)

    assert wait([(80.0, 1), (last_at, 1)], outage=outage, budget=SINGLE, wall=1.0) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("priority", "cost", "seconds"),
    [(LIVE, 1, 0), (LIVE, 1.1, math.inf), (SHADOW, 1, math.inf), (CHECK, 1, math.inf), (BACKFILL, 1, math.inf)],
)
def test_turns_are_for_polls_that_fit(priority: Priority, cost: float, seconds: float) -> None:
    outage = Outage(began_at=0.0, processes=2, rank=0, seen_units=None)

    assert wait([], cost, priority=priority, outage=outage, budget=SINGLE) == seconds


def test_no_turn_in_the_first_window() -> None:
    young = Outage(began_at=NOW - 1.0, processes=2, rank=0, seen_units=None)
    over = Outage(began_at=NOW - SINGLE.span_seconds, processes=2, rank=0, seen_units=None)

    assert wait([], outage=young, budget=SINGLE) == pytest.approx(0.25)
    assert wait([], outage=over, budget=SINGLE) == 0
    assert wait([], outage=over, budget=SINGLE, wall=1.25) == pytest.approx(3.75)


# --- what a process remembers --------------------------------------------------------------------------------------


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock: its only number is now."""
    moment = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: moment[0])
    return moment


def test_an_outage_begins_with_its_first_failure_and_ends_with_an_answer(at: list[float]) -> None:
    memory = Memory(least_processes=1)
    assert memory.valkey.is_worth_a_try()

    assert memory.lost()
    assert not memory.valkey.is_worth_a_try()
    at[0] += AWAY_SECONDS
    assert memory.valkey.is_worth_a_try()
    assert not memory.lost()
    assert memory.began_at == 1000.0

    memory.found()
    assert memory.lost()
    assert memory.began_at == at[0]


@pytest.mark.parametrize(("age", "seen"), [(0.0, 7.0), (1.24, 7.0), (1.25, None), (9.0, None)])
def test_what_all_had_used_is_believed_for_a_window(at: list[float], age: float, seen: float | None) -> None:
    memory = Memory(least_processes=1, pages={"luno": RememberedUsage(seen_units=7.0, seen_at=at[0] - age)})
    memory.lost()

    assert memory.outage("luno", LUNO).seen_units == seen


@pytest.mark.parametrize(
    ("least", "told", "rank", "expected"), [(6, 2, 1, (6, 1)), (1, 8, 5, (8, 5)), (4, 4, 9, (4, 1)), (1, 1, 0, (1, 0))]
)
def test_as_many_processes_as_were_told_of_and_never_fewer_than_there_must_be(
    least: int, told: int, rank: int, expected: tuple[int, int]
) -> None:
    memory = Memory(least_processes=least, processes=told, rank=rank)

    outage = memory.outage("luno", LUNO)

    assert (outage.processes, outage.rank) == expected


def test_who_never_heard_of_its_rank_takes_one_by_its_name() -> None:
    memory = Memory(least_processes=1000)

    first = memory.outage("luno", LUNO).rank

    assert 0 <= first < 1000
    assert memory.outage("luno", LUNO).rank == first
