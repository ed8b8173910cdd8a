"""A No is its Yes turned round, by whichever way it is read."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from feeds import open_feed
from feeds.base import Feed, FeedSpec
from tests.feeds.venue import Answer, Request, Venue

from .test_prediction import KALSHI_MARKET, NO, TICKER, YES

MINUTE = 1_795_000_020
Prices = tuple[float, float, float, float]  # open, high, low, close; bid and ask are low and high


def kalshi(venue: Venue, prices: Prices) -> Feed:
    first, high, low, last = (f"{price:.4f}" for price in prices)
    row = KALSHI_MARKET | {
        "last_price_dollars": last, "yes_bid_dollars": low, "yes_ask_dollars": high,
        "no_bid_dollars": f"{1 - prices[1]:.4f}", "no_ask_dollars": f"{1 - prices[2]:.4f}",
    }  # fmt: skip

    def markets(request: Request) -> Answer:
        wanted = "tickers=" in request.target or "series_ticker=KXBTCD&" in request.target
        return Answer({"markets": [row] if wanted else [], "cursor": ""})

    trades = [
        {"trade_id": f"{number}", "ticker": TICKER, "created_time": "2026-11-18T11:06:40Z", "count_fp": "3.00",
         "yes_price_dollars": price, "no_price_dollars": f"{1 - float(price):.4f}", "taker_side": side}
        for number, (price, side) in enumerate(((first, "yes"), (last, "no")))
    ]  # fmt: skip
    bar = {"open_dollars": first, "high_dollars": high, "low_dollars": low, "close_dollars": last}
    book = {"yes_dollars": [[low, "10"]], "no_dollars": [[f"{1 - prices[1]:.4f}", "20"]]}
    venue.answers = {
        "/trade-api/v2/markets": markets,
        "/markets/trades": Answer({"trades": trades, "cursor": ""}),
        "/candlesticks": Answer(
            {"candlesticks": [{"end_period_ts": MINUTE + 60, "price": bar, "volume_fp": "7.00"}], "ticker": TICKER}
        ),
        "/orderbook": Answer({"orderbook_fp": book, "orderbook": book}),
    }
    return open_feed(FeedSpec("kalshi", base_url=venue.base_url))


def by_quote(feed: Feed, symbol: str) -> list[float | None]:
    (quote,) = feed.fetch_quotes([symbol], deadline_seconds=8).quotes
    return [quote.last, quote.bid, quote.ask]


def by_trades(feed: Feed, symbol: str) -> list[float | None]:
    return [trade.price for trade in feed.fetch_trades(symbol, since=None, limit=10, deadline_seconds=5)]


def by_page(feed: Feed, symbol: str) -> list[float | None]:
    return [trade.price for trade in feed.fetch_trade_page(symbol, span=None, limit=10, deadline_seconds=5).trades]


def by_candles(feed: Feed, symbol: str) -> list[float | None]:
    (bar,) = feed.fetch_candles(symbol, timeframe="1m", since=MINUTE, limit=1, deadline_seconds=5)
    assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
    return [bar.open, bar.close, bar.low, bar.high]


def by_newest_candles(feed: Feed, symbol: str) -> list[float | None]:
    (bar,) = feed.fetch_candles(symbol, timeframe="1m", since=None, limit=None, deadline_seconds=5)
    return [bar.open, bar.close, bar.low, bar.high]


def by_book(feed: Feed, symbol: str) -> list[float | None]:
    book = feed.fetch_order_book(symbol, depth=1, deadline_seconds=5)
    return [book.bids[0][0], book.asks[0][0]]


READINGS: dict[str, tuple[Callable[[Feed, str], list[float | None]], list[int]]] = {
    # what is read, and which of them stands where the other outcome's does
    "quotes": (by_quote, [0, 2, 1]),
    "trades": (by_trades, [0, 1]),
    "a page of trades": (by_page, [0, 1]),
    "candles of a time": (by_candles, [0, 1, 3, 2]),
    "the newest candles": (by_newest_candles, [0, 1, 3, 2]),
    "the book": (by_book, [1, 0]),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("read", "places"), READINGS.values(), ids=READINGS.keys())
def test_a_no_is_its_yes_turned_round(read: Any, places: list[int], seed: int, venue: Venue) -> None:
    cents = sorted(random.Random(seed).sample(range(1, 100), 4))
    low, one, other, high = (cent / 100 for cent in cents)
    feed = kalshi(venue, (one, high, low, other))

    yes, no = read(feed, YES), read(feed, NO)

    assert no == [pytest.approx(1 - yes[place]) for place in places]
    assert yes != no


def test_the_taker_of_a_no_has_bought_it(venue: Venue) -> None:
    feed = kalshi(venue, (0.08, 0.10, 0.07, 0.09))

    sides = {symbol: [trade.side for trade in _trades(feed, symbol)] for symbol in (YES, NO)}

    assert sides == {YES: ["buy", "sell"], NO: ["sell", "buy"]}


def _trades(feed: Feed, symbol: str) -> Any:
    return feed.fetch_trades(symbol, since=None, limit=10, deadline_seconds=5)
