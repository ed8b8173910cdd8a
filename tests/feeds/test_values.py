"""The lean way to a quote gives the same numbers as plain ccxt, for every field that the venue sends."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from feeds.base import FeedSpec, Quote
from feeds.ccxt import lazy
from feeds.ccxt.feed import build_client
from feeds.ccxt.quirks import quirk_of
from feeds.shared.addresses import rebase

from .bodies import NOW_MS
from .conftest import OpenFeed
from .venue import Venue

FIELDS = {
    "last": "last",
    "bid": "bid",
    "ask": "ask",
    "high": "high",
    "low": "low",
    "base_volume": "baseVolume",
    "quote_volume": "quoteVolume",
}
# What ccxt works out although the venue does not send it.
DERIVED = {("kraken", "quote_volume")}


def plain_client(exchange_id: str, base_url: str = "") -> Any:
    client = lazy.client_class(exchange_id)({"options": dict(quirk_of(exchange_id).options), "enableRateLimit": False})
    if base_url:
        client.urls["api"] = rebase(client.urls["api"], base_url)
    return client


async def plain_tickers(exchange_id: str, base_url: str) -> dict[str, Any]:
    client = plain_client(exchange_id, base_url)
    try:
        tickers: dict[str, Any] = await client.fetch_tickers()
        return tickers
    finally:
        await client.close()


@pytest.mark.parametrize("exchange_id", ["binance", "binanceusdm", "coinbase", "kraken", "luno", "hyperliquid"])
def test_quotes_equal_plain_ccxt(exchange_id: str, venue: Venue, warm: OpenFeed) -> None:
    theirs = asyncio.run(plain_tickers(exchange_id, venue.base_url))
    ours = warm(exchange_id).fetch_quotes(list(theirs), deadline_seconds=10).quotes

    assert {quote.symbol for quote in ours} == set(theirs)
    assert len(theirs) >= 2
    for quote in ours:
        assert_equal(exchange_id, quote, theirs[quote.symbol])


def assert_equal(exchange_id: str, quote: Quote, ticker: dict[str, Any]) -> None:
    for ours, theirs in FIELDS.items():
        if (exchange_id, ours) not in DERIVED:
            assert getattr(quote, ours) == ticker[theirs], (quote.symbol, ours)
    assert quote.exchange_at == (ticker["timestamp"] / 1000 if ticker["timestamp"] else None)


# One row of each shape as the venue sends it; ccxt's own parser stands between, ours only makes the numbers.
SHAPES: dict[str, dict[str, Any]] = {
    "okx": {
        "instType": "SPOT",
        "instId": "BTC-USDT",
        "last": "65000.1",
        "lastSz": "0.1",
        "askPx": "65000.2",
        "askSz": "0.3",
        "bidPx": "65000.0",
        "bidSz": "1",
        "open24h": "64880",
        "high24h": "65500",
        "low24h": "64100",
        "volCcy24h": "801234567.8",
        "vol24h": "12345.6",
        "ts": str(NOW_MS),
        "sodUtc0": "64000",
        "sodUtc8": "64500",
    },
    "bybit": {
        "symbol": "BTCUSDT",
        "bid1Price": "64999.9",
        "bid1Size": "0.4",
        "ask1Price": "65000.1",
        "ask1Size": "1.1",
        "lastPrice": "65000.1",
        "prevPrice24h": "64880",
        "price24hPcnt": "0.0018",
        "highPrice24h": "65500",
        "lowPrice24h": "64100",
        "turnover24h": "801234567.8",
        "volume24h": "12345.6",
        "usdIndexPrice": "65001.2",
    },
    "gate": {
        "currency_pair": "BTC_USDT",
        "last": "65000.1",
        "lowest_ask": "65000.2",
        "highest_bid": "64999.9",
        "change_percentage": "0.18",
        "base_volume": "12345.6",
        "quote_volume": "801234567.8",
        "high_24h": "65500",
        "low_24h": "64100",
    },
    "mexc": {
        "symbol": "BTCUSDT",
        "priceChange": "120",
        "priceChangePercent": "0.0018",
        "prevClosePrice": "64880",
        "lastPrice": "65000.1",
        "bidPrice": "64999.9",
        "bidQty": "1",
        "askPrice": "65000.2",
        "askQty": "2",
        "openPrice": "64880",
        "highPrice": "65500",
        "lowPrice": "64100",
        "volume": "12345.6",
        "quoteVolume": "801234567.8",
        "openTime": NOW_MS - 86_400_000,
        "closeTime": NOW_MS,
    },
    "kucoin": {
        "symbol": "BTC-USDT",
        "symbolName": "BTC-USDT",
        "buy": "64999.9",
        "sell": "65000.2",
        "changeRate": "0.0018",
        "changePrice": "120",
        "high": "65500",
        "low": "64100",
        "vol": "12345.6",
        "volValue": "801234567.8",
        "last": "65000.1",
        "averagePrice": "64900",
        "takerFeeRate": "0.001",
        "makerFeeRate": "0.001",
        "time": NOW_MS,
    },
    "bitget": {
        "symbol": "BTCUSDT",
        "open": "64880",
        "high24h": "65500",
        "low24h": "64100",
        "lastPr": "65000.1",
        "quoteVolume": "801234567.8",
        "baseVolume": "12345.6",
        "usdtVolume": "801234567.8",
        "bidPr": "64999.9",
        "askPr": "65000.2",
        "bidSz": "1",
        "askSz": "2",
        "openUtc": "64880",
        "ts": str(NOW_MS),
        "changeUtc24h": "0.0018",
        "change24h": "0.0018",
    },
}

PARSERS = {"kucoin": "parse_spot_or_uta_ticker"}  # its fetch_tickers does not go through parse_ticker


@pytest.mark.parametrize("exchange_id", SHAPES)
def test_a_row_through_ccxts_own_parser_keeps_its_numbers(exchange_id: str) -> None:
    row = SHAPES[exchange_id]
    parser = PARSERS.get(exchange_id, "parse_ticker")
    theirs = getattr(plain_client(exchange_id), parser)(copy.deepcopy(row))
    ours = getattr(build_client(FeedSpec(exchange_id)), parser)(copy.deepcopy(row))

    assert theirs["last"] == 65000.1
    assert {name: ours[name] for name in FIELDS.values()} == {name: theirs[name] for name in FIELDS.values()}
    assert ours["timestamp"] == theirs["timestamp"]


def test_last_is_never_worked_out_from_the_days_opening() -> None:
    row = SHAPES["mexc"] | {"lastPrice": ""}
    theirs = plain_client("mexc").parse_ticker(dict(row))
    ours = build_client(FeedSpec("mexc")).parse_ticker(dict(row))

    assert theirs["last"] == 65000.0  # invented: 64880 + 120
    assert ours["last"] is None


def test_a_venue_with_its_own_reading_of_a_list_keeps_it() -> None:
    """hollaex sends {"btc-usdt": {...}} and takes the symbol from the key."""
    reply = {"btc-usdt": {"open": 1, "close": 2, "high": 3, "low": 1, "last": 2, "volume": 5, "symbol": "btc-usdt"}}

    assert (
        plain_client("hollaex").parse_tickers(reply).keys()
        == build_client(FeedSpec("hollaex")).parse_tickers(reply).keys()
    )
