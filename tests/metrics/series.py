"""Prices of a known nature, and bars made of them. Nothing of Django."""

from __future__ import annotations

import random
from collections.abc import Sequence

from metrics.rules.indicators import Bar
from metrics.rules.regime import CandleWindow

HOUR = 3600


def bars_of(closes: Sequence[float], *, wick: float = 0.2, period: int = HOUR) -> tuple[Bar, ...]:
    """Bars that open where the one before closed, with wicks of a fixed seed."""
    wicks = random.Random(7)
    before = [closes[0], *closes[:-1]]
    return tuple(
        Bar(
            float(n * period),
            opened,
            max(opened, close) + wick * wicks.random(),
            min(opened, close) - wick * wicks.random(),
            close,
        )
        for n, (opened, close) in enumerate(zip(before, closes, strict=True))
    )


def window_of(bars: Sequence[Bar], *, lookback: int = 200, period: int = HOUR) -> CandleWindow:
    kept = tuple(bar for bar in bars if bar.opened_at > bars[-1].opened_at - lookback * period)
    return CandleWindow(kept, bars[-1].opened_at, period, lookback)


def ranging(count: int = 300, *, seed: int = 1) -> list[float]:
    """A price that is pulled back to 100."""
    noise, price = random.Random(seed), 100.0
    prices = []
    for _ in range(count):
        price = 100 + 0.5 * (price - 100) + 0.6 * noise.gauss(0, 1)
        prices.append(price)
    return prices


def trending(count: int = 300) -> list[float]:
    noise = random.Random(3)
    return [100 + 0.4 * n + 0.4 * noise.gauss(0, 1) for n in range(count)]


def breaking_out(bars: int = 4) -> list[float]:
    calm = ranging()
    return calm + [calm[-1] + 0.9 * (n + 1) for n in range(bars)]


def dying_range(count: int = 300, *, seed: int = 1, fade: int = 60) -> list[float]:
    """A range whose pull fades over its last bars, until nothing holds the price any more."""
    noise, price, prices = random.Random(seed), 100.0, []
    for n in range(count):
        left = min(1.0, max(0.02, (count - n) / fade))
        price = 100 + (1 - 0.5 * left) * (price - 100) + 0.6 * noise.gauss(0, 1)
        prices.append(price)
    return prices
