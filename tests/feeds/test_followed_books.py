"""Books that are built from a request and the changes after it, read without a network."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from feeds.base import FeedSpec, OrderBook
from feeds.ccxt.pushed_depth import FOLLOWED_BOOKS
from feeds.ccxt.stream import CcxtStream

from .test_stream_subscriptions import market

COINS, LINEAR = "BTC/USD:BTC", "BTC/USDT:USDT"
BEGUN_WITH = 100


class Books:
    """One market's, of an exchange whose request says 100 bids at 50, and is answered when `begin` is called."""

    def __init__(self, exchange_id: str, symbol: str, address: str) -> None:
        self.symbol = symbol
        self.stream = CcxtStream(FeedSpec(exchange_id))
        client = self.client = self.stream._client
        self.client.set_markets([client.safe_market_structure() | market(symbol)])
        self.stream.depth.want([symbol], [])
        self.connection = client.client(address)
        client.orderbooks[symbol] = client.order_book({}, 1000)
        client.orderbooks[symbol]["nonce"] = None

        async def answer(symbol: str, limit: Any = None, params: Any = None) -> Any:
            rows = {"bids": [["50", "1"]], "asks": [["51", "1"]]}
            book = client.parse_order_book(rows, symbol)
            return book | {"nonce": BEGUN_WITH}

        client.fetch_order_book = answer

    async def begin(self) -> None:
        named = f"orderbook::{self.symbol}"
        self.connection.subscriptions[named] = True
        subscription = {"symbol": self.symbol, "type": "inverse" if self.symbol == COINS else "linear", "limit": 1000}
        await self.client.fetch_order_book_snapshot(self.connection, None, subscription)

    def change(self, first: int, last: int, before: int, bid: str) -> None:
        self.connection.handle_text_or_binary_message(
            json.dumps(
                {
                    "e": "depthUpdate",
                    "E": 1_795_000_000_000,
                    "T": 1_795_000_000_000,
                    "s": self.client.market_id(self.symbol),
                    "U": first,
                    "u": last,
                    "pu": before,
                    "b": [[bid, "2"]],
                    "a": [],
                }
            )
        )

    @property
    def now(self) -> OrderBook | None:
        return self.stream.depth.books([self.symbol], 5).get(self.symbol)


ADDRESSES = {
    "binancecoinm": (COINS, "wss://dstream.binance.com/ws/1"),
    "binanceusdm": (LINEAR, "wss://fstream.binance.com/market/ws/1"),
}


def following(
    exchange_id: str, *, before: list[tuple[int, int, int, str]], after: list[tuple[int, int, int, str]]
) -> list[OrderBook | None]:
    """The book after its beginning, and after each later change."""

    async def live() -> list[OrderBook | None]:
        books = Books(exchange_id, *ADDRESSES[exchange_id])
        for change in before:
            books.change(*change)
        await books.begin()
        seen = [books.now]
        for change in after:
            books.change(*change)
            seen.append(books.now)
        return seen

    return asyncio.run(live())


@pytest.mark.parametrize("exchange_id", sorted(ADDRESSES))
def test_changes_that_came_before_the_answer_are_followed(exchange_id: str) -> None:
    before = [(90, 95, 89, "47"), (96, 102, 95, "50.1"), (110, 115, 102, "50.2")]  # numbers are of all markets

    (book, *_) = following(exchange_id, before=before, after=[])

    assert book is not None
    assert book.bids[0] == (50.2, 2.0)
    assert book.sequence == 115


@pytest.mark.parametrize("exchange_id", sorted(ADDRESSES))
def test_a_book_is_handed_on_when_a_change_has_continued_its_beginning(exchange_id: str) -> None:
    begun, confirmed = following(exchange_id, before=[], after=[(98, 103, 97, "50.1")])

    assert begun is None
    assert confirmed is not None
    assert confirmed.bids[0] == (50.1, 2.0)


@pytest.mark.parametrize("exchange_id", sorted(ADDRESSES))
def test_a_book_whose_changes_do_not_continue_its_beginning_is_not_handed_on(exchange_id: str) -> None:
    begun, broken = following(exchange_id, before=[], after=[(110, 112, 109, "50.1")])

    assert begun is None
    assert broken is None


def test_a_book_that_is_not_known_to_follow_is_not_asked_for() -> None:
    stream = CcxtStream(FeedSpec("phemex"))
    stream._client.set_markets([stream._client.safe_market_structure() | market("BTC/USDT")])

    stream.depth.want(["BTC/USDT"], ["BTC/USDT"])

    assert "phemex" not in FOLLOWED_BOOKS
    assert stream.depth._keys() == {("trades", "BTC/USDT")}
