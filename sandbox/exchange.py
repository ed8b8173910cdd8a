"""The exchanges as they stand: their markets, their clocks, and what they show now."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from sandbox.clocks import Clock
from sandbox.faults import Fault, lies_of
from sandbox.lies import HONEST, Lies
from sandbox.market import Market, Quote, from_symbol, listing
from sandbox.venues import VENUES
from sandbox.venues.base import Venue
from sandbox.view import View

CLONE = re.compile(r"clone-[a-z0-9-]+")


class Exchange:
    """A venue under a name: its own, or a clone's."""

    def __init__(self, id_: str, venue: Venue, size: int) -> None:
        self.id = id_
        self.venue = venue
        self._size = size
        self._quotes: tuple[int, dict[str, Quote]] = (0, {})
        self.restore()

    def restore(self) -> None:
        """Restores real time, and the markets of the start."""
        self.price_clock = Clock()
        self.stamp_clock = Clock()
        self.markets = _catalogue(self.venue.id, self._size)

    def enlist(self, symbol: str) -> None:
        market = from_symbol(symbol)
        self.markets = {**self.markets, self.venue.id_of(market): market}

    def delist(self, symbol: str) -> None:
        self.markets = {id_: market for id_, market in self.markets.items() if market.symbol != symbol}

    def halt(self, symbol: str, *, is_halted: bool) -> None:
        self.markets = {
            id_: replace(market, is_halted=is_halted) if market.symbol == symbol else market
            for id_, market in self.markets.items()
        }

    def second(self, now: float) -> int:
        return int(self.price_clock.at(now))

    def view(self, now: float, faults: Sequence[Fault]) -> View:
        """Returns the view now; frozen prices and stamps stand where they were when their fault began."""
        second, stamp = self.second(now), self.stamp_clock.at(now)
        for fault in faults:
            if fault.kind == "frozen_prices":
                second = min(second, self.second(fault.starts_at))
            elif fault.kind == "frozen_stamps":
                stamp = min(stamp, self.stamp_clock.at(fault.starts_at))
            elif fault.kind == "future_stamps":
                stamp += fault.params["seconds"]
        return View(self.id, self.markets, second, self.stamp_clock.at(now), stamp, _lies(faults), self._known(second))

    def _known(self, second: int) -> dict[str, Quote]:
        if self._quotes[0] != second:
            self._quotes = (second, {})
        return self._quotes[1]


class Exchanges:
    """All exchanges; a clone is made when it is first asked for, one for each venue that is asked under its name."""

    def __init__(self, size: int | None = None) -> None:
        self._size = size
        self._exchanges = {(id_, id_): self._make(id_, venue) for id_, venue in VENUES.items()}

    def get(self, venue: Venue, clone: str | None) -> Exchange:
        id_ = clone or venue.id
        if (id_, venue.id) not in self._exchanges:
            self._exchanges[id_, venue.id] = self._make(id_, venue)
        return self._exchanges[id_, venue.id]

    def named(self, id_: str) -> list[Exchange]:
        return [exchange for exchange in self._exchanges.values() if exchange.id == id_]

    def all(self) -> list[Exchange]:
        return list(self._exchanges.values())

    def _make(self, id_: str, venue: Venue) -> Exchange:
        return Exchange(id_, venue, self._size or venue.size)


@cache
def _catalogue(venue_id: str, size: int) -> dict[str, Market]:
    """Returns markets by the venue's ids; shared by a venue and its clones, and so never changed in place."""
    venue = VENUES[venue_id]
    return {venue.id_of(market): market for market in listing(venue.symbols(), size)}


def _lies(faults: Sequence[Fault]) -> Lies:
    return lies_of(faults) if faults else HONEST
