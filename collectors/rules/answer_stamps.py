"""How much the stamps of an answer's rows prove of its age: they are the answer's own, or those of last trades."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

TOGETHER: Final = "together"  # the rows have nearly one time: it is that of the answer
APART: Final = "apart"  # each market has a time of its own, as that of its last trade is
FEW: Final = "few"  # so few markets may all be quiet
LEAST_MARKETS = 3
TOGETHER_SECONDS, TOGETHER_SHARE = 10.0, 0.5


def spread_of(stamps: Sequence[float | None]) -> str:
    """Returns the word for the stamps of a whole answer."""
    told = [stamp for stamp in stamps if stamp is not None]
    if len(told) < LEAST_MARKETS:
        return FEW
    latest = max(told) - TOGETHER_SECONDS
    near = sum(stamp >= latest for stamp in told)
    return TOGETHER if near >= TOGETHER_SHARE * len(told) else APART


def spread_of_pushed(stamps: Sequence[float | None], *, market_count: int) -> str:
    """Returns the word for what a stream pushes at once, which is as a rule a part of all; empty where it proves
    nothing of the others."""
    if market_count < LEAST_MARKETS:
        return FEW
    word = spread_of(stamps)
    return "" if word == FEW else word
