"""The true price of every symbol on every exchange in every second, as a pure function.

Only additions, multiplications and roundings are used, no libm, so that every machine agrees to the last digit.
A price is already rounded to what the venue prints: parsing what was on the wire gives exactly `price(…)`.
Exchanges see the same market: an asset has one walk, and each exchange and symbol is a few basis points off it.
"""

from __future__ import annotations

from functools import lru_cache
from math import floor, log10
from typing import NamedTuple

from sandbox import questions
from sandbox.assets import MONEY, unit, usd_anchor, volatility

# (seconds, share of the price): long waves make days differ, short ones make every poll differ.
WAVES = (
    (2_600_003, 0.06),
    (401_009, 0.03),
    (57_037, 0.012),
    (7_919, 0.004),
    (1_201, 0.0015),
    (241, 0.0006),
    (37, 4e-4),
)
EXCHANGE_BIAS = 0.0005
SYMBOL_BIAS = 0.0003
HALF_SPREAD = 0.0002
SIGNIFICANT_DIGITS = {"hyperliquid": 5}
USUAL_SIGNIFICANT_DIGITS = 6
MOST_DECIMALS = 12
# An oracle writes a price down now and then; until the next time that is its price.
WRITTEN_EVERY_SECONDS = {"chainlink": 60}
MONEY_WRITTEN_EVERY_SECONDS = {"chainlink": 3600}
DAY_SECONDS = 86_400
DAY_SAMPLE_SECONDS = 14_400
CANDLE_SAMPLES = 4


class Terms(NamedTuple):
    """The part of a price that does not change with time."""

    base: str
    quote: str
    factor: float
    decimals: int


class Candle(NamedTuple):
    start: int
    open: float
    high: float
    low: float
    close: float


class Day(NamedTuple):
    """The last 24 hours as a ticker tells them."""

    open: float
    high: float
    low: float
    base_volume: float


def price(exchange: str, symbol: str, second: int) -> float:
    """Returns the last price; `symbol` is ccxt's unified symbol."""
    base, quote, factor, decimals = terms(exchange, symbol)
    second = written_at(exchange, base, second)
    worth = value(base, second) / value(quote, second) * factor
    return questions.chance(symbol, worth) if questions.is_question(symbol) else round(worth, decimals)


def written_at(exchange: str, base: str, second: int) -> int:
    """Returns the second whose price the exchange shows."""
    table = MONEY_WRITTEN_EVERY_SECONDS if base in MONEY else WRITTEN_EVERY_SECONDS
    return second - second % table.get(exchange, 1)


def wire_price(exchange: str, symbol: str, second: int) -> str:
    return f"{price(exchange, symbol, second):.{terms(exchange, symbol).decimals}f}"


def sides(exchange: str, symbol: str, second: int) -> tuple[float, float]:
    """Returns best bid and best ask: at least one tick on either side of the last price."""
    last = price(exchange, symbol, second)
    decimals = terms(exchange, symbol).decimals
    half = half_spread(last, decimals)
    return round(last - half, decimals), round(last + half, decimals)


def half_spread(last: float, decimals: int) -> float:
    return max(last * HALF_SPREAD, 10.0**-decimals)


def candle(exchange: str, symbol: str, start: int, *, period: int, now: int) -> Candle:
    """Returns a bar. Closed ones never change again: open and close are the price at the period's two ends."""
    end = min(start + period, now)
    seconds = [start, *(start + period * n // (CANDLE_SAMPLES + 1) for n in range(1, CANDLE_SAMPLES + 1)), end]
    seen = [price(exchange, symbol, second) for second in seconds if second <= end]
    return Candle(start, seen[0], max(seen), min(seen), seen[-1])


@lru_cache(maxsize=200_000)
def day(exchange: str, symbol: str, sample: int) -> Day:
    """Returns the last day; `sample` is the second divided by DAY_SAMPLE_SECONDS: computed six times a day only."""
    newest = sample * DAY_SAMPLE_SECONDS
    seen = [price(exchange, symbol, second) for second in range(newest - DAY_SECONDS, newest + 1, DAY_SAMPLE_SECONDS)]
    dollars = 10 ** (6 + 3 * unit("volume", exchange, symbol))
    volume = dollars / unit_dollars(symbol) * (1 + 0.2 * unit("volume", symbol, sample))
    return Day(seen[0], max(seen), min(seen), round(volume, 2))


@lru_cache(maxsize=200_000)
def terms(exchange: str, symbol: str) -> Terms:
    base, _, rest = symbol.partition("/")
    quote = rest.partition(":")[0]
    if questions.is_question(symbol):
        return Terms(base, quote, 1.0, questions.DECIMALS)
    bias = EXCHANGE_BIAS * (2 * unit("bias", exchange) - 1) + SYMBOL_BIAS * (2 * unit("bias", exchange, symbol) - 1)
    digits = SIGNIFICANT_DIGITS.get(exchange, USUAL_SIGNIFICANT_DIGITS)
    decimals = digits - 1 - floor(log10(usd_anchor(base) / usd_anchor(quote)))
    return Terms(base, quote, 1 + bias, min(max(decimals, 0), MOST_DECIMALS))


def unit_dollars(symbol: str) -> float:
    """Returns what one unit of a market's amounts is worth in dollars: a coin, or a contract that pays a dollar."""
    return 1.0 if questions.is_question(symbol) else usd_anchor(symbol.partition("/")[0])


@lru_cache(maxsize=50_000)
def value(asset: str, second: int) -> float:
    """Returns an asset's worth in dollars, on no exchange in particular."""
    total = 0.0
    for period, share, phase in _waves(asset):
        swing = 2 * ((second / period + phase) % 1.0) - 1
        total += share * 4 * swing * (1 - abs(swing))
    return usd_anchor(asset) * (1 + total)


@lru_cache(maxsize=10_000)
def _waves(asset: str) -> tuple[tuple[int, float, float], ...]:
    return tuple((period, share * volatility(asset), unit("phase", asset, period)) for period, share in WAVES)
