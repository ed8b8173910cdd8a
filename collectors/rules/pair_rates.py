"""The rate of a pair from its sources' prices: which are used, which are left out and why, and when there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Final

from collectors.rules.snapshot import SourcePrice

OUTLIER_SHARE = 0.05  # from the median of three or more: documented with the rate's `excluded`
FEWEST_TO_JUDGE = 3  # nobody can tell which one of two that differ is wrong
MOST_SECONDS = 1800  # an older price is none
OLDER, OUTLIER = "older_than_max_age", "outlier"
OLD, FROZEN, HALTED, UNCONFIRMED = "old", "frozen", "halted", "unconfirmed"
REASONS: Final = (OLDER, OLD, FROZEN, HALTED, OUTLIER, UNCONFIRMED)


@dataclass(frozen=True, slots=True)
class RatePolicy:
    """The limits of one answer. Sources up to `max_age_seconds` old are used; older ones where there is no other."""

    max_age_seconds: int = 60
    outlier_share: float = OUTLIER_SHARE
    conflict_share: float = 0.2


@dataclass(frozen=True, slots=True)
class ExcludedSource:
    exchange: str
    reason: str
    age_seconds: int


@dataclass(frozen=True, slots=True)
class Rate:
    """A pair's rate. Without a source that can be used, `vwap` is None and `sources` is empty; with `is_conflict` its
    sources differ so much that no price can be given as the pair's."""

    pair: str
    vwap: float | None
    stored_at: datetime | None
    sources: tuple[SourcePrice, ...]
    excluded: tuple[ExcludedSource, ...]
    is_conflict: bool = False


def fault_of(*, is_halted: bool, is_old: bool, is_frozen: bool, is_unconfirmed: bool) -> str:
    """Returns why a price is not believed; empty for a sound one."""
    faults = {HALTED: is_halted, OLD: is_old, FROZEN: is_frozen, UNCONFIRMED: is_unconfirmed}
    return next((word for word, is_so in faults.items() if is_so), "")


def rate_of(pair: str, prices: Iterable[SourcePrice], now: datetime, *, policy: RatePolicy) -> Rate:
    """Returns the rate at `now`, of sound sources only."""
    known = sorted(prices, key=lambda price: price.exchange)
    reasons = {price.exchange: price.fault for price in known if price.fault}
    sound = [price for price in known if not price.fault]
    usable = _young(sound, now, policy.max_age_seconds) or _young(sound, now, MOST_SECONDS)
    reasons |= {price.exchange: OLDER for price in sound if price not in usable}
    kept = without_outliers(usable, policy)
    reasons |= {price.exchange: OUTLIER for price in usable if price not in kept}
    is_conflict = differ(kept, policy.conflict_share)
    return Rate(
        pair,
        None if is_conflict else vwap(kept),
        max((price.stored_at for price in kept or known), default=None),
        tuple(kept),
        tuple(
            ExcludedSource(price.exchange, reasons[price.exchange], age_of(price, now))
            for price in known
            if price.exchange in reasons
        ),
        is_conflict,
    )


def vwap(prices: Sequence[SourcePrice]) -> float | None:
    """Returns the weighted price; None when no source told a volume, as a plain mean would pass for what it is not."""
    weighted = [(price.price, price.volume) for price in prices if price.volume]
    total = sum(volume for _, volume in weighted)
    return sum(price * volume for price, volume in weighted) / total if total else None


def without_outliers(prices: Sequence[SourcePrice], policy: RatePolicy) -> list[SourcePrice]:
    """Returns the prices near the median; all of them where fewer than two are: then nobody can tell who is wrong."""
    if len(prices) < FEWEST_TO_JUDGE:
        return list(prices)
    middle = median(price.price for price in prices)
    near = [price for price in prices if abs(price.price - middle) <= policy.outlier_share * middle]
    return near if len(near) > 1 or not differ(prices, policy.conflict_share) else list(prices)


def differ(prices: Sequence[SourcePrice], share: float) -> bool:
    """Says whether two of the prices are further apart than this share of the lower one."""
    values = [price.price for price in prices]
    return len(values) > 1 and max(values) - min(values) > share * min(values)


def age_of(price: SourcePrice, now: datetime) -> int:
    """Returns whole seconds, as the pairs API counts them; never negative."""
    return max(0, int(now.timestamp() // 1) - int(price.stored_at.timestamp() // 1))


def _young(prices: Sequence[SourcePrice], now: datetime, seconds: int) -> list[SourcePrice]:
    return [price for price in prices if age_of(price, now) <= seconds]
