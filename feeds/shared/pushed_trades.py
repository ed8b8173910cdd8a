"""Trades that a stream holds until they are taken."""

from __future__ import annotations

from dataclasses import dataclass

from feeds.base import TradePage

MOST_HELD = 5_000  # trades of one market that nobody has taken yet; the oldest go


@dataclass(slots=True)
class TakenTrades:
    """A market's trades as they were taken. `follows`: nothing is missing since what was taken before."""

    page: TradePage
    follows: bool
