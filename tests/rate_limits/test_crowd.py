"""Eight processes against an exchange that counts; `make lab` takes Valkey from them."""

from __future__ import annotations

from tests.rate_limits.conftest import LIMIT, WINDOW_SECONDS, Crowd

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
    crowd.wait_for(lambda: 429 in statuses(crowd), seconds=5, what="a refusal")
    refused_at = next(row["at"] for row in crowd.sandbox.requests_of("luno") if row["status"] == 429)

    crowd.wait_for(lambda: bool(crowd.arrivals(since=refused_at + 2)), seconds=10, what="them to come back")

    later = crowd.arrivals(since=refused_at + 1)
    assert later[0] - refused_at >= 2.95
    assert crowd.sandbox.counted("luno")["most"] <= LIMIT


def statuses(crowd: Crowd) -> list[int | None]:
    return [row["status"] for row in crowd.sandbox.requests_of("luno")]
