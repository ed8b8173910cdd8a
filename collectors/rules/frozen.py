"""Old values under fresh stamps: whether a price is frozen while the same pair moves on other exchanges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

LEAST_SOURCES = 2  # one other that moves may be the one that is wrong
LEAST_MARKETS = 5  # of a source that stands still as a whole: then one other is enough
LEAST_MOVE_SHARE = 0.001  # of a price: less is the difference between two exchanges, not a move of the pair
USUAL_CHANGES = 10  # a market that rests long between changes is given ten such rests


@dataclass(frozen=True, slots=True)
class Stillness:
    """A pipeline whose rows come and do not change, and the moves of the others of its pair.

    `usual_seconds` is how long its value usually rests, None when that is not known; `moves` are shares of the price,
    one for each other exchange, since this one's last change. Of a pair that is `pegged` nothing else is expected. With
    `whole_source` not one market of its source has changed.
    """

    unchanged_seconds: float
    usual_seconds: float | None
    moves: Sequence[float]
    pegged: bool = False
    whole_source: bool = False


def is_frozen(still: Stillness, *, after_seconds: float, least_move: float) -> bool:
    """Says whether it rests far longer than usual, while most others have moved by at least `least_move`."""
    if still.pegged or len(still.moves) < (1 if still.whole_source else LEAST_SOURCES):
        return False
    patience = max(after_seconds, USUAL_CHANGES * (still.usual_seconds or 0.0))
    return still.unchanged_seconds > patience and median(still.moves) >= least_move
