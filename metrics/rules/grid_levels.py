"""A grid's levels, and their fills by a real price. Pure, in Decimal where money is counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import NamedTuple

DIGITS = 40
STORED = Decimal("1e-18")


@dataclass(frozen=True, slots=True)
class GridLevels:
    """Price levels, ascending; `step` is a price when they are arithmetic and a ratio when geometric."""

    levels: tuple[Decimal, ...]
    step: Decimal

    @property
    def profits_pct(self) -> tuple[Decimal, Decimal]:
        """Returns the smallest and the largest rise from a level to the next, in percent, before fees."""
        rises = [(upper / lower - 1) * 100 for lower, upper in zip(self.levels, self.levels[1:], strict=False)]
        return min(rises), max(rises)


class Fill(NamedTuple):
    """A filled level; `side` is what an order there would have been: a falling price buys, a rising one sells."""

    level: int
    side: str
    at: datetime


def build(lower: Decimal, upper: Decimal, *, levels: int, spacing: str) -> GridLevels:
    """Returns the levels from `lower` to `upper`, both included."""
    with localcontext(prec=DIGITS):
        if spacing == "arithmetic":
            step = (upper - lower) / (levels - 1)
            inner = [lower + step * n for n in range(1, levels - 1)]
        else:
            step = (upper / lower) ** (Decimal(1) / (levels - 1))
            inner = [lower * step**n for n in range(1, levels - 1)]
        return GridLevels((lower, *(level.quantize(STORED) for level in inner), upper), step.quantize(STORED))


def nearest_level(levels: Sequence[Decimal], price: Decimal) -> int:
    return min(range(len(levels)), key=lambda n: abs(levels[n] - price))


def fills(
    levels: Sequence[Decimal], filled_level: int, ticks: Iterable[tuple[datetime, Decimal]]
) -> tuple[list[Fill], int]:
    """Returns what ticks (time, price) fill, oldest first, and the level filled last.

    A level is filled again only after another was: a price that trembles on a level fills nothing.
    """
    found: list[Fill] = []
    for at, price in ticks:
        while filled_level > 0 and price <= levels[filled_level - 1]:
            filled_level -= 1
            found.append(Fill(filled_level, "buy", at))
        while filled_level < len(levels) - 1 and price >= levels[filled_level + 1]:
            filled_level += 1
            found.append(Fill(filled_level, "sell", at))
    return found, filled_level
