"""A setting that cannot be meant stops the start, by name."""

from __future__ import annotations

from typing import Any

import pytest

from metrics.checks import check_metrics_settings


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("REGIME_POLICY", {"trend_limt": 0.7}, "metrics.E001"),
        ("REGIME_POLICY", {"trend_limit": -1}, "metrics.E001"),
        ("METRICS_TIMEFRAMES", ["1h", "7h"], "metrics.E002"),
        ("METRICS_MARKETS", ["BTC/USDT"], "metrics.E003"),
        ("REGIME_POLICY", {"least_bars": 251}, "metrics.E004"),
    ],
)
def test_a_wrong_setting_is_named(settings: Any, name: str, value: Any, error: str) -> None:
    setattr(settings, name, value)

    assert [found.id for found in check_metrics_settings()] == [error]


def test_as_many_candles_as_a_verdict_needs_are_enough(settings: Any) -> None:
    settings.REGIME_POLICY, settings.CANDLE_LOOKBACK = {"least_bars": 250}, 250

    assert check_metrics_settings() == []


def test_the_defaults_are_sound() -> None:
    assert check_metrics_settings() == []
