"""VALR's books and trades over its websocket, and its trades of before, as the sandbox plays them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from feeds import open_feed
from feeds.base import FeedSpec, Listing, TradeSpan, Unsupported
from feeds.native.feed import market_cache_key
from feeds.native.valr_depth import BOOK, TRADE, ValrDepth
from feeds.native.valr_stream import ValrStream
from tests.feeds.conftest import MarketsInMemory
from tests.sandbox_client import Sandbox

from .conftest import OpenFeed

SYMBOL, OTHER = "BTC/ZAR", "ETH/ZAR"
PATIENCE = {"silence_seconds": 0.3, "pause_seconds": 0.1, "longest_pause_seconds": 0.2}
Work = Callable[[ValrStream], Awaitable[None]]


@pytest.fixture
def listen(sandbox: Sandbox) -> Callable[[Work], None]:
    """Does some work with a stream that brings one market's tickers."""
    spec, lists = FeedSpec("valr", base_url=sandbox.url), MarketsInMemory()
    open_feed(spec, market_cache=lists).load_markets(deadline_seconds=10)
    packed = lists.load(market_cache_key(spec))
    assert packed is not None

    async def live(work: Work) -> None:
        stream = ValrStream(spec)
        stream.install_markets(packed)
        await stream.subscribe([SYMBOL])
        try:
            await until(lambda: bool(stream.drain()))
            await work(stream)
        finally:
            await stream.close()

    return lambda work: asyncio.run(live(work))


async def until(is_so: Callable[[], bool], *, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not is_so():
            await asyncio.sleep(0.05)


def has_book(stream: ValrStream, symbol: str = SYMBOL) -> Callable[[], bool]:
    """Asks for what is wanted, as the stream process does again and again."""

    def look() -> bool:
        stream.depth.ask(**PATIENCE)
        return symbol in stream.depth.books([symbol], 5)

    return look


def test_books_and_trades_come_beside_the_tickers(listen: Any) -> None:
    async def work(stream: ValrStream) -> None:
        stream.depth.want([SYMBOL], [SYMBOL])
        await until(has_book(stream))
        [book] = stream.depth.books([SYMBOL, OTHER], 5).values()
        assert len(book.bids) == len(book.asks) == 5
        assert book.bids[0][0] < book.asks[0][0]
        assert abs(time.time() - book.received_at) < 2
        taken: list[Any] = []
        await until(lambda: len(taken) > 1 or taken.extend(stream.depth.take_trades().values()) is not None)
        assert [each.follows for each in taken] == [False, True]
        assert [trade.side in ("buy", "sell") for each in taken for trade in each.page.trades] == [True] * len(taken)
        await until(lambda: bool(stream.drain()))
        assert stream.complaint == stream.depth.complaint == ""

    listen(work)


def test_a_changed_list_brings_the_new_market_and_no_longer_the_old(listen: Any) -> None:
    async def work(stream: ValrStream) -> None:
        stream.depth.want([SYMBOL], [])
        await until(has_book(stream))
        stream.depth.want([OTHER], [])
        await until(has_book(stream, OTHER))
        assert stream.depth.books([SYMBOL], 5) == {}

    listen(work)


def test_a_refused_list_is_complained_of_and_asked_for_again(listen: Any, sandbox: Sandbox) -> None:
    async def work(stream: ValrStream) -> None:
        sandbox.fault("valr", "ws_refuse")
        stream.depth.want([SYMBOL], [])
        stream.depth.ask(**PATIENCE)
        await until(lambda: "combination invalid" in stream.depth.complaint)
        assert (stream.complaint, stream.is_broken) == ("", False)  # the tickers are none the worse
        sandbox.heal()
        await until(has_book(stream))

    listen(work)


def test_a_list_that_is_not_answered_is_asked_for_again(listen: Any, sandbox: Sandbox) -> None:
    async def work(stream: ValrStream) -> None:
        began = time.time()
        sandbox.fault("valr", "ws_no_answer", count=1)
        stream.depth.want([SYMBOL], [])
        await until(has_book(stream))
        assert len(book_lists(sandbox, since=began)) >= 2

    listen(work)


def book_lists(sandbox: Sandbox, *, since: float) -> list[str]:
    """What the venue was sent."""
    sent = [each["query"] for each in sandbox.requests_of("valr", since=since) if each["method"] == "SEND"]
    return [text for text in sent if BOOK in text and "BTCZAR" in text]


def test_what_came_before_a_connection_ended_is_not_handed_on(listen: Any) -> None:
    async def work(stream: ValrStream) -> None:
        stream.depth.want([SYMBOL], [SYMBOL])
        await until(has_book(stream))
        await stream.close()
        assert stream.depth.books([SYMBOL], 5) == {}

    listen(work)


MARKETS = {SYMBOL: Listing(SYMBOL, "BTC", "ZAR", "spot", "BTCZAR", True)}


@pytest.fixture
def depth() -> ValrDepth:
    """Asks nobody."""
    told = ValrDepth(lambda _, __: True)
    told.install_markets(MARKETS)
    told.want([SYMBOL], [SYMBOL])
    return told


@pytest.mark.parametrize("data", [None, [], {}, {"Bids": [{}], "Asks": []}, {"Bids": [["1", "2"]], "Asks": 5}])
def test_a_book_that_does_not_parse_is_dropped_and_complained_of(depth: ValrDepth, data: Any) -> None:
    depth.hear(BOOK, "BTCZAR", {"data": data})

    assert depth.books([SYMBOL], 5) == {}
    assert "does not parse" in depth.complaint


@pytest.mark.parametrize("row", [None, {}, {"price": "x", "quantity": "1", "tradedAt": "2026-11-20T10:00:00Z"}])
def test_a_trade_without_numbers_is_rejected_with_the_reason(depth: ValrDepth, row: Any) -> None:
    depth.hear(TRADE, "BTCZAR", {"data": row})

    [taken] = depth.take_trades().values()
    assert taken.page.trades == ()
    assert "no time, price or amount" in taken.page.rejected[0].reason


def test_a_market_that_nobody_wants_is_passed_over(depth: ValrDepth) -> None:
    depth.hear(TRADE, "ETHZAR", {"data": {}})
    depth.hear(BOOK, "ETHZAR", {"data": {}})

    assert (depth.take_trades(), depth.complaint) == ({}, "")


def test_trades_of_before_are_gone_through_page_by_page(open_on_sandbox: OpenFeed) -> None:
    until_, feed = int(time.time()) - 10, open_on_sandbox("valr")
    since = until_ - 250

    page = feed.fetch_trade_page(SYMBOL, span=TradeSpan(None, since, until_), limit=1000, deadline_seconds=5)

    assert [trade.traded_at for trade in page.trades] == [float(second) for second in range(since, until_ + 1)]


def test_a_span_of_more_trades_than_can_be_asked_for_is_not_filled_by_half(open_on_sandbox: OpenFeed) -> None:
    until_, feed = time.time() - 10, open_on_sandbox("valr")
    span = TradeSpan(None, until_ - 600, until_)

    with pytest.raises(Unsupported, match="over 500 trades"):
        feed.fetch_trade_page(SYMBOL, span=span, limit=1000, deadline_seconds=15)
