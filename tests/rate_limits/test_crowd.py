"""Issue 6, point 4: eight processes against a venue that counts."""

from __future__ import annotations

import time
from itertools import pairwise

from tests.rate_limits.conftest import LIMIT, WINDOW_SECONDS, Crowd, most_in_a_window

SOME_SECONDS = 4.0


def test_eight_greedy_processes_stay_within_the_limit_and_live_polls_lose_no_slot(crowd: Crowd) -> None:
    begun, ended = crowd.let_pass(SOME_SECONDS)

    counted = crowd.sandbox.counted("luno")
    assert counted["refused"] == 0
    assert counted["most"] <= LIMIT
    asked = len(crowd.arrivals(since=begun, until=ended))
    assert asked > 0.2 * LIMIT / WINDOW_SECONDS * (ended - begun)  # nor were they held back for nothing
    polls = crowd.outcomes("live", since=begun, until=ended)
    assert polls.count("stored") >= SOME_SECONDS - 1.5
    assert set(polls) == {"stored"}


def test_one_refusal_stops_all_of_them_within_a_second_for_as_long_as_it_says(crowd: Crowd) -> None:
    crowd.sandbox.fault("luno", "status", count=1, params={"code": 429, "retry_after": 3})
    crowd.wait_for(lambda: 429 in _statuses(crowd), seconds=5, what="a refusal")
    refused_at = next(row["at"] for row in crowd.sandbox.requests_of("luno") if row["status"] == 429)

    crowd.wait_for(lambda: bool(crowd.arrivals(since=refused_at + 2)), seconds=10, what="them to come back")

    later = crowd.arrivals(since=refused_at + 1)
    assert later[0] - refused_at >= 2.95
    assert crowd.sandbox.counted("luno")["most"] <= LIMIT


def test_without_valkey_they_stay_within_it_too_with_less_each(crowd: Crowd) -> None:
    before = crowd.let_pass(2.0)
    crowd.stop_valkey()
    time.sleep(2 * WINDOW_SECONDS)
    alone = crowd.let_pass(SOME_SECONDS)
    crowd.start_valkey()
    again = crowd.let_pass(3.0)

    assert most_in_a_window(crowd.arrivals(), WINDOW_SECONDS) <= LIMIT
    assert crowd.sandbox.counted("luno")["refused"] == 0
    rates = [len(crowd.arrivals(since=since, until=until)) / (until - since) for since, until in (before, alone, again)]
    assert 0 < rates[1] < 0.8 * rates[0]
    polls = crowd.outcomes("live", since=alone[0], until=alone[1])
    assert set(polls) == {"stored"}
    assert len(polls) >= SOME_SECONDS - 1.5
    assert rates[2] > rates[1]


def test_without_valkey_a_refusal_still_stops_all(crowd: Crowd) -> None:
    crowd.stop_valkey()
    time.sleep(2 * WINDOW_SECONDS)
    crowd.sandbox.fault("luno", "status", count=1, params={"code": 429, "retry_after": 3})
    crowd.wait_for(lambda: 429 in _statuses(crowd), seconds=5, what="a refusal")
    refused_at = next(row["at"] for row in crowd.sandbox.requests_of("luno") if row["status"] == 429)

    crowd.wait_for(lambda: bool(crowd.arrivals(since=refused_at + 2)), seconds=10, what="them to come back")

    moments = [refused_at, *crowd.arrivals(since=refused_at + 1)]
    assert next(later - sooner for sooner, later in pairwise(moments)) >= 2.95


def _statuses(crowd: Crowd) -> list[int | None]:
    return [row["status"] for row in crowd.sandbox.requests_of("luno")]
