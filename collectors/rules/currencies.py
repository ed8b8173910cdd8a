"""The rules of what prices tell of currencies: their values in one of them, and which pairs stand still by nature."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from statistics import median
from typing import NamedTuple

MOST_STEPS = 4  # from one currency to the next: rupiah to tether to euro is two
CALM_SHARE = 0.01  # a day's range of a price: quieter than the quietest days of what floats
RESTLESS_SHARE = 0.015  # from here on a pair is no longer calm, and begins anew
PEGGED_AFTER = timedelta(days=7)  # nothing that floats is calm on seven days one after the other
NEAR_PAR_SHARE = 0.01  # what is calm and at par is a peg at once

Pair = tuple[str, str]


class PairDay(NamedTuple):
    """A pair's last day over its exchanges: the range between highest and lowest as a share, and its price."""

    range_share: float
    price: float


class KnownCalm(NamedTuple):
    """A pair that is known to be calm, and since when."""

    calm_since: datetime
    day: PairDay


def values(prices: Mapping[Pair, float], unit: str) -> dict[str, float]:
    """Returns the value of each currency in `unit`, by the prices of one in another, over as few of them as possible.
    A currency that no price leads to has none."""
    found = {unit: 1.0}
    for _ in range(MOST_STEPS):
        told: dict[str, list[float]] = defaultdict(list)
        for (base, quote), price in prices.items():
            if base not in found and quote in found:
                told[base].append(price * found[quote])
            elif quote not in found and base in found:
                told[quote].append(found[base] / price)
        if not told:
            break
        found |= {code: median(each) for code, each in told.items()}
    return found


def follow(known: Mapping[Pair, KnownCalm], days: Mapping[Pair, PairDay], now: datetime) -> dict[Pair, KnownCalm]:
    """Returns the calm pairs after one more look: new ones, and the known ones that have not become restless."""
    after = dict(known)
    for pair, day in days.items():
        if day.range_share > RESTLESS_SHARE:
            after.pop(pair, None)
        elif pair in known or day.range_share < CALM_SHARE:
            after[pair] = KnownCalm(known[pair].calm_since if pair in known else now, day)
    return after


def is_pegged(calm: KnownCalm, now: datetime) -> bool:
    """Says whether the pair's price is meant to stand still."""
    return now - calm.calm_since >= PEGGED_AFTER or abs(calm.day.price - 1.0) <= NEAR_PAR_SHARE
