"""An exchange as it shows itself at one moment: the values that the venues' renderers print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sandbox import prices
from sandbox.assets import unit
from sandbox.lies import HONEST, Lies
from sandbox.market import Book, Market, PriceBar, Quote, Trade

LEVEL_STEP = 0.0001  # between two levels of a book, as a share of the price
ORDER_DOLLARS = 400.0
DOLLARS_A_SECOND = 300.0


@dataclass(frozen=True)
class View:
    """One moment: `second` of the price clock, `clock` as the venue believes it, `stamp` as it writes it on data.

    `markets` are by the venue's own ids.
    """

    exchange: str
    markets: Mapping[str, Market]
    second: int
    clock: float
    stamp: float
    lies: Lies = HONEST
    told_before: dict[str, Quote] = field(default_factory=dict)  # of this second, by symbol

    @property
    def stamp_ms(self) -> int:
        return int(self.stamp * 1000)

    @property
    def clock_ms(self) -> int:
        return int(self.clock * 1000)

    def tickers(self, ids: Iterable[str] | None = None) -> Iterator[tuple[str, Market, Quote]]:
        """Yields every market that trades, or of those named the ones that do."""
        wanted = (
            self.markets.items() if ids is None else ((id_, self.markets[id_]) for id_ in ids if id_ in self.markets)
        )
        for id_, market in wanted:
            if not market.is_halted and not self.lies.drops(market.symbol):
                yield id_, market, self.quote(market)

    def quote(self, market: Market) -> Quote:
        quote = self.told_before.get(market.symbol)
        if quote is None:
            quote = self.told_before[market.symbol] = self._honest_quote(market.symbol)
        return self.lies.told(market.symbol, quote) if self.lies.values else quote

    def _honest_quote(self, symbol: str) -> Quote:
        second = self.second
        decimals = prices.terms(self.exchange, symbol).decimals
        last = prices.price(self.exchange, symbol, second)
        half = prices.half_spread(last, decimals)
        day = prices.day(self.exchange, symbol, second // prices.DAY_SAMPLE_SECONDS)
        return Quote(
            f"{last:.{decimals}f}",
            f"{last - half:.{decimals}f}",
            f"{last + half:.{decimals}f}",
            f"{day.open:.{decimals}f}",
            f"{max(day.high, last):.{decimals}f}",
            f"{min(day.low, last):.{decimals}f}",
            f"{day.base_volume:.2f}",
            f"{day.base_volume * last:.2f}",
            f"{(last / day.open - 1) * 100:.3f}",
        )

    def at(self, second: int) -> View:
        """Returns the same exchange at another second."""
        return replace(self, second=second, told_before={})

    def digits(self, market: Market) -> int:
        return prices.terms(self.exchange, market.symbol).decimals

    def book(self, market: Market, depth: int) -> Book:
        quote, digits = self.quote(market), self.digits(market)
        bid, ask = prices.sides(self.exchange, market.symbol, self.second)
        step = max(bid * LEVEL_STEP, 10**-digits)
        amounts = [self._amount(market, "level", n) for n in range(depth)]
        bids = [f"{bid - n * step:.{digits}f}" for n in range(depth) if bid > n * step]
        asks = [f"{ask + n * step:.{digits}f}" for n in range(depth)]
        lower, upper = ([quote.bid, *bids[1:]], [quote.ask, *asks[1:]])
        return Book(list(zip(lower, amounts, strict=False)), list(zip(upper, amounts, strict=False)))

    def bars(self, market: Market, period: int, *, starts: Iterable[int]) -> Iterator[PriceBar]:
        """Yields only bars of periods that have begun; the last one may still run."""
        digits = self.digits(market)
        for start in starts:
            if 0 <= start <= self.second:
                bar = prices.candle(self.exchange, market.symbol, start, period=period, now=self.second)
                dollars = DOLLARS_A_SECOND * period * (0.5 + unit("bar", self.exchange, market.symbol, period, start))
                volume = dollars / prices.unit_dollars(market.symbol)
                opened, high, low, close = (f"{value:.{digits}f}" for value in bar[1:])
                yield PriceBar(start, opened, high, low, close, f"{volume:.8f}", f"{volume * bar.close:.8f}")

    def trades(
        self, market: Market, count: int, *, first: int = 0, last: int | None = None, oldest_first: bool = False
    ) -> Iterator[Trade]:
        """Yields one trade a second, newest first, numbered by its second; asked again they are the same.

        `first` and `last` are the numbers between which they are wanted.
        """
        shift = int(self.stamp) - self.second
        newest = self.second if last is None else min(last, self.second)
        if oldest_first:
            seconds = range(first, min(first + count - 1, newest) + 1)
        else:
            seconds = range(newest, max(newest - count, first - 1), -1)
        for second in seconds:
            price = prices.wire_price(self.exchange, market.symbol, second)
            is_buy = unit("side", self.exchange, market.symbol, second) < 0.5
            yield Trade(second, second + shift, price, self._amount(market, "trade", second), is_buy)

    def _amount(self, market: Market, *what: Any) -> str:
        dollars = ORDER_DOLLARS * (0.1 + unit(market.symbol, *what))
        return f"{dollars / prices.unit_dollars(market.symbol):.{max(market.amount_decimals, 2)}f}"


def newest(period: int, *, last: int, count: int) -> range:
    """Returns the starts of the `count` newest periods up to the second `last`, ascending."""
    final = last // period * period
    return range(final - (count - 1) * period, final + 1, period)


def between(period: int, first: int, last: int) -> range:
    """Returns the starts of all periods in these seconds, ascending."""
    return range(-(-first // period) * period, last + 1, period)


def iso(at: float) -> str:
    """Returns `2026-03-03T10:30:47.123Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
