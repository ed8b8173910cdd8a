"""Eight processes against an exchange that counts, without the counts that they share."""

from __future__ import annotations

import time
from itertools import pairwise

from tests.rate_limits.conftest import LIMIT, WINDOW_SECONDS, Crowd, crowd, most_in_a_window
from tests.rate_limits.test_crowd import SOME_SECONDS, statuses

__all__ = ["crowd"]


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
    crowd.wait_for(lambda: 429 in statuses(crowd), seconds=5, what="a refusal")
    refused_at = next(row["at"] for row in crowd.sandbox.requests_of("luno") if row["status"] == 429)

    crowd.wait_for(lambda: bool(crowd.arrivals(since=refused_at + 2)), seconds=10, what="them to come back")

    moments = [refused_at, *crowd.arrivals(since=refused_at + 1)]
    assert next(later - sooner for sooner, later in pairwise(moments)) >= 2.95
