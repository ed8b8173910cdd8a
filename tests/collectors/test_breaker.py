from datetime import UTC, datetime, timedelta

import pytest

from collectors.rules.breaker import BreakerPolicy, BreakerState, CycleResult, after

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
POLICY = BreakerPolicy(failures_until_open=3, pause_max_seconds=60, throttle_pause_seconds=30, denied_pause_seconds=900)
OTHERS = ("throttled", "held_back", "denied", "not_connected", "unsupported")


def run(
    health: BreakerState,
    outcome: str,
    *,
    retry_after: float | None = None,
    banned: bool = False,
    jitter: float = 0.0,
    policy: BreakerPolicy = POLICY,
) -> BreakerState:
    result = CycleResult(outcome, retry_after, banned)
    return after(health, result, NOW, interval_seconds=10, policy=policy, jitter=jitter)


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
    others = {outcome: run(before, outcome).strikes for outcome in OTHERS}

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


def test_a_told_time_is_kept_as_told():
    """Seven seconds cost the slot in which they end, not the one after it."""
    assert pause(run(BreakerState(), "throttled", retry_after=1)) == 1
    assert pause(run(BreakerState(), "throttled", retry_after=7, jitter=1.0)) == pytest.approx(7.14)
    assert pause(run(BreakerState(), "throttled", retry_after=86_400, jitter=1.0)) == 86_402


def test_bans_without_an_end_double_their_pause_up_to_an_hour():
    health, pauses = BreakerState(), []
    for _ in range(6):
        health = run(health, "throttled", banned=True)
        pauses.append(pause(health))

    assert pauses == [300, 600, 1200, 2400, 3600, 3600]


def test_a_bans_first_pause_is_short_whatever_failed_before():
    assert pause(run(BreakerState(error_count=9, strikes=9), "throttled", banned=True)) == 300


def test_a_ban_with_an_end_is_over_then():
    assert pause(run(BreakerState(error_count=4), "throttled", retry_after=7200, banned=True)) == 7200


def test_a_denied_exchange_is_probed_with_growing_pauses():
    health, pauses = BreakerState(), []
    for _ in range(6):
        health = run(health, "denied")
        pauses.append(pause(health))

    assert pauses == [60, 120, 240, 480, 900, 900]


def test_a_policys_shorter_pause_for_the_denied_holds():
    policy = BreakerPolicy(3, 60, 30, denied_pause_seconds=20)

    assert pause(run(BreakerState(), "denied", policy=policy)) == 20


@pytest.mark.parametrize("outcome", ["unreachable", "bad_reply", "denied", "unsupported"])
def test_whatever_the_outcome_a_told_time_counts(outcome: str):
    assert pause(run(BreakerState(), outcome, retry_after=800)) == 800
    assert pause(run(BreakerState(), "unreachable")) is None


def test_a_told_time_does_not_hurry_an_open_breaker():
    assert pause(run(BreakerState(error_count=2, strikes=2), "unreachable", retry_after=1)) == 20


def test_jitter_only_ever_lengthens_a_pause():
    assert pause(run(BreakerState(strikes=2), "unreachable", jitter=1.0)) == 24
    assert pause(run(BreakerState(), "throttled", retry_after=100, jitter=0.5)) == 101
    assert pause(run(BreakerState(), "throttled", jitter=0.5)) == 33


def test_a_pause_that_is_ours_already_gets_no_second_jitter():
    assert pause(run(BreakerState(), "held_back", retry_after=100, jitter=1.0)) == 100


def test_a_superseded_cycle_says_nothing_about_health():
    before = BreakerState(error_count=2, strikes=1, retry_at=NOW + timedelta(seconds=5))

    assert run(before, "superseded") == before
