"""Why a funding rate is not stored. Pure."""

from __future__ import annotations

import math

from collectors.rules.book_checks import FUTURE_SECONDS
from feeds.base import FundingRate

HIGHEST_RATE = 1.0  # a rate of 100 % an interval is a broken number


def fault_of_rate(rate: FundingRate, *, now: float) -> str:
    """Returns why a funding rate is not stored; empty for one that is sound."""
    if not math.isfinite(rate.rate) or abs(rate.rate) > HIGHEST_RATE:
        return f"a rate of {rate.rate!r}"
    prices = [price for price in (rate.mark_price, rate.index_price) if price is not None]
    if not all(math.isfinite(price) and price > 0 for price in prices):
        return "mark or index price is no positive number"
    if rate.exchange_at is not None and rate.exchange_at > now + FUTURE_SECONDS:
        return "stamped in the future"
    return ""
