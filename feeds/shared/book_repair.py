"""The levels of a book without those that do not count: small faults do not cost the book."""

from __future__ import annotations

from collections.abc import Iterable

Level = tuple[float, float]  # price and amount


def repaired(levels: Iterable[Level], depth: int) -> tuple[tuple[Level, ...], int]:
    """Returns the `depth` best levels and how many were put right: a level without an amount is left out, and levels
    at one price are one level of both amounts."""
    kept: list[Level] = []
    count = 0
    for price, amount in levels:
        if amount == 0:
            count += 1
        elif kept and kept[-1][0] == price:
            kept[-1] = (price, kept[-1][1] + amount)
            count += 1
        elif len(kept) == depth:
            break
        else:
            kept.append((price, amount))
    return tuple(kept), count
