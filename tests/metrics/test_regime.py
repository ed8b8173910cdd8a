"""The rules as sentences, on series whose nature is known."""

from __future__ import annotations

import dataclasses
import random

import pytest

from metrics.rules import regime
from metrics.rules.indicators import Bar
from metrics.rules.policy import RegimePolicy, UnknownNumber, changes_of, with_changes
from metrics.rules.regime import Assessment, Reading
from tests.metrics.series import bars_of, breaking_out, dying_range, ranging, trending, window_of

RULES = RegimePolicy()


def assess(closes: list[float], **changes: float) -> Assessment:
    return regime.assess(window_of(bars_of(closes)), dataclasses.replace(RULES, **changes))  # type: ignore[arg-type]


def test_a_range_is_a_range() -> None:
    found = assess(ranging())

    assert found.verdict == "RANGE_OK"
    assert found.exit_state == "NORMAL"
    assert found.exit_reasons == ()
    assert found.confidence is not None
    assert found.confidence > 0.8
    assert found.lower_bound is not None
    assert found.upper_bound is not None
    assert found.lower_bound < 100 < found.upper_bound


def test_a_trend_is_a_trend_and_must_be_left() -> None:
    found = assess(trending())

    assert found.verdict == "TREND"
    assert found.exit_state == "MANDATORY_EXIT"
    assert found.exit_reasons == ("the market trends",)


def test_a_breakout_is_first_a_warning_then_the_latest_exit_then_a_mandatory_one() -> None:
    found = [assess(breaking_out(bars)) for bars in (1, 3, 5, 6)]

    assert [each.exit_state for each in found] == ["NORMAL", "WARNING", "LATEST_ACCEPTABLE_EXIT", "MANDATORY_EXIT"]
    assert [each.verdict for each in found] == ["RANGE_OK", "RANGE_OK", "TRANSITION", "TREND"]


def test_a_dying_range_is_noticed_before_it_is_a_trend() -> None:
    found = assess(dying_range(seed=7))

    assert found.verdict == "RANGE_WEAK"
    assert found.exit_state == "WARNING"
    assert "the price reverts more slowly" in found.exit_reasons


@pytest.mark.parametrize(
    ("score", "expansion", "half_life", "verdict"),
    [
        (0.65, 1.0, 5.0, "TREND"),
        (0.6499, 1.0, 5.0, "TRANSITION"),
        (0.40, 1.0, 5.0, "TRANSITION"),
        (0.3999, 1.0, 5.0, "RANGE_WEAK"),
        (0.10, 1.2501, 5.0, "TRANSITION"),
        (0.10, 1.25, 5.0, "RANGE_OK"),
        (0.25, 1.0, 5.0, "RANGE_WEAK"),
        (0.2499, 1.0, 23.9, "RANGE_OK"),
        (0.2499, 1.0, 24.0, "RANGE_WEAK"),
        (0.0, 1.0, None, "RANGE_WEAK"),
        (0.0, None, 5.0, "RANGE_OK"),
    ],
)
def test_the_limits_of_verdicts(score: float, expansion: float, half_life: float, verdict: str) -> None:
    assert regime.verdict_of(score, expansion, half_life, RULES) == verdict


@pytest.mark.parametrize(
    ("verdict", "score", "clarity"),
    [
        ("TREND", 0.65, 0.0),
        ("TREND", 1.0, 1.0),
        ("TRANSITION", 0.525, 1.0),
        ("TRANSITION", 0.41, 0.08),
        ("TRANSITION", 0.10, 0.0),  # decided by volatility
        ("RANGE_WEAK", 0.325, 1.0),
        ("RANGE_OK", 0.25, 0.0),
        ("RANGE_OK", 0.0, 1.0),
    ],
)
def test_clarity_is_the_distance_to_the_limit_that_would_change_the_verdict(
    verdict: str, score: float, clarity: float
) -> None:
    assert regime.clarity(verdict, score, RULES) == pytest.approx(clarity)


@pytest.mark.parametrize(("count", "is_enough"), [(59, False), (60, True)])
def test_sixty_closed_candles_are_needed(count: int, is_enough: bool) -> None:
    found = regime.assess(window_of(bars_of(ranging(count))), RULES)

    assert found.insufficient_data is not is_enough
    assert (found.verdict is not None) is is_enough
    assert (found.error == "") is is_enough
    if not is_enough:
        assert set(found.metrics.values()) == {None}


@pytest.mark.parametrize("seed", range(40))
def test_a_hole_never_raises_confidence(seed: int) -> None:
    chance = random.Random(seed)
    bars = bars_of(ranging(seed=seed) if seed % 2 else trending())
    whole = regime.assess(window_of(bars), RULES)
    lost = set(chance.sample(range(1, 200), chance.randint(1, 120)))
    torn = window_of([bar for n, bar in enumerate(reversed(bars)) if n not in lost][::-1])

    found = regime.assess(torn, RULES)

    assert found.confidence is not None
    assert whole.confidence is not None
    assert found.confidence <= whole.confidence
    assert found.missing_share == pytest.approx(len(lost) / 200)


@pytest.mark.parametrize("count", [3, 10, 60, 150])
def test_a_frozen_feed_never_raises_confidence(count: int) -> None:
    bars = list(bars_of(ranging()))
    stuck = bars[-count]
    frozen = [*bars[:-count], *(stuck._replace(opened_at=bar.opened_at) for bar in bars[-count:])]

    whole, found = (regime.assess(window_of(each), RULES) for each in (bars, frozen))

    assert found.frozen_share == pytest.approx((count - 1) / 200)
    assert (found.confidence or 0.0) <= (whole.confidence or 0.0)


def test_backfilled_candles_are_counted_and_raise_nothing() -> None:
    bars = bars_of(ranging())
    late = [bar._replace(is_backfilled=True) for bar in bars]

    whole, found = (regime.assess(window_of(each), RULES) for each in (bars, late))

    assert (found.backfilled_share, whole.backfilled_share) == (1.0, 0.0)
    assert (found.confidence or 0.0) <= (whole.confidence or 0.0)


def test_a_price_that_never_moves_gives_no_verdict() -> None:
    still = tuple(Bar(float(n * 3600), 5.0, 5.0, 5.0, 5.0) for n in range(200))

    found = regime.assess(window_of(still), RULES)

    assert found.verdict is None
    assert found.confidence is None
    assert found.exit_state is None
    assert "does not move" in found.error


def test_the_same_bars_give_the_same_answer_and_hash() -> None:
    assert assess(dying_range()) == assess(dying_range())


def test_one_changed_price_or_number_changes_the_hash() -> None:
    changed = ranging()
    changed[-1] += 1e-9

    hashes = {
        assess(ranging()).inputs_hash,
        assess(changed).inputs_hash,
        assess(ranging(), trend_limit=0.7).inputs_hash,
    }

    assert len(hashes) == 3


@pytest.mark.parametrize(("period", "bars"), [(3600, 4), (14_400, 2)], ids=["1 h", "4 h"])
def test_a_transition_that_lasts_is_the_latest_acceptable_exit(period: int, bars: int) -> None:
    calm = regime.indicators.read(bars_of(ranging()), RULES)
    readings = [Reading("RANGE_OK", 0.1, 1.0)] * 10 + [Reading("TRANSITION", 0.5, 0.5)] * bars

    assert any("TRANSITION" in word for word in regime.latest_reasons(calm, readings, period, RULES))
    assert not any("TRANSITION" in word for word in regime.latest_reasons(calm, readings[:-1], period, RULES))


def test_one_sign_is_no_warning_and_two_are() -> None:
    calm = regime.indicators.read(bars_of(ranging()), RULES)
    rising = [Reading("RANGE_OK", 0.1, clarity) for clarity in (0.5, 0.6, 0.7, 0.8)]
    falling = [Reading("RANGE_OK", 0.1, clarity) for clarity in (0.8, 0.7, 0.6, 0.5)]
    shaky = [Reading("TRANSITION", 0.5, each.clarity) if n < 2 else each for n, each in enumerate(falling)]

    states = [regime.exit_state(calm, each, 3600, RULES)[0] for each in (rising, falling, shaky)]

    assert states == ["NORMAL", "NORMAL", "WARNING"]


def test_every_number_can_be_changed_by_a_setting() -> None:
    policy = with_changes({"trend_limit": 0.7, "least_bars": 80})

    assert (policy.trend_limit, policy.least_bars) == (0.7, 80)
    assert changes_of(policy) == {"trend_limit": 0.7, "least_bars": 80}


@pytest.mark.parametrize("changes", [{"trendlimit": 0.7}, {"trend_limit": "high"}, {"trend_limit": 0}])
def test_a_number_that_is_not_there_or_makes_no_sense_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UnknownNumber, match="trend"):
        with_changes(changes)
