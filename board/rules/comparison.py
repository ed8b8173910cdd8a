"""The sources of one pair side by side: spread, distance from the median of the fresh ones, and which are outliers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from statistics import median

from collectors.rules.gaps import is_gap

FEWEST_TO_JUDGE = 3  # with two that differ it is unknown which one is wrong
COMPARED_KINDS = ("spot", "swap")  # a future or an option has a price of its own


@dataclass(frozen=True, slots=True)
class ComparedSource:
    """The newest quote of one market, as stored."""

    kind: str
    price: float | None
    bid: float | None
    ask: float | None
    received_at: datetime | None
    expected_seconds: float
    is_collected: bool = True
    fault: str = ""  # why its price is in no rate


@dataclass(frozen=True, slots=True)
class Judged:
    """A source's judgement: `distance` is a share of the median, None for the `reason`; then `is_outlier` is None."""

    is_fresh: bool
    spread_share: float | None
    distance: float | None
    is_outlier: bool | None
    reason: str


def compare(
    sources: Sequence[ComparedSource], *, now: datetime, outlier_share: float
) -> tuple[float | None, list[Judged]]:
    """Returns the median of the fresh sources, None when fewer than three are, and each source judged by it."""
    prices = [source.price for source in sources if not _why_not(source, now) and source.price is not None]
    middle = median(prices) if len(prices) >= FEWEST_TO_JUDGE else None
    return middle, [_judge(source, middle, len(prices), now=now, outlier_share=outlier_share) for source in sources]


def _judge(source: ComparedSource, middle: float | None, fresh: int, *, now: datetime, outlier_share: float) -> Judged:
    reason, spread = _why_not(source, now), spread_share(source.bid, source.ask)
    if not reason and middle is None:
        reason = f"only {fresh} fresh source{'' if fresh == 1 else 's'}: {FEWEST_TO_JUDGE} are needed to judge"
    if reason or middle is None or source.price is None:
        return Judged(is_fresh(source, now), spread, None, None, reason)
    apart = abs(source.price - middle) > outlier_share * middle  # as `collectors.status.rates` leaves sources out
    return Judged(True, spread, source.price / middle - 1, apart, "")


def _why_not(source: ComparedSource, now: datetime) -> str:
    """Returns why a source takes no part in the comparison; empty when it does."""
    if not source.is_collected:
        return "not collected"
    if source.kind not in COMPARED_KINDS:
        return f"a market of kind {source.kind} has a price of its own"
    if source.price is None or source.price <= 0:
        return "no price stored"
    if source.fault:
        return source.fault
    return "" if is_fresh(source, now) else "silent: older than two expected intervals"


def is_fresh(source: ComparedSource, now: datetime) -> bool:
    return source.received_at is not None and not is_gap(source.received_at, now, source.expected_seconds)


def price_of(last: float | None, bid: float | None, ask: float | None) -> float | None:
    """Returns the last trade's price, else the middle of the book; None without both sides."""
    if last is not None:
        return last
    return (bid + ask) / 2 if bid is not None and ask is not None else None


def digits(number: float | None) -> str:
    """Returns ten digits that matter, never an exponent: `65,966.8`, `0.00000012`."""
    return "-" if number is None else f"{Decimal(f'{number:.10g}'):,f}"


def spread_share(bid: float | None, ask: float | None) -> float | None:
    """Returns the spread as a share of the middle; None unless both sides are there and make sense."""
    if bid is None or ask is None or not 0 < bid <= ask:
        return None
    return (ask - bid) / ((ask + bid) / 2)
