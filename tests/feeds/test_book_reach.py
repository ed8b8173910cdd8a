"""Books that begin with a request and follow changes since: known as far as their beginning went, and no further."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from feeds import open_feed
from feeds.base import FeedSpec, Throttled
from feeds.ccxt import markets
from feeds.ccxt.books import Reach
from feeds.ccxt.stream import CcxtStream
from tests.sandbox_client import Sandbox, running_sandbox

SYMBOL = "BTC/USDT"
PATIENCE = {"silence_seconds": 5.0, "pause_seconds": 0.1, "longest_pause_seconds": 0.2}


def book(bids: list[float], asks: list[float]) -> dict[str, Any]:
    return {"bids": [[price, 1.0] for price in bids], "asks": [[price, 1.0] for price in asks]}


BEGINNING = book([99, 98, 97], [101, 102, 103])


@pytest.mark.parametrize(
    ("now", "is_known"),
    [
        (BEGINNING, True),
        (book([98, 97], [101, 102, 103]), True),
        (book([97, 96], [101, 102]), False),
        (book([97], [101, 102]), False),
        (book([99, 98], [103, 104]), False),
        (book([99, 98], [103]), False),
        (book([102, 101.5, 101, 99], [103, 103.5]), False),
    ],
    ids=[
        "as it began", "the best bid went", "a bid below the beginning", "one bid is left of two",
        "an ask above the beginning", "one ask is left of two", "the price rose beyond the beginning",
    ],
)  # fmt: skip
def test_levels_beyond_the_beginning_are_not_known(now: dict[str, Any], is_known: bool) -> None:
    reach = Reach(3)
    reach.shorten(BEGINNING)

    assert reach.covers(now, 2) is is_known


def test_a_beginning_with_fewer_levels_than_were_asked_for_is_the_whole_book() -> None:
    reach = Reach(4)
    reach.shorten(BEGINNING)

    assert (reach.lowest_bid, reach.highest_ask) == (-math.inf, math.inf)
    assert reach.covers(book([1], []), 10)


def test_what_was_cut_off_is_no_longer_known() -> None:
    reach = Reach(3)
    reach.shorten(BEGINNING)
    reach.shorten(book([100, 99.5, 99], [101]))  # 98 and 97 went over the edge

    assert reach.covers(book([99.5, 99], [101, 102]), 2)
    assert not reach.covers(book([99, 98], [101, 102]), 2)


@dataclass
class Counted:
    """A gate that lets everything through, and the costs that it was asked for."""

    costs: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)

    def __call__(self) -> bool:
        return True

    def ask(self, cost: float, *, seconds_left: float) -> float:
        self.costs.append(cost)
        return 0.0

    def heed(self, error: Throttled) -> None: ...

    @property
    def for_requests(self) -> Counted:
        return Counted(self.beside)


@pytest.fixture(scope="module")
def talker() -> Any:
    with running_sandbox("--markets", "5", "--stream-seconds", "0.2") as sandbox:
        yield sandbox


def listen(sandbox: Sandbox, gate: Counted, is_enough: Callable[[CcxtStream], bool], *, levels: int = 1000) -> None:
    spec = FeedSpec("binance", base_url=sandbox.url)
    feed: Any = open_feed(spec)
    feed.load_markets(deadline_seconds=10)

    async def live() -> None:
        stream = CcxtStream(spec, gate=gate)
        stream.install_markets(markets.pack(feed._client, keep_info=False))
        stream._client.options["watchOrderBookLimit"] = levels
        await stream.subscribe([SYMBOL])
        stream.depth.want([SYMBOL], [])
        try:
            async with asyncio.timeout(15):
                while not is_enough(stream):
                    stream.depth.ask(**PATIENCE)
                    await asyncio.sleep(0.1)
        finally:
            await stream.close()

    asyncio.run(live())


def test_the_beginning_of_a_book_is_no_handshake(talker: Sandbox) -> None:
    gate = Counted()
    listen(talker, gate, lambda stream: SYMBOL in stream.depth.books([SYMBOL], 5))

    assert gate.costs == [1.0, 1.0]  # of tickers and of books
    assert len(gate.beside) == 1
    assert gate.beside[0] > 1.0  # a thousand levels


def test_a_book_whose_price_has_left_its_beginning_begins_anew(talker: Sandbox) -> None:
    gate, seen = Counted(), list[Any]()

    def has_begun_anew(stream: CcxtStream) -> bool:
        seen.extend(stream.depth.books([SYMBOL], 5).values())
        return len(gate.beside) >= 3

    listen(talker, gate, has_begun_anew, levels=5)

    assert all(len(each.bids) == len(each.asks) == 5 for each in seen)
