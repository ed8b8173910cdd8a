from datetime import UTC, datetime, timedelta

import pytest

from collectors.rules.breaker import BreakerPolicy, BreakerState, CycleResult, after

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
POLICY = BreakerPolicy(failures_until_open=3, pause_max_seconds=60, throttle_pause_seconds=30, denied_pause_seconds=900)


def run(health: BreakerState, outcome: str, *, retry_after: float | None = None, jitter: float = 0.0) -> BreakerState:
    return after(health, CycleResult(outcome, retry_after), NOW, interval_seconds=10, policy=POLICY, jitter=jitter)


def pause(health: BreakerState) -> float | None:
    return None if health.retry_at is None else (health.retry_at - NOW).total_seconds()


def test_a_stored_cycle_forgets_everything():
    ill = BreakerState(error_count=7, strikes=7, retry_at=NOW)

    assert run(ill, "stored") == BreakerState()


@pytest.mark.parametrize(
    ("strikes_before", "expected_pause"),
    [(0, None), (1, None), (2, 20), (3, 40), (4, 60), (40, 60)],
    ids=["first costs its slot", "second too", "third opens", "doubles", "is capped", "stays capped"],
)
def test_pauses_grow_with_failures(strikes_before: int, expected_pause: float | None):
    before = BreakerState(error_count=strikes_before, strikes=strikes_before)

    assert pause(run(before, "unreachable")) == expected_pause


def test_only_what_says_that_the_exchange_is_ill_is_a_strike():
    before = BreakerState(error_count=2, strikes=2)

    strikes = {outcome: run(before, outcome).strikes for outcome in ("unreachable", "bad_reply", "failed")}
    others = {outcome: run(before, outcome).strikes for outcome in ("throttled", "held_back", "denied", "unsupported")}

    assert set(strikes.values()) == {3}
    assert set(others.values()) == {2}


def test_our_own_restraint_waits_for_the_exchanges_pause_and_for_nothing_else():
    assert pause(run(BreakerState(strikes=9), "held_back", retry_after=7)) == 7
    assert pause(run(BreakerState(strikes=9), "held_back")) is None


def test_throttling_waits_as_long_as_asked_and_never_opens_the_breaker():
    health = BreakerState()
    for _ in range(10):
        health = run(health, "throttled", retry_after=47)

    assert pause(health) == 47
    assert (health.error_count, health.strikes) == (10, 0)


def test_throttling_without_a_time_waits_the_policys_time():
    assert pause(run(BreakerState(), "throttled")) == 30


def test_throttling_never_waits_less_than_an_interval():
    assert pause(run(BreakerState(), "throttled", retry_after=1)) == 10


def test_a_denied_exchange_waits_long():
    assert pause(run(BreakerState(), "denied")) == 900


def test_jitter_only_ever_lengthens_a_pause():
    assert pause(run(BreakerState(strikes=2), "unreachable", jitter=1.0)) == 24
    assert pause(run(BreakerState(), "throttled", retry_after=100, jitter=0.5)) == 110


def test_a_superseded_cycle_says_nothing_about_health():
    before = BreakerState(error_count=2, strikes=1, retry_at=NOW + timedelta(seconds=5))

    assert run(before, "superseded") == before
