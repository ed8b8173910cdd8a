"""Candles, trades and books of each venue that has them agree with the sandbox's price function."""

from __future__ import annotations

import time

import pytest

from feeds.base import Unsupported
from tests.sandbox_client import Sandbox

from .conftest import NATIVE, OpenFeed

WITHOUT_HISTORY = {"chainlink"}
WITH_HISTORY = [name for name in NATIVE if name not in WITHOUT_HISTORY]


def bitcoin(feed: object) -> str:
    listed = feed.load_markets(deadline_seconds=10)  # type: ignore[attr-defined]
    return str(next(market.symbol for market in listed if market.base == "BTC"))


@pytest.mark.parametrize("exchange_id", WITH_HISTORY)
def test_candles_agree_with_prices(open_on_sandbox: OpenFeed, sandbox: Sandbox, exchange_id: str) -> None:
    feed = open_on_sandbox(exchange_id)
    symbol, since = bitcoin(feed), float(int(time.time()) // 60 * 60 - 600)

    candles = feed.fetch_candles(symbol, timeframe="1m", since=since, limit=5, deadline_seconds=5)

    assert [candle.opened_at for candle in candles] == [since + 60 * n for n in range(5)]
    for candle in candles:
        assert candle.open == sandbox.price(exchange_id, symbol, int(candle.opened_at))
        assert candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high


@pytest.mark.parametrize("exchange_id", WITH_HISTORY)
def test_trades_happened_at_the_prices_of_their_seconds(
    open_on_sandbox: OpenFeed, sandbox: Sandbox, exchange_id: str
) -> None:
    feed = open_on_sandbox(exchange_id)
    symbol = bitcoin(feed)

    trades = feed.fetch_trades(symbol, since=None, limit=5, deadline_seconds=5)

    assert len(trades) == 5
    assert sorted(trade.traded_at for trade in trades) == [trade.traded_at for trade in trades]
    for trade in trades:
        assert trade.price == sandbox.price(exchange_id, symbol, int(trade.traded_at))


@pytest.mark.parametrize("exchange_id", WITH_HISTORY)
def test_a_book_is_sorted_and_not_crossed(open_on_sandbox: OpenFeed, exchange_id: str) -> None:
    feed = open_on_sandbox(exchange_id)

    book = feed.fetch_order_book(bitcoin(feed), depth=3, deadline_seconds=5)

    assert [price for price, _ in book.bids] == sorted((price for price, _ in book.bids), reverse=True)
    assert [price for price, _ in book.asks] == sorted(price for price, _ in book.asks)
    assert book.bids[0][0] < book.asks[0][0]
    assert 0 < len(book.bids) <= 3


def test_an_oracle_has_none_of_them(open_on_sandbox: OpenFeed) -> None:
    feed = open_on_sandbox("chainlink")

    with pytest.raises(Unsupported):
        feed.fetch_candles("BTC/USD", timeframe="1m", since=None, limit=5, deadline_seconds=5)
    with pytest.raises(Unsupported):
        feed.fetch_trades("BTC/USD", since=None, limit=5, deadline_seconds=5)
    with pytest.raises(Unsupported):
        feed.fetch_order_book("BTC/USD", depth=5, deadline_seconds=5)
