"""Budgets of objectives: what may be lost, who spent it, and whether it burns. Pure.

Minutes that planned work covers are left out, of what was expected and of what was lost; those of our own outage never.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from collectors.rules import gap_causes
from incidents.rules.words import IncidentKind


class Spender(StrEnum):
    """Who lost the minutes; `unknown` where no cause is proven."""

    US = "us"
    EXCHANGE = "exchange"
    NETWORK = "network"
    UNKNOWN = "unknown"


class Burn(StrEnum):
    NONE = "none"
    SLOW = "slow"
    FAST = "fast"


SPENDER_OF_CAUSE = {
    gap_causes.OUR_OUTAGE: Spender.US,
    gap_causes.RATE_LIMITED: Spender.US,  # we ask for more than we are allowed
    gap_causes.EXCHANGE_OUTAGE: Spender.EXCHANGE,
    gap_causes.MARKET_QUIET: Spender.EXCHANGE,
    gap_causes.DELISTED: Spender.EXCHANGE,
    gap_causes.REJECTED: Spender.EXCHANGE,
}
# Where all behind one address failed alike, or the system did, the gap's own cause says less than its incident's root.
SPENDER_OF_ROOT: Mapping[str, Spender] = {IncidentKind.SYSTEM: Spender.US, IncidentKind.LINE: Spender.NETWORK}

# A budget burns fast when so much of it, as a share for 30 days, goes in the long span, and still goes in the short
# one: 2 % in an hour, or 5 % in six hours. The pair keeps what is over from being told.
FAST_RATE, SLOW_RATE = 14.4, 6.0
LEAST_SPENT = 2  # minutes of the long span: a single one is none to wake somebody for
SPANS_MINUTES = (5, 30, 60, 360)


@dataclass(frozen=True, slots=True)
class LostMinutes:
    """Lost minutes of pipelines that have one cause in common. `may_come`: they may still be filled in."""

    cause: str
    root_kind: str = ""
    is_planned: bool = False
    may_come: bool = False
    minutes: int = 0
    exchange: str = ""


@dataclass(frozen=True, slots=True)
class MinuteAccount:
    """What a span came to, in minutes of pipelines. `pending` may still be filled in, so it is not spent yet."""

    expected: int = 0
    spent: Mapping[str, int] = field(default_factory=dict)
    pending: int = 0
    planned: int = 0

    @property
    def lost(self) -> int:
        return sum(self.spent.values())

    @property
    def share(self) -> float | None:
        """Returns the share that was kept, from 0 to 1; None where nothing was expected."""
        return 1 - self.lost / self.expected if self.expected else None

    def __add__(self, other: MinuteAccount) -> MinuteAccount:
        spent = {str(who): self.spent.get(who, 0) + other.spent.get(who, 0) for who in Spender}
        return MinuteAccount(
            self.expected + other.expected, spent, self.pending + other.pending, self.planned + other.planned
        )

    def budget(self, target: float) -> float:
        """Returns the minutes that may be lost."""
        return self.expected * (1 - target)

    def left(self, target: float) -> float:
        """Returns the minutes that may still be lost; below zero when more was."""
        return self.budget(target) - self.lost


def spender(cause: str, root_kind: str = "") -> Spender:
    """Returns who lost the minutes of a gap: by the root of its incident, else by its own cause."""
    return SPENDER_OF_ROOT.get(root_kind) or SPENDER_OF_CAUSE.get(cause, Spender.UNKNOWN)


def account(expected: int, lost: Iterable[LostMinutes]) -> MinuteAccount:
    """Returns what a span came to. `expected`: minutes that hold a row or should."""
    spent = dict.fromkeys(map(str, Spender), 0)
    pending = planned = 0
    for each in lost:
        who = spender(each.cause, each.root_kind)
        if each.is_planned and who != Spender.US:
            planned += each.minutes
        elif each.may_come:
            pending += each.minutes
        else:
            spent[who] += each.minutes
    return MinuteAccount(max(0, expected - planned), spent, pending, planned)


def burn(spans: Mapping[int, MinuteAccount], target: float) -> Burn:
    """Says whether the budget burns, by what was lost in the last 5, 30, 60 and 360 minutes."""
    if _burns(spans, 60, 5, FAST_RATE, target):
        return Burn.FAST
    return Burn.SLOW if _burns(spans, 360, 30, SLOW_RATE, target) else Burn.NONE


def _burns(spans: Mapping[int, MinuteAccount], long: int, short: int, rate: float, target: float) -> bool:
    is_much = spans[long].lost >= LEAST_SPENT
    return is_much and all(_rate(spans[minutes], target) >= rate for minutes in (long, short))


def _rate(of: MinuteAccount, target: float) -> float:
    """Returns how many times faster than allowed minutes are lost; 1 spends the budget just at its window's end."""
    return of.lost / of.expected / (1 - target) if of.expected else 0.0
