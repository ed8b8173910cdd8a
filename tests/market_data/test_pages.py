"""Pages of trades of before, through each venue's own way of being asked, and the settings that order them."""

from __future__ import annotations

import time

import pytest
from django.core.exceptions import ValidationError

from exchanges import depth_settings
from feeds import open_feed
from feeds.base import FeedSpec, TradeSpan, Unsupported

FIRST = {
    "binance": "BTC/USDT", "binanceusdm": "BTC/USDT:USDT", "coinbase": "BTC/USD", "kraken": "BTC/USD",
}  # fmt: skip


@pytest.mark.parametrize("exchange_id", FIRST)
def test_a_span_of_before_is_answered_whole(sandbox, exchange_id):
    feed = open_feed(FeedSpec(exchange_id, base_url=sandbox.url))
    first = int(time.time()) - 3600

    page = feed.fetch_trade_page(
        FIRST[exchange_id], span=TradeSpan(first, first, first + 9), limit=20, deadline_seconds=10
    )

    assert page.is_numbered
    assert {str(number) for number in range(first, first + 9)} <= {trade.trade_id for trade in page.trades}


@pytest.mark.parametrize("exchange_id", ["quidax", "hyperliquid"])
def test_a_venue_that_cannot_be_asked_for_trades_of_before_says_so(sandbox, exchange_id):
    feed = open_feed(FeedSpec(exchange_id, base_url=sandbox.url))
    symbol = feed.load_markets(deadline_seconds=10)[0].symbol

    with pytest.raises(Unsupported):
        feed.fetch_trade_page(symbol, span=TradeSpan(1, 1.0, 2.0), limit=10, deadline_seconds=10)


@pytest.mark.parametrize(
    "wanted",
    [
        [],
        {"candles": {}},
        {"books": {}},
        {"books": {"top": 0}},
        {"books": {"top": True}},
        {"books": {"top": 3, "levels": 101}},
        {"books": {"top": 3, "seconds": 0.5}},
        {"trades": {"markets": ["BTC/USDT"], "levels": 5}},
        {"trades": {"markets": "BTC/USDT"}},
        {"funding": {"seconds": "60"}},
    ],
    ids=str,
)
def test_settings_that_nothing_could_be_made_of_are_refused(wanted):
    with pytest.raises(ValidationError):
        depth_settings.validate(wanted)


def test_what_is_left_out_is_usual_and_null_is_off():
    wanted = {"books": {"top": 3}, "trades": None, "funding": {}}
    depth_settings.validate(wanted)

    books, funding = depth_settings.parse(wanted)

    assert (books.kind, books.top, books.levels, books.seconds) == ("books", 3, 10, 10.0)
    assert (funding.kind, funding.markets, funding.seconds) == ("funding", frozenset(), 60.0)
