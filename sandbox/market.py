"""Markets as the simulated venues list them, and the values that a venue prints about one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from math import floor, log10
from typing import Any, NamedTuple

from sandbox.assets import COINS, MONEY, usd_anchor

LEAST_IN_COINS = 0.5  # dollars: cheaper coins are not quoted in coins, their prices would have no digits


@dataclass(frozen=True, slots=True)
class Market:
    """A listed market. `symbol` is ccxt's; a perpetual has a `settle` asset. A halted market has no ticker."""

    symbol: str
    base: str
    quote: str
    settle: str | None = None
    is_halted: bool = False

    @property
    def amount_decimals(self) -> int:
        return min(8, max(0, floor(log10(usd_anchor(self.base))) + 4))


class Quote(NamedTuple):
    """A ticker's values as texts with the venue's digits; a lie may put any JSON value in a field."""

    last: Any
    bid: Any
    ask: Any
    open: Any
    high: Any
    low: Any
    base_volume: Any
    quote_volume: Any
    change_percent: Any


class PriceBar(NamedTuple):
    start: int
    open: str
    high: str
    low: str
    close: str
    base_volume: str
    quote_volume: str


class Trade(NamedTuple):
    number: int
    at: float
    price: str
    amount: str
    is_buy: bool


class Book(NamedTuple):
    """An order book of (price, amount) levels, best first."""

    bids: list[tuple[Any, str]]
    asks: list[tuple[Any, str]]


def from_symbol(symbol: str, *, is_halted: bool = False) -> Market:
    pair, _, settle = symbol.partition(":")
    base, _, quote = pair.partition("/")
    return Market(symbol, base, quote, settle or None, is_halted)


def spot(quotes: Sequence[str], *, coins: Sequence[str] = tuple(COINS)) -> Iterator[str]:
    """Yields spot symbols without end: every coin in the first quote asset, then in the next, then made-up coins."""
    for quote in quotes:
        yield from (f"{coin}/{quote}" for coin in coins if _is_sensible(coin, quote))
    yield from (f"SIM{number}/{quotes[0]}" for number in count(1))


def perpetual(quotes: Sequence[str]) -> Iterator[str]:
    return (f"{symbol}:{symbol.partition('/')[2]}" for symbol in spot(quotes))


def listing(symbols: Iterator[str], size: int) -> list[Market]:
    """Returns `size` markets that trade and one that is halted."""
    names = list(islice(symbols, size + 1))
    return [from_symbol(name, is_halted=name is names[-1]) for name in names]


def _is_sensible(coin: str, quote: str) -> bool:
    return quote in MONEY or (coin != quote and usd_anchor(coin) >= LEAST_IN_COINS)
