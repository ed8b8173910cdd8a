"""Whether a market trades, is halted or is delisted: by its line in the exchange's list, and by rows that prove trades.

Halted is what the list names and does not trade; delisted is what has left the list. `Market.state` is made of the
columns that `listed_state` gives; `polling/market_list.py` writes them, `polling/halts.py` ends halts early.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from feeds.base import Listing

LEAST_GROWTH_SHARE = 1e-9  # of a volume: less is rounding


class ListedState(NamedTuple):
    """What a market's line in the list makes of its columns."""

    active: bool
    delisted_at: datetime | None
    halted_at: datetime | None
    halt: str
    dormant: bool


def listed_state(listing: Listing, *, halted_at: datetime | None, has_been_traded: bool, now: datetime) -> ListedState:
    """Returns the state of a listed market. A halt keeps its first moment; a market never seen traded is dormant.

    A listing that is not genuine is another market's name: as good as gone.
    """
    halt = listing.halted_because
    return ListedState(
        active=listing.is_genuine,
        delisted_at=None if listing.is_genuine else now,
        halted_at=(halted_at or now) if halt else None,
        halt=halt,
        dormant=bool(halt) and not has_been_traded,
    )


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
