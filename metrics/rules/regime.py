"""Judges whether a market is a range or a trend, and whether it is time to leave. Pure rules over closed candles.

A verdict depends on nothing but its bars and the policy's numbers, so asking again gives the same answer.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

import numpy as np

from metrics.rules import indicators
from metrics.rules.indicators import Bar, Indicators
from metrics.rules.policy import RegimePolicy, changes_of

RANGE_OK, RANGE_WEAK, TRANSITION, TREND = "RANGE_OK", "RANGE_WEAK", "TRANSITION", "TREND"
RANGES = frozenset({RANGE_OK, RANGE_WEAK})
NORMAL, WARNING = "NORMAL", "WARNING"
LATEST_EXIT, MANDATORY_EXIT = "LATEST_ACCEPTABLE_EXIT", "MANDATORY_EXIT"


@dataclass(frozen=True, slots=True)
class CandleWindow:
    """The candles that a verdict is about: `lookback` periods up to the one opened at `newest_at` (Unix seconds)."""

    bars: tuple[Bar, ...]
    newest_at: float
    period_seconds: int
    lookback: int

    @property
    def missing_share(self) -> float:
        return 1 - len(self.bars) / self.lookback

    @property
    def backfilled_share(self) -> float:
        return sum(bar.is_backfilled for bar in self.bars) / self.lookback


@dataclass(frozen=True, slots=True)
class Assessment:
    """The rules' answer. None is what cannot be computed; `error` says why there is no verdict."""

    verdict: str | None
    confidence: float | None
    trend_score: float | None
    insufficient_data: bool
    bar_at: float | None
    bars_used: int
    missing_share: float
    backfilled_share: float
    frozen_share: float
    inputs_hash: str
    lower_bound: float | None = None
    upper_bound: float | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    exit_state: str | None = None
    exit_reasons: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """The rules' view of one bar."""

    verdict: str | None
    score: float | None
    clarity: float  # 0..1: how far the score is from changing the verdict


METRIC_NAMES = (
    "adx",
    "efficiency_ratio",
    "autocorrelation",
    "ou_half_life",
    "normalized_slope",
    "bollinger_bandwidth",
    "atr",
    "volatility_expansion_ratio",
    "zscore",
)


def assess(window: CandleWindow, policy: RegimePolicy) -> Assessment:
    """Returns the verdict on a window, with its exit state."""
    bars = window.bars
    frozen = frozen_share(window, policy)
    facts = {
        "bar_at": bars[-1].opened_at if bars else None,
        "bars_used": len(bars),
        "missing_share": window.missing_share,
        "backfilled_share": window.backfilled_share,
        "frozen_share": frozen,
        "inputs_hash": inputs_hash(window, policy),
    }
    if len(bars) < policy.least_bars:
        reason = f"{len(bars)} closed candles, {policy.least_bars} are needed"
        return Assessment(None, None, None, True, **facts, metrics=dict.fromkeys(METRIC_NAMES), error=reason)  # type: ignore[arg-type]
    lines = indicators.read(bars, policy)
    readings = [read_bar(lines, at, policy) for at in range(-min(policy.memory_bars, len(bars)), 0)]
    newest = readings[-1]
    state, reasons = exit_state(lines, readings, window.period_seconds, policy)
    return Assessment(
        verdict=newest.verdict,
        confidence=None if newest.verdict is None else confidence(newest, window, frozen),
        trend_score=newest.score,
        insufficient_data=False,
        lower_bound=_number(lines.lowest[-1]),
        upper_bound=_number(lines.highest[-1]),
        metrics=metrics_of(lines),
        exit_state=state,
        exit_reasons=reasons,
        error="" if newest.verdict else "the price does not move: nothing can be computed from it",
        **facts,  # type: ignore[arg-type]
    )


def read_bar(lines: Indicators, at: int, policy: RegimePolicy) -> Reading:
    """Returns verdict, score and clarity of the bar at index `at`."""
    score = trend_score(lines, at, policy)
    if score is None:
        return Reading(None, None, 0.0)
    expansion, life = _number(lines.expansion[at]), _number(lines.half_life[at])
    verdict = verdict_of(score, expansion, life, policy)
    return Reading(verdict, score, clarity(verdict, score, policy))


def trend_score(lines: Indicators, at: int, policy: RegimePolicy) -> float | None:
    """Returns the mean of three signs of a trend, each 0..1; None when one of them cannot be computed."""
    parts = (
        (lines.adx[at] - policy.adx_from) / policy.adx_width,
        (lines.efficiency[at] - policy.efficiency_from) / policy.efficiency_width,
        abs(lines.slope[at]) / policy.slope_atrs,
    )
    if any(math.isnan(part) for part in parts):
        return None
    return sum(min(1.0, max(0.0, float(part))) for part in parts) / len(parts)


def verdict_of(score: float, expansion: float | None, half_life: float | None, policy: RegimePolicy) -> str:
    """Returns the first verdict that applies. An undefined half-life (nothing reverts) makes no good range."""
    if score >= policy.trend_limit:
        return TREND
    if score >= policy.transition_limit or (expansion is not None and expansion > policy.expansion_limit):
        return TRANSITION
    if score >= policy.weak_limit or half_life is None or half_life >= policy.half_life_limit:
        return RANGE_WEAK
    return RANGE_OK


def clarity(verdict: str, score: float, policy: RegimePolicy) -> float:
    """Returns the score's distance to the nearest limit of another verdict, per half width of its band, 0..1.

    Zero when something else than the score decided.
    """
    lower, upper = {
        RANGE_OK: (0.0, policy.weak_limit),
        RANGE_WEAK: (policy.weak_limit, policy.transition_limit),
        TRANSITION: (policy.transition_limit, policy.trend_limit),
        TREND: (policy.trend_limit, 1.0),
    }[verdict]
    if not lower <= score <= upper:
        return 0.0
    limits = [limit for limit in (lower, upper) if 0.0 < limit < 1.0]
    return min(1.0, min(abs(score - limit) for limit in limits) / ((upper - lower) / 2))


def confidence(reading: Reading, window: CandleWindow, frozen: float) -> float:
    """Returns the confidence in a verdict, 0..1.

    What is missing or frozen takes its share, and clarity counts only in a whole series: so a hole, whatever it does
    to the indicators, never raises confidence above that of the whole series.
    """
    lost = window.missing_share + frozen
    bonus = 0.5 * reading.clarity if lost == 0 else 0.0
    return max(0.0, (0.5 + bonus) * (1 - lost))


def frozen_share(window: CandleWindow, policy: RegimePolicy) -> float:
    """Returns the share of bars that repeat the one before, in runs of `frozen_bars` or more equal ones."""
    runs = [sum(1 for _ in equal) for _, equal in groupby(window.bars, key=lambda bar: bar[1:5])]
    return sum(run - 1 for run in runs if run >= policy.frozen_bars) / window.lookback


def exit_state(
    lines: Indicators, readings: Sequence[Reading], period_seconds: int, policy: RegimePolicy
) -> tuple[str | None, tuple[str, ...]]:
    """Returns the exit state and its reasons; None when there is no verdict to say it by."""
    if readings[-1].verdict is None:
        return None, ()
    if readings[-1].verdict == TREND:
        return MANDATORY_EXIT, ("the market trends",)
    latest = latest_reasons(lines, readings, period_seconds, policy)
    if latest:
        return LATEST_EXIT, latest
    warnings = warning_reasons(lines, readings, policy)
    return (WARNING, warnings) if len(warnings) >= policy.warnings_wanted else (NORMAL, ())


def latest_reasons(
    lines: Indicators, readings: Sequence[Reading], period_seconds: int, policy: RegimePolicy
) -> tuple[str, ...]:
    """Returns the reasons for the latest acceptable exit; each of them alone is enough to leave."""
    bars = policy.transitions_4h if period_seconds >= 14_400 else policy.transitions_1h
    life, baseline = _number(lines.half_life[-1]), baseline_half_life(lines, policy)
    expansion = _number(lines.expansion[-1])
    found = {
        f"TRANSITION for {bars} bars or more": [each.verdict for each in readings[-bars:]] == [TRANSITION] * bars,
        "the price no longer reverts": baseline is not None and (life is None or life >= policy.lost_ratio * baseline),
        "volatility expands": expansion is not None and expansion > policy.expansion_limit,
        f"beyond {policy.zscore_limit:g} deviations for {policy.zscore_bars} bars": not _reverts(lines, policy),
    }
    return tuple(reason for reason, applies in found.items() if applies)


def warning_reasons(lines: Indicators, readings: Sequence[Reading], policy: RegimePolicy) -> tuple[str, ...]:
    """Returns the signs of a coming exit; two of them together are a warning."""
    recent = readings[-policy.transition_bars :]
    probability = sum(each.verdict in (TRANSITION, TREND) for each in recent) / len(recent)
    life, baseline = _number(lines.half_life[-1]), baseline_half_life(lines, policy)
    expansion = _number(lines.expansion[-1])
    clarities = [each.clarity for each in readings[-policy.falling_bars - 1 :]]
    efficiency = list(lines.efficiency[-policy.falling_bars - 1 :])
    found = {
        f"transition probability {probability:.2f}": probability >= policy.transition_probability,
        "confidence falls": _is_rising([-each for each in clarities]),
        "efficiency rises": _is_rising(efficiency),
        "the price reverts more slowly": None not in (life, baseline) and life >= policy.slower_ratio * baseline,  # type: ignore[operator]
        "volatility grows": expansion is not None and policy.expansion_warning <= expansion <= policy.expansion_limit,
    }
    return tuple(reason for reason, applies in found.items() if applies)


def baseline_half_life(lines: Indicators, policy: RegimePolicy) -> float | None:
    """Returns the median half-life of the bars before this one; None when fewer than half of them have one."""
    before = lines.half_life[-policy.baseline_bars - 1 : -1]
    known = before[~np.isnan(before)]
    return float(np.median(known)) if len(known) * 2 >= policy.baseline_bars else None


def metrics_of(lines: Indicators) -> dict[str, float | None]:
    newest = (
        lines.adx,
        lines.efficiency,
        lines.autocorrelation,
        lines.half_life,
        lines.slope,
        lines.bandwidth,
        lines.atr,
        lines.expansion,
        lines.zscore,
    )
    return {name: _number(line[-1]) for name, line in zip(METRIC_NAMES, newest, strict=True)}


def inputs_hash(window: CandleWindow, policy: RegimePolicy) -> str:
    """Returns a hash over everything that the verdict depends on."""
    digest = hashlib.sha256(struct.pack("<dqq", window.newest_at, window.period_seconds, window.lookback))
    for bar in window.bars:
        digest.update(struct.pack("<5d?", *bar))
    digest.update(json.dumps(changes_of(policy), sort_keys=True).encode())
    return digest.hexdigest()


def _reverts(lines: Indicators, policy: RegimePolicy) -> bool:
    recent = lines.zscore[-policy.zscore_bars :]
    return not (bool(np.all(recent >= policy.zscore_limit)) or bool(np.all(recent <= -policy.zscore_limit)))


def _is_rising(values: Sequence[float]) -> bool:
    return len(values) > 1 and all(late > early for early, late in pairwise(values))  # NaN is never greater


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
