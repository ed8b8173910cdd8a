"""The numbers of the regime's rules. REGIME_POLICY replaces any of them by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class RegimePolicy:
    """The numbers of the rules: lengths are bars, limits are shares of one unless their line says otherwise."""

    least_bars: int = 60  # fewer closed candles: no verdict
    adx_bars: int = 14
    adx_from: float = 20.0  # ADX points that count as no trend at all
    adx_width: float = 20.0  # ADX points from there to a full trend
    efficiency_bars: int = 10
    efficiency_from: float = 0.3
    efficiency_width: float = 0.5
    slope_bars: int = 24
    slope_atrs: float = 3.0  # average true ranges travelled in slope_bars that count as a full trend
    atr_bars: int = 14
    expansion_bars: int = 30  # ATR now against its mean over so many bars
    band_bars: int = 20
    band_deviations: float = 2.0
    range_bars: int = 48  # highest high and lowest low of so many bars bound the range
    correlation_bars: int = 48
    reversion_bars: int = 100  # closes from which the half-life is estimated
    trend_limit: float = 0.65
    transition_limit: float = 0.40
    weak_limit: float = 0.25
    expansion_limit: float = 1.25  # ratio
    half_life_limit: float = 24.0  # bars
    frozen_bars: int = 3  # so many equal bars in a row are a stuck feed, not a price
    warnings_wanted: int = 2
    transition_bars: int = 5  # transition probability: the share of so many bars that were no range
    transition_probability: float = 0.40
    falling_bars: int = 3  # confidence falls, efficiency rises: at each of so many bars
    slower_ratio: float = 1.25  # half-life against its baseline
    lost_ratio: float = 2.0
    baseline_bars: int = 24
    expansion_warning: float = 1.1  # ratio
    transitions_1h: int = 4  # bars of TRANSITION in a row before it is time to go
    transitions_4h: int = 2
    zscore_limit: float = 2.0
    zscore_bars: int = 4  # bars beyond the limit on one side: the price does not revert
    notice_hours_warning: float = 4.0
    notice_hours_latest: float = 2.0
    notice_hours_mandatory: float = 1.0

    @property
    def memory_bars(self) -> int:
        """Returns how many past bars a verdict looks back on, besides those its indicators need."""
        return max(self.baseline_bars, self.transition_bars, self.falling_bars, self.zscore_bars) + 1


class UnknownNumber(ValueError):
    """A fault of REGIME_POLICY: a number that is not there, or something that is no number above zero."""


def with_changes(changes: Mapping[str, object]) -> RegimePolicy:
    """Returns the default policy with these numbers replaced. Raises UnknownNumber for anything else."""
    known = asdict(RegimePolicy())
    values: dict[str, float] = {}
    for name, value in changes.items():
        if name not in known:
            raise UnknownNumber(f"REGIME_POLICY has no number {name!r}; see metrics/rules/policy.py")
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise UnknownNumber(f"REGIME_POLICY: {name} must be a number above 0, not {value!r}")
        values[name] = type(known[name])(value)
    return RegimePolicy(**values)  # type: ignore[arg-type]


def changes_of(policy: RegimePolicy) -> dict[str, float]:
    """Returns what differs from the defaults; `with_changes` makes the same policy of it."""
    defaults = asdict(RegimePolicy())
    return {name: value for name, value in asdict(policy).items() if value != defaults[name]}
