"""The levels of a book, without those that are none: small faults that do not cost the book."""

from __future__ import annotations

from collections.abc import Iterable

Level = tuple[float, float]  # price and amount


def repaired(levels: Iterable[Level], depth: int) -> tuple[tuple[Level, ...], int]:
    """The `depth` best levels and how many were put right: one of no amount is left out, and what lies at one price is
    one level of both amounts."""
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
