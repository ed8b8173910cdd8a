"""What ccxt's own code reads or makes up, compared with what we know of it: the next version's surprises show here."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from feeds.base import Feed
from feeds.ccxt.fields import FIELD_MAPS
from feeds.ccxt.markets import DROPPED
from feeds.ccxt.quirks import QUIRKS

from .test_parts import listing, row
from .venue import Answer, Venue

READERS = (
    "parse_ticker", "fetch_ticker", "parse_trade", "fetch_trades", "parse_ohlcv", "fetch_ohlcv", "parse_order_book",
    "fetch_order_book", "parse_funding", "fetch_funding_rate", "fetch_bids_asks",
)  # fmt: skip
# Readers of a market's raw row that do no harm where it is dropped.
HARMLESS = {
    "hitbtc": "the currency of a trade's fee",
    "phemex": "the currency of a trade's fee",
    "delta": "candles of an index, which are not asked for",
    "okx": "candles of an index, and single funding rates of futures: all rates come in one answer",
    "hyperliquid": "markets of other builders, which are not listed",
    "polymarket": "kept under the id polymarket_perpetuals",
}


@cache
def classes() -> dict[str, ast.ClassDef]:
    found = importlib.util.find_spec("ccxt")
    assert found is not None
    assert found.origin is not None
    trees = {
        path.stem: ast.parse(path.read_text(encoding="utf-8"))
        for path in Path(found.origin).parent.glob("async_support/*.py")
        if path.stem != "__init__"
    }
    return {name: node for name, tree in trees.items() for node in tree.body if isinstance(node, ast.ClassDef)}


def methods(exchange_id: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in classes()[exchange_id].body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def descendants(exchange_id: str) -> set[str]:
    """It and the ids whose classes are made of it."""
    found = {exchange_id}
    while True:
        more = {
            name
            for name, node in classes().items()
            for base in node.bases
            if isinstance(base, ast.Name) and base.id in found
        } - found
        if not more:
            return found
        found |= more


def reads_dropped(method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Something of a market that `markets.pack` leaves out."""
    for node in ast.walk(method):
        owner: ast.expr | None = None
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            owner, key = node.value, node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and len(node.args) > 1:
            owner, key = (node.args[0], node.args[1]) if node.func.attr.startswith("safe_") else (None, node.args[1])
        is_dropped = owner is not None and isinstance(key, ast.Constant) and key.value in DROPPED
        if is_dropped and owner is not None and "market" in ast.unparse(owner).lower():
            return True
    return False


def test_every_reader_of_what_we_drop_is_known() -> None:
    found = {
        name
        for name in classes()
        for method in methods(name)
        if method.name.startswith(READERS) and reads_dropped(method)
    }
    kept = {name for name, quirk in QUIRKS.items() if quirk.keeps_market_info or quirk.keeps}

    unknown = {one for name in found - HARMLESS.keys() for one in descendants(name) - kept}

    assert unknown == set()
    assert HARMLESS.keys() <= found


def test_every_quote_volume_that_ccxt_makes_up_is_known() -> None:
    found = {
        name
        for name in classes()
        for method in methods(name)
        if method.name == "parse_ticker" and "string_mul(baseVolume, vwap)" in ast.unparse(method)
    }
    known = {name for name, quirk in QUIRKS.items() if quirk.derives_quote_volume}

    assert found - FIELD_MAPS.keys() == known - {"binancecoinm"}  # written otherwise there


FUNDING: dict[str, tuple[dict[str, Any], dict[str, Any], str, dict[str, Any], float]] = {
    "bybit": (
        row("BTCUSDT", "BTC/USDT:USDT"),
        {"fundingInterval": 480},
        "/v5/market/tickers",
        {"retCode": 0, "retMsg": "OK", "time": "1796030080834", "result": {"category": "linear", "list": [
            {"symbol": "BTCUSDT", "lastPrice": "68577.50", "fundingRate": "0.0001", "nextFundingTime": "1796040000000"}
        ]}},
        28_800.0,
    ),
    "paradex": (
        row("BTC-USD-PERP", "BTC/USD:USDC"),
        {"funding_period_hours": 4},
        "/markets/summary",
        {"results": [{"symbol": "BTC-USD-PERP", "mark_price": "67307.7", "funding_rate": "0.0075", "created_at": 1}]},
        14_400.0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("exchange_id", ["bybit", "bybiteu", "bybitid", "paradex"])
def test_a_funding_interval_from_the_raw_market_row_is_kept(exchange_id: str, venue: Venue) -> None:
    market, info, path, body, seconds = FUNDING["paradex" if exchange_id == "paradex" else "bybit"]
    venue.answers[path] = Answer(body)
    feed = listing(exchange_id, venue, market | {"info": info | {"more": "x" * 100}})

    (rate,) = feed.fetch_funding([market["symbol"]], deadline_seconds=5)

    assert rate.interval_seconds == seconds


def trade_of(feed: Feed, symbol: str) -> Any:
    return feed.fetch_trade_page(symbol, span=None, limit=5, deadline_seconds=5).trades[0]


def test_a_trade_that_the_venue_gives_no_id_has_none(venue: Venue) -> None:
    """ccxt makes one up at mexc, under which two equal trades of a millisecond are one."""
    sent = {"id": None, "price": "73238.7", "qty": "0.000112", "time": 1795000000000, "isBuyerMaker": False}
    venue.answers["/api/v3/trades"] = Answer([sent, sent])
    venue.answers["/api/v3/aggTrades"] = Answer(
        [{"a": None, "p": "73238.7", "q": "0.000112", "T": 1795000000000, "m": False}] * 2
    )
    feed = listing("mexc", venue, row("BTCUSDT", "BTC/USDT"))

    page = feed.fetch_trade_page("BTC/USDT", span=None, limit=5, deadline_seconds=5)

    assert [trade.trade_id for trade in page.trades] == [None, None]


@pytest.mark.parametrize(("is_buyer_maker", "side"), [(True, "sell"), (False, "buy")])
def test_the_taker_of_coinsph_is_who_did_not_make_the_offer(is_buyer_maker: bool, side: str, venue: Venue) -> None:
    sent = {"id": 7, "price": "89685.8", "qty": "0.1", "time": 1795000000000, "isBuyerMaker": is_buyer_maker}
    venue.answers["/quote/v1/trades"] = Answer([sent])
    feed = listing("coinsph", venue, row("BTCPHP", "BTC/PHP"))

    assert trade_of(feed, "BTC/PHP").side == side


def test_a_quote_volume_that_was_not_sent_is_none(venue: Venue) -> None:
    ticker = {"pair": "BTC/USD", "last": "65000", "vwap": "64000", "volume": "10", "timestamp": "1795000000"}
    venue.answers["/ticker/"] = Answer([ticker])
    feed = listing("bitstamp", venue, row("btcusd", "BTC/USD", marketId="btcusd"))

    (quote,) = feed.fetch_quotes(["BTC/USD"], deadline_seconds=5).quotes

    assert (quote.base_volume, quote.quote_volume) == (10.0, None)


# [end, high, low, open, close, volume, bid, ask, instrument, start]
def ndax_bar(end: int) -> list[float]:
    return [end * 1000, 12.0, 8.0, 9.0, 11.0, 3.0, 0, 0, 1, (end - 60) * 1000]


def test_ndaxs_candles_begin_a_period_before_their_stamp(venue: Venue) -> None:
    begin = 1_710_327_600
    venue.answers["/GetTickerHistory"] = Answer([ndax_bar(begin + 60), ndax_bar(begin + 120)])
    feed = listing("ndax", venue, row("1", "BTC/CAD"))

    candles = feed.fetch_candles("BTC/CAD", timeframe="1m", since=begin, limit=2, deadline_seconds=5)

    assert [candle.opened_at for candle in candles] == [begin, begin + 60]
    assert candles[0][1:] == (9.0, 12.0, 8.0, 11.0, 3.0)
