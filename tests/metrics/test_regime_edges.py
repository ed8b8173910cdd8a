"""Each reason to leave a range, at its limit and just beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from metrics.rules import regime
from metrics.rules.indicators import Indicators
from metrics.rules.policy import RegimePolicy
from metrics.rules.regime import Reading

RULES = RegimePolicy()
GOOD = Reading("RANGE_OK", 0.1, 0.5)
SHAKY = Reading("TRANSITION", 0.5, 0.5)
NO_LONGER, EXPANDS = "the price no longer reverts", "volatility expands"
BEYOND = "beyond 2 deviations for 4 bars"
SLOWER, GROWS, RISES, FALLS = (
    "the price reverts more slowly",
    "volatility grows",
    "efficiency rises",
    "confidence falls",
)


def lines(
    *, life: float = 10.0, before: Sequence[float] = (10.0,) * 24, expansion: float = 1.0,
    zscore: Sequence[float] = (0.0,) * 4, efficiency: Sequence[float] = (0.5,) * 4,
) -> Indicators:  # fmt: skip
    """Of 25 bars, calm where nothing else is said."""
    calm = {name: np.zeros(25) for name in Indicators.__dataclass_fields__}
    padded = [0.0] * 21
    return Indicators(
        **calm
        | {
            "half_life": np.array([*before, life]),
            "expansion": np.array([1.0] * 24 + [expansion]),
            "zscore": np.array([*padded, *zscore]),
            "efficiency": np.array([*padded, *efficiency]),
        }
    )


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, ()),
        ({"life": 19.9}, ()),
        ({"life": 20.0}, (NO_LONGER,)),  # twice its baseline
        ({"life": math.nan}, (NO_LONGER,)),
        ({"life": math.nan, "before": [math.nan] * 24}, ()),  # no baseline, no verdict on it
        ({"expansion": 1.25}, ()),
        ({"expansion": 1.26}, (EXPANDS,)),
        ({"expansion": math.nan}, ()),
        ({"zscore": [2.0, 2.0, 2.0, 2.0]}, (BEYOND,)),
        ({"zscore": [-2.0, -2.0, -2.0, -2.0]}, (BEYOND,)),
        ({"zscore": [1.9, 2.5, 2.5, 2.5]}, ()),
        ({"zscore": [-2.0, -2.0, 2.0, 2.0]}, ()),
    ],
)
def test_each_reason_to_leave_at_once(changes: dict[str, object], reasons: tuple[str, ...]) -> None:
    assert regime.latest_reasons(lines(**changes), [GOOD] * 10, 3600, RULES) == reasons  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, ()),
        ({"life": 12.4}, ()),
        ({"life": 12.5}, (SLOWER,)),
        ({"life": math.nan}, ()),
        ({"expansion": 1.09}, ()),
        ({"expansion": 1.1}, (GROWS,)),
        ({"expansion": 1.25}, (GROWS,)),
        ({"expansion": 1.26}, ()),  # that is a reason to leave
        ({"efficiency": [0.1, 0.2, 0.3, 0.4]}, (RISES,)),
        ({"efficiency": [0.2, 0.2, 0.3, 0.4]}, ()),
        ({"efficiency": [math.nan, 0.2, 0.3, 0.4]}, ()),
    ],
)
def test_each_warning(changes: dict[str, object], reasons: tuple[str, ...]) -> None:
    assert regime.warning_reasons(lines(**changes), [GOOD] * 10, RULES) == reasons  # type: ignore[arg-type]


@pytest.mark.parametrize(("shaky", "reasons"), [(1, ()), (2, ("transition probability 0.40",))])
def test_two_of_five_bars_in_transition_are_a_warning(shaky: int, reasons: tuple[str, ...]) -> None:
    readings = [*[SHAKY] * 5, *[GOOD] * (5 - shaky), *[SHAKY] * shaky]

    assert regime.warning_reasons(lines(), readings, RULES) == reasons


@pytest.mark.parametrize(
    ("clarities", "reasons"),
    [([0.9, 0.8, 0.7, 0.6], (FALLS,)), ([0.5, 0.9, 0.8, 0.7, 0.6], (FALLS,)), ([0.8, 0.8, 0.7, 0.6], ()), ([0.9], ())],
)
def test_confidence_must_fall_at_each_of_three_bars(clarities: list[float], reasons: tuple[str, ...]) -> None:
    readings = [Reading("RANGE_OK", 0.1, clarity) for clarity in clarities]

    assert regime.warning_reasons(lines(), readings, RULES) == reasons


@pytest.mark.parametrize(
    ("known", "baseline"), [(11, None), (12, 10.0), (24, 10.0)], ids=["less than half", "half", "all"]
)
def test_half_of_the_bars_before_make_a_baseline(known: int, baseline: float | None) -> None:
    before = [math.nan] * (24 - known) + [10.0] * known

    assert regime.baseline_half_life(lines(before=before, life=99.0), RULES) == baseline


def test_no_verdict_has_no_exit_and_a_trend_only_one() -> None:
    assert regime.exit_state(lines(life=20.0), [Reading(None, None, 0.0)], 3600, RULES) == (None, ())
    assert regime.exit_state(lines(), [Reading("TREND", 0.9, 1.0)], 3600, RULES) == (
        "MANDATORY_EXIT",
        ("the market trends",),
    )
