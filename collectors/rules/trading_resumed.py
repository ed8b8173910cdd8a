"""Whether a market that the exchange lists as halted is traded all the same, from two of its rows since the halt."""

from __future__ import annotations

from typing import NamedTuple

LEAST_GROWTH_SHARE = 1e-9  # of a volume: less is rounding


class Traded(NamedTuple):
    """What only a trade changes: the last price, and the volume of 24 hours, which else can only shrink."""

    last: float | None
    base_volume: float | None


def has_traded(before: Traded, after: Traded) -> bool:
    """Says whether something was traded between two rows. A changed bid or ask is none: a post-only mode has both."""
    if before.last is not None and after.last is not None and before.last != after.last:
        return True
    if before.base_volume is None or after.base_volume is None:
        return False
    return after.base_volume > before.base_volume * (1 + LEAST_GROWTH_SHARE)
