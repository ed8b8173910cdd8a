"""An adversary: its markets as they are now, the list that it shows, its prices, and what it has sent.

Prices of market number k move around `100 + k`, alike on all adversaries; their last eight digits are the number of the
market and of the answer. So no two rows have one price, and each stored one can be held against the row that was sent.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

FIRST_PRICE = 100
ANSWERS_COUNTED = 100_000
WAVE_SECONDS, WAVE_SHARE = 120.0, 0.03  # slow enough that two exchanges asked 10 s apart differ by 2 % at most
LIST_LASTS = 25  # answers
LEAST_MARKETS, MOST_MARKETS = 30, 90
NUMBERS = 200
UNKNOWN = 900  # numbers from here on are markets that no list has
HALTED_SHARE, LEFT_OUT_SHARE, UNKNOWN_SHARE, TWICE_SHARE = 0.05, 0.04, 0.15, 0.03
NEW_NAME_SHARE = 0.05
LEAP = 1000

Row = dict[str, Any]


@dataclass
class AdverseMarket:
    """A market of an adversary: `number` makes its prices, `name` is what it is called now."""

    number: int
    id: str
    name: str
    is_halted: bool = False


@dataclass(frozen=True, slots=True)
class AdverseQuote:
    """The values of one row, as they are sent; `stamp_ms` is Unix milliseconds, None where the row says none."""

    last: str
    ask: str
    stamp_ms: int | None

    def stamp_or(self, other: int) -> int:
        return other if self.stamp_ms is None else self.stamp_ms


@dataclass(slots=True)
class Lie:
    """What an operator's order makes of answers until then: `freeze` values, `stale` values and stamps, `leap` by
    `LEAP`, `short` of two thirds of the rows."""

    kind: str
    until: float
    seconds_ago: float = 0.0
    since: float = 0.0


@dataclass
class Adversary:
    """One exchange; `served` has by id the price of each row that was sent, and its stamp. `lied` are the prices that
    were not the market's at that time, and `true_at` is by id when the last row was sent that told no lie."""

    venue: str
    chance: random.Random
    id_of: Callable[[int], str]
    markets: dict[str, AdverseMarket] = field(default_factory=dict)
    served: dict[str, dict[str, int | None]] = field(default_factory=dict)
    lied: set[str] = field(default_factory=set)
    true_at: dict[str, float] = field(default_factory=dict)
    lies: list[Lie] = field(default_factory=list)
    kept: dict[str, tuple[str, int]] = field(default_factory=dict)
    answers: int = 0
    lists: int = 0
    is_still: bool = False

    def list_markets(self) -> list[AdverseMarket]:
        """Returns the list as it is asked for now: shuffled, and changed since the last time."""
        self.lists += 1
        self.move()
        found = list(self.markets.values())
        self.chance.shuffle(found)
        return found

    def rows(self, shape: Callable[[AdverseMarket, AdverseQuote], Row]) -> list[Row]:
        """Returns the rows of one answer; `shape` makes the exchange's own of a market and its values."""
        self.answers += 1
        if self.answers % LIST_LASTS == 0:
            self.move()
        found = [shape(market, self.quote(market, time.time())) for market in self._answered()]
        self.chance.shuffle(found)
        return found

    def pushed(self, market: AdverseMarket) -> AdverseQuote:
        """Returns the values of one row that is pushed, an answer of its own."""
        self.answers += 1
        return self.quote(market, time.time())

    def quote(self, market: AdverseMarket, now: float) -> AdverseQuote:
        """Returns the values of one row, and remembers that they were sent."""
        lies = {lie.kind: lie for lie in self.lies if lie.until > now}
        last, stamp = self._values(market, now, lies)
        said = self._stamp(stamp)
        self.served.setdefault(market.id, {})[last] = stamp if said is not None else None
        if lies.keys() & {"freeze", "stale", "leap"}:
            self.lied.add(last)
        else:
            self.true_at[market.id] = now
        return AdverseQuote(last, f"{float(last) * 1.0001:.10f}", said)

    def _values(self, market: AdverseMarket, now: float, lies: dict[str, Lie]) -> tuple[str, int]:
        stamp = int(now * 1000)
        if "freeze" in lies or "stale" in lies:
            lie = lies.get("freeze") or lies["stale"]
            then = now if lie.kind == "freeze" else lie.since - lie.seconds_ago
            held = self.kept.setdefault(market.id, (self._price(market, then), int(then * 1000)))
            return held[0], stamp if lie.kind == "freeze" else held[1]
        self.kept.clear()
        return self._price(market, now, LEAP if "leap" in lies else 1), stamp

    def _price(self, market: AdverseMarket, now: float, factor: int = 1) -> str:
        wave = math.sin(2 * math.pi * now / WAVE_SECONDS + market.number)
        value = (FIRST_PRICE + market.number) * (1 + WAVE_SHARE * wave) * factor
        return f"{value:.2f}{market.number:03d}{self.answers % ANSWERS_COUNTED:05d}"

    def _answered(self) -> list[AdverseMarket]:
        known = [market for market in self.markets.values() if self.chance.random() > LEFT_OUT_SHARE]
        known = [market for market in known if not market.is_halted or self.chance.random() < 0.5]
        if any(lie.kind == "short" and lie.until > time.time() for lie in self.lies):
            known = known[: len(known) // 3]
        known += [each for each in known if self.chance.random() < TWICE_SHARE]
        if self.chance.random() < UNKNOWN_SHARE:
            number = UNKNOWN + self.chance.randrange(50)
            known.append(AdverseMarket(number, self.id_of(number), f"N{number}"))
        return known

    def _stamp(self, stamp: int) -> int | None:
        """Returns the stamp as it is sent: mostly whole, now and then none, or in another unit."""
        unit = self.chance.random()
        if unit < 0.02:
            return None
        return stamp * 1000 if unit < 0.03 else stamp

    def move(self) -> None:
        """Lists some, delists some, renames some, halts some; ids stay with their numbers, names do not."""
        if self.is_still and self.markets:
            return
        wanted = self.chance.randint(LEAST_MARKETS, MOST_MARKETS)
        while len(self.markets) > wanted:
            self.markets.pop(self.chance.choice(list(self.markets)))
        while len(self.markets) < wanted:
            number = self.chance.randrange(NUMBERS)
            self.markets.setdefault(self.id_of(number), AdverseMarket(number, self.id_of(number), f"N{number}"))
        for market in self.markets.values():
            market.is_halted = self.chance.random() < HALTED_SHARE
            if self.chance.random() < NEW_NAME_SHARE:  # a new name, or one that another has, too
                market.name = f"N{self.chance.randrange(NUMBERS)}"
