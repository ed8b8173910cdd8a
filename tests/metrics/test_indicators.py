"""Against values that others have published (tests/metrics/published), and against series whose answer is known."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import talib

from metrics import analysis
from metrics.rules import indicators
from metrics.rules.indicators import Bar, Line
from metrics.rules.policy import RegimePolicy
from tests.metrics.series import bars_of, ranging

PUBLISHED = Path(__file__).parent / "published"

# NIST Statistical Reference Datasets, univariate, "Mavro": 50 filter transmittances in units of 1e-5 above 2, and the
# certified coefficient. www.itl.nist.gov/div898/strd/univ/mavro.html
MAVRO = [
    180, 170, 180, 190, 180, 170, 150, 140, 150, 150, 170, 180, 180, 190, 190, 210, 200, 160, 140, 130,
    130, 150, 150, 160, 150, 140, 130, 140, 150, 140, 150, 160, 150, 160, 190, 200, 200, 210, 220, 230,
    240, 250, 270, 260, 260, 260, 270, 260, 250, 240,
]  # fmt: skip
MAVRO_AUTOCORRELATION = 0.937989183438248

# Tulip Indicators, tests/untest.txt, "linregslope 5": closes, and the slope from the fifth on.
SLOPE_CLOSES = [
    81.59, 81.06, 82.87, 83.00, 83.61, 83.15, 82.84, 83.99, 84.55, 84.36, 85.53, 86.54, 86.89, 87.77, 87.29,
]  # fmt: skip
SLOPES = [0.598, 0.492, 0.009, 0.121, 0.272, 0.413, 0.575, 0.608, 0.686, 0.818, 0.475]


def published(name: str) -> dict[str, Line]:
    """A sheet's columns; what it leaves empty is NaN."""
    with (PUBLISHED / name).open() as file:
        rows = list(csv.DictReader(file))
    return {column: np.array([float(row[column] or "nan") for row in rows]) for column in rows[0]}


def sheet_bars(sheet: dict[str, Line]) -> list[Bar]:
    columns = (sheet["close"], sheet.get("high", sheet["close"]), sheet.get("low", sheet["close"]), sheet["close"])
    return [Bar(float(n), *map(float, prices)) for n, prices in enumerate(zip(*columns, strict=True))]


def test_the_directional_index_is_the_published_one() -> None:
    sheet = published("adx.csv")

    ours = indicators.read(sheet_bars(sheet), RegimePolicy()).adx

    # TA-Lib's first sums hold a day less than the sheet's. That wears off by a fourteenth a day: after the bars that
    # a verdict reads, four digits behind the point are equal.
    read = slice(analysis.DEFAULT_LOOKBACK, None)
    assert np.isnan(ours[:27]).all()
    assert ours[27:] == pytest.approx(sheet["adx"][27:], abs=0.8)
    assert ours[read] == pytest.approx(sheet["adx"][read], abs=1.2e-4)


def test_the_average_true_range_is_the_published_one() -> None:
    sheet = published("atr.csv")
    bars = sheet_bars(sheet)
    # The sheet counts the first day's high minus low as a true range, TA-Lib begins a day later: so one goes before.
    middle = (bars[0].high + bars[0].low) / 2
    before = Bar(-1.0, middle, middle, middle, middle)

    ours = indicators.read([before, *bars], RegimePolicy()).atr[1:]

    assert np.isnan(ours[:13]).all()
    assert ours[13:] == pytest.approx(sheet["atr"][13:], abs=1e-6)


def test_bands_are_the_published_ones() -> None:
    sheet = published("bands.csv")

    lines = indicators.read(sheet_bars(sheet), RegimePolicy())

    assert np.isnan(lines.bandwidth[:19]).all()
    assert 100 * lines.bandwidth[19:] == pytest.approx(sheet["width_pct"][19:], abs=1e-6)
    zscore = (sheet["close"] - sheet["middle"]) / sheet["deviation"]
    assert lines.zscore[19:] == pytest.approx(zscore[19:], abs=1e-5)


def test_the_efficiency_ratio_is_the_published_one() -> None:
    sheet = published("efficiency.csv")

    ours = indicators.read(sheet_bars(sheet), RegimePolicy()).efficiency

    assert np.isnan(ours[:10]).all()
    assert ours[10:] == pytest.approx(sheet["efficiency"][10:], abs=1e-6)


def test_the_autocorrelation_is_the_certified_one() -> None:
    """The data are taken as returns: closes that moved by them."""
    closes = np.exp(np.concatenate([[0.0], np.cumsum([2 + value * 1e-5 for value in MAVRO])]))

    assert indicators.autocorrelation(closes) == pytest.approx(MAVRO_AUTOCORRELATION, abs=1e-8)


def test_the_slope_is_the_published_one() -> None:
    ours = talib.LINEARREG_SLOPE(np.array(SLOPE_CLOSES), timeperiod=5)

    assert ours[4:] == pytest.approx(SLOPES, abs=0.0005)


def test_the_slope_is_counted_in_average_true_ranges() -> None:
    bars = bars_of([100.0 + 2 * n for n in range(80)], wick=0.0)

    lines = indicators.read(bars, RegimePolicy())

    assert lines.atr[-1] == pytest.approx(2)
    assert lines.slope[-1] == pytest.approx(24)  # bars, of one average true range each


def test_the_efficiency_ratio_is_one_on_a_straight_way_and_zero_on_a_round_trip() -> None:
    straight, there_and_back = np.arange(30.0), np.array([0.0, 1.0] * 15)

    assert indicators.efficiency_ratio(straight, 10)[-1] == pytest.approx(1.0)
    assert indicators.efficiency_ratio(there_and_back, 10)[-1] == pytest.approx(0.0)
    assert math.isnan(indicators.efficiency_ratio(np.full(30, 5.0), 10)[-1])


@pytest.mark.parametrize("pull", [0.05, 0.1, 0.3])
def test_the_half_life_of_a_decay_is_found(pull: float) -> None:
    """A log price that loses this share of its distance at every bar: ln 2 / pull (Chan, Algorithmic Trading, 2013)."""
    closes = np.exp(5 + np.array([(1 - pull) ** n for n in range(60)]))

    assert indicators.half_life(closes) == pytest.approx(math.log(2) / pull)


def test_a_price_that_runs_away_has_no_half_life() -> None:
    assert math.isnan(indicators.half_life(np.exp(np.linspace(0, 3, 100) ** 2)))
    assert math.isnan(indicators.half_life(np.full(100, 7.0)))


def test_an_indicator_without_enough_bars_is_undefined_and_not_zero() -> None:
    lines = indicators.read(bars_of(ranging(20)), RegimePolicy())

    assert math.isnan(lines.adx[-1])
    assert math.isnan(lines.expansion[-1])
