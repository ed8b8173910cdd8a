"""Against values that others have published, and against hand-made series whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import talib

from metrics import indicators
from metrics.policy import Policy
from tests.metrics.series import bars_of, ranging

# StockCharts ChartSchool's worksheet "ATR" (QQQ): high, low, close, and its 14-day ATR from the 14th day on.
ATR_SHEET = [
    (48.70, 47.79, 48.16), (48.72, 48.14, 48.61), (48.90, 48.39, 48.75), (48.87, 48.37, 48.63),
    (48.82, 48.24, 48.74), (49.05, 48.64, 49.03), (49.20, 48.94, 49.07), (49.35, 48.86, 49.32),
    (49.92, 49.50, 49.91), (50.19, 49.87, 50.13), (50.12, 49.20, 49.53), (49.66, 48.90, 49.50),
    (49.88, 49.43, 49.75), (50.19, 49.73, 50.03), (50.36, 49.26, 50.31), (50.57, 50.09, 50.52),
    (50.65, 50.30, 50.41), (50.43, 49.21, 49.34), (49.63, 48.98, 49.37), (50.33, 49.61, 50.23),
]  # fmt: skip
ATR_PUBLISHED = [0.555, 0.593, 0.585, 0.568, 0.615, 0.618, 0.642]

# StockCharts ChartSchool's worksheet "Bollinger Bands" (INTC): closes, and middle and bandwidth of the 20th day on.
BAND_CLOSES = [
    86.16, 89.09, 88.78, 90.32, 89.07, 91.15, 89.44, 89.18, 86.93, 87.68,
    86.96, 89.43, 89.32, 88.72, 87.45, 87.26, 89.50, 87.90, 89.13, 90.70, 92.90,
]  # fmt: skip
BAND_PUBLISHED = [(88.71, 1.29), (89.05, 1.45)]  # middle, standard deviation


def test_the_average_true_range_is_that_of_the_published_sheet() -> None:
    high, low, close = (np.array(column) for column in zip(*ATR_SHEET, strict=True))

    # The sheet counts the first day's high minus low as a true range, TA-Lib begins a day later: compare what follows.
    ours = wilder_from_first_day(high, low, close)

    assert [round(value, 2) for value in ours[13:]] == [pytest.approx(value, abs=0.011) for value in ATR_PUBLISHED]
    assert talib.TRANGE(high, low, close)[1:] == pytest.approx(true_ranges(high, low, close)[1:])


def true_ranges(high: np.ndarray, low: np.ndarray, close: np.ndarray) -> list[float]:
    ranges = [high[0] - low[0]]
    for n in range(1, len(high)):
        ranges.append(max(high[n] - low[n], abs(high[n] - close[n - 1]), abs(low[n] - close[n - 1])))
    return ranges


def wilder_from_first_day(high: np.ndarray, low: np.ndarray, close: np.ndarray) -> list[float]:
    """TA-Lib's ATR with a day before the first whose close lies within it."""
    first = (high[0] + low[0]) / 2
    padded = [np.concatenate([[value], line]) for value, line in ((first, high), (first, low), (first, close))]
    return list(talib.ATR(*padded, timeperiod=14)[1:])


def test_bands_are_those_of_the_published_sheet() -> None:
    closes = np.array(BAND_CLOSES)

    upper, middle, lower = talib.BBANDS(closes, timeperiod=20, nbdevup=2, nbdevdn=2)

    for at, (mean, deviation) in zip((-2, -1), BAND_PUBLISHED, strict=True):
        assert middle[at] == pytest.approx(mean, abs=0.011)
        assert (upper[at] - lower[at]) / 4 == pytest.approx(deviation, abs=0.011)


def test_directional_movement_is_wilders_own() -> None:
    """Written out from Wilder's definition, in plain Python, and compared with TA-Lib's."""
    bars = bars_of(ranging(120))
    high, low, close = (np.array(column) for column in list(zip(*bars, strict=True))[2:5])

    assert talib.ADX(high, low, close, timeperiod=14)[-1] == pytest.approx(adx(high, low, close, 14), abs=1e-6)


def adx(high: np.ndarray, low: np.ndarray, close: np.ndarray, period: int) -> float:
    up, down, ranges = [], [], []
    for n in range(1, len(high)):
        rise, fall = high[n] - high[n - 1], low[n - 1] - low[n]
        up.append(rise if rise > fall and rise > 0 else 0.0)
        down.append(fall if fall > rise and fall > 0 else 0.0)
        ranges.append(max(high[n], close[n - 1]) - min(low[n], close[n - 1]))
    smooth = [sum(line[: period - 1]) for line in (up, down, ranges)]
    directions = []
    for n in range(period - 1, len(up)):
        smooth = [s - s / period + line[n] for s, line in zip(smooth, (up, down, ranges), strict=True)]
        plus, minus = smooth[0] / smooth[2], smooth[1] / smooth[2]
        directions.append(100 * abs(plus - minus) / (plus + minus))
    value = sum(directions[:period]) / period
    for direction in directions[period:]:
        value = (value * (period - 1) + direction) / period
    return value


def test_the_efficiency_ratio_is_one_on_a_straight_way_and_zero_on_a_round_trip() -> None:
    straight, there_and_back = np.arange(30.0), np.array([0.0, 1.0] * 15)

    assert indicators.efficiency_ratio(straight, 10)[-1] == pytest.approx(1.0)
    assert indicators.efficiency_ratio(there_and_back, 10)[-1] == pytest.approx(0.0)
    assert math.isnan(indicators.efficiency_ratio(np.full(30, 5.0), 10)[-1])


@pytest.mark.parametrize("pull", [0.05, 0.1, 0.3])
def test_the_half_life_of_a_decay_is_found(pull: float) -> None:
    noise = np.random.default_rng(5).normal(0, 1e-9, 200)
    closes = np.exp(5 + np.array([(1 - pull) ** n for n in range(200)]) + noise)

    mean_known = np.log(closes) - np.log(closes[:-1]).mean()
    expected = math.log(2) / (float(mean_known[:-1] @ -np.diff(mean_known)) / float(mean_known[:-1] @ mean_known[:-1]))

    assert indicators.half_life(closes) == pytest.approx(expected)


def test_a_price_that_runs_away_has_no_half_life() -> None:
    assert math.isnan(indicators.half_life(np.exp(np.linspace(0, 3, 100) ** 2)))
    assert math.isnan(indicators.half_life(np.full(100, 7.0)))


def test_an_indicator_without_enough_bars_is_undefined_and_not_zero() -> None:
    lines = indicators.read(bars_of(ranging(20)), Policy())

    assert math.isnan(lines.adx[-1])
    assert math.isnan(lines.expansion[-1])
