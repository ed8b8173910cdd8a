"""The worth of a question's outcome: the chance that an asset stands above a strike, between 0 and 1.

A symbol names asset, money, market and outcome: BTC/USD:KXBTCD-30DEC3117-T64999.99-YES.
"""

from __future__ import annotations

import re
from functools import cache

YES, NO = "-YES", "-NO"
STRIKE = re.compile(r"(?:-T|above-)(\d+(?:\.\d+)?)")
STEEPNESS = 10  # a price 10 % above the strike makes 3:1
LEAST, MOST = 0.02, 0.98
DECIMALS = 2


def is_question(symbol: str) -> bool:
    return symbol.endswith((YES, NO))


def chance(symbol: str, worth: float) -> float:
    """Returns an outcome's chance; both outcomes of a question add up to one."""
    lead = (worth / strike(symbol) - 1) * STEEPNESS
    yes = min(max(round(0.5 + 0.5 * lead / (1 + abs(lead)), DECIMALS), LEAST), MOST)
    return yes if symbol.endswith(YES) else round(1 - yes, DECIMALS)


@cache
def strike(symbol: str) -> float:
    found = STRIKE.search(symbol)
    return float(found.group(1)) if found else 1.0


def without_outcome(symbol: str) -> str:
    return symbol.removesuffix(YES).removesuffix(NO)
