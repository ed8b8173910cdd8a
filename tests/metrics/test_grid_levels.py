"""A ladder's levels, and what a price does to them, at the edges."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from metrics.rules import grid_levels

AT = datetime(2026, 1, 1, tzinfo=UTC)
LEVELS = [Decimal(level) for level in (10, 20, 30, 40)]


def fills(start: int, *prices: float) -> tuple[list[tuple[str, int]], int]:
    found, level = grid_levels.fills(LEVELS, start, [(AT, Decimal(str(price))) for price in prices])
    return [(fill.side, fill.level) for fill in found], level


@pytest.mark.parametrize(
    ("start", "prices", "filled", "level"),
    [
        (1, [20], [], 1),
        (1, [10.1, 29.9], [], 1),
        (1, [10], [("buy", 0)], 0),  # at the level, not only beyond it
        (1, [30], [("sell", 2)], 2),
        (1, [40], [("sell", 2), ("sell", 3)], 3),
        (3, [10], [("buy", 2), ("buy", 1), ("buy", 0)], 0),
        (0, [1], [], 0),  # below the lowest is nothing
        (3, [99], [], 3),
        (1, [30, 30.1, 29.9, 30], [("sell", 2)], 2),  # a price that trembles
        (1, [30, 20, 30], [("sell", 2), ("buy", 1), ("sell", 2)], 2),
    ],
)
def test_what_a_price_fills(start: int, prices: list[float], filled: list[tuple[str, int]], level: int) -> None:
    assert fills(start, *prices) == (filled, level)


@pytest.mark.parametrize(("price", "level"), [(1, 0), (14.9, 0), (15, 0), (15.1, 1), (36, 3), (99, 3)])
def test_the_nearest_level_and_of_two_the_lower(price: float, level: int) -> None:
    assert grid_levels.nearest_level(LEVELS, Decimal(str(price))) == level
