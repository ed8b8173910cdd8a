"""Indicators over closed bars: TA-Lib's where it has them, ours where it has none. Undefined is NaN, never zero."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metrics.rules.policy import RegimePolicy

Line = NDArray[np.float64]


class _TaLib:
    """TA-Lib, imported by its first use: it is large, brings pandas and polars in where they are installed, and of our
    processes only those need it that tell regimes and grids."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("talib"), name)


talib = _TaLib()


class Bar(NamedTuple):
    """One closed candle; `opened_at` in Unix seconds."""

    opened_at: float
    open: float
    high: float
    low: float
    close: float
    is_backfilled: bool = False


@dataclass(frozen=True, slots=True)
class Indicators:
    """The indicators, each with a value for each bar."""

    adx: Line
    efficiency: Line
    slope: Line  # average true ranges travelled in slope_bars, with its sign
    atr: Line
    expansion: Line
    zscore: Line
    bandwidth: Line
    half_life: Line
    autocorrelation: Line
    lowest: Line
    highest: Line


def read(bars: Sequence[Bar], policy: RegimePolicy) -> Indicators:
    """Returns all indicators; half-life and autocorrelation only for the bars that verdicts look back on."""
    high, low, close = (np.array(column, dtype=np.float64) for column in list(zip(*bars, strict=True))[2:5])
    atr = talib.ATR(high, low, close, timeperiod=policy.atr_bars)
    deviation = talib.STDDEV(close, timeperiod=policy.band_bars)
    upper, middle, lower = talib.BBANDS(
        close, timeperiod=policy.band_bars, nbdevup=policy.band_deviations, nbdevdn=policy.band_deviations
    )
    return Indicators(
        adx=talib.ADX(high, low, close, timeperiod=policy.adx_bars),
        efficiency=efficiency_ratio(close, policy.efficiency_bars),
        slope=divide(talib.LINEARREG_SLOPE(close, timeperiod=policy.slope_bars) * policy.slope_bars, atr),
        atr=atr,
        expansion=divide(atr, mean_of_known(atr, policy.expansion_bars)),
        zscore=divide(close - middle, deviation),
        bandwidth=divide(upper - lower, middle),
        half_life=_newest(close, half_life, window=policy.reversion_bars, policy=policy),
        autocorrelation=_newest(close, autocorrelation, window=policy.correlation_bars, policy=policy),
        lowest=talib.MIN(low, timeperiod=min(policy.range_bars, len(low))),
        highest=talib.MAX(high, timeperiod=min(policy.range_bars, len(high))),
    )


def bands(closes: Sequence[float], *, bars: int, deviations: float) -> tuple[Line, Line]:
    """Returns Bollinger's lower and upper bands; NaN where bars are too few."""
    close = np.array(closes, dtype=np.float64)
    if len(close) < bars:
        return np.full(len(close), np.nan), np.full(len(close), np.nan)
    upper, _, lower = talib.BBANDS(close, timeperiod=bars, nbdevup=deviations, nbdevdn=deviations)
    return lower, upper


def efficiency_ratio(close: Line, bars: int) -> Line:
    """Returns Kaufman's ratio: the distance that was made good, as a share of the distance that was gone."""
    gone = np.full(len(close), np.nan)
    gone[1:] = talib.SUM(np.abs(np.diff(close)), timeperiod=bars) if len(close) > bars else np.nan
    made = np.full(len(close), np.nan)
    made[bars:] = np.abs(close[bars:] - close[:-bars])
    return divide(made, gone)


def half_life(close: Line) -> float:
    """Returns how many bars halve a deviation, by an Ornstein-Uhlenbeck fit to log prices; NaN if nothing reverts."""
    if len(close) < 30:
        return math.nan
    level = np.log(close)
    before = level[:-1] - level[:-1].mean()
    spread = float(before @ before)
    if spread <= 1e-18:
        return math.nan
    pull = float(before @ np.diff(level)) / spread
    return math.log(2) / -pull if pull < 0 else math.nan


def autocorrelation(close: Line) -> float:
    """Returns the correlation of each return with the one before, as NIST defines it: both about the mean of all."""
    returns = np.diff(np.log(close))
    if len(returns) < 10:
        return math.nan
    about = returns - returns.mean()
    spread = float(about @ about)
    return float(about[:-1] @ about[1:]) / spread if spread > 1e-18 else math.nan


def mean_of_known(line: Line, bars: int) -> Line:
    """Returns a moving mean that begins where the line does: TA-Lib's would carry the leading NaNs on for ever."""
    known = np.flatnonzero(~np.isnan(line))
    result = np.full(len(line), np.nan)
    if len(known) >= bars:
        result[known[0] :] = talib.SMA(line[known[0] :], timeperiod=bars)
    return result


def divide(above: Line, below: Line) -> Line:
    """Divides two lines; NaN where nothing can be divided by."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.abs(below) > 1e-12, above / below, np.nan)


def _newest(close: Line, rule: Callable[[Line], float], *, window: int, policy: RegimePolicy) -> Line:
    result = np.full(len(close), np.nan)
    for end in range(max(policy.least_bars, len(close) - policy.memory_bars), len(close) + 1):
        result[end - 1] = rule(close[max(0, end - window) : end])
    return result
