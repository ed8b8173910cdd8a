"""Rounds, their three ages, and what a node may get wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from exchanges import connectivity
from feeds import close_feeds, open_feed
from feeds.base import FeedError, FeedSpec, Poll, Unreachable
from feeds.native.chainlink import read_round, read_text
from feeds.native.oracles import ORACLES
from tests.feeds.venue import Answer, Request, Venue

PHASE = 7 << 64
Change = Callable[[str, list[int]], None]


def word(value: int) -> str:
    return f"{value % (1 << 256):064x}"


class Node:
    """A node whose rounds a test writes by hand: number, answer, started, updated, answered in."""

    def __init__(self) -> None:
        self.lag = 5.0
        self.rounds = {oracle.proxy.lower(): self.round(100) for oracle in ORACLES}
        self.results: dict[str, Any] = {}
        self.names: dict[str, str] = {oracle.proxy.lower(): oracle.symbol.replace("/", " / ") for oracle in ORACLES}
        self.is_shuffled = False

    @staticmethod
    def round(number: int, *, answer: int = 6_500_000_000_000, age: float = 30.0) -> list[int]:
        at = int(time.time() - age)
        return [PHASE | number, answer, at, at, PHASE | number]

    def __call__(self, request: Request) -> Answer:
        rows = [
            {"jsonrpc": "2.0", "id": call["id"], "result": self.result(call)} for call in orjson.loads(request.body)
        ]
        return Answer(rows[::-1] if self.is_shuffled else rows)

    def result(self, call: Any) -> Any:
        if call["method"] == "eth_getBlockByNumber":
            return {"number": "0x10", "timestamp": hex(int(time.time() - self.lag))}
        what = call["params"][0]
        proxy = what["to"].lower()
        if what["data"] == "0xfeaf968c":
            return self.results.get(proxy, "0x" + "".join(map(word, self.rounds[proxy])))
        if what["data"] == "0x313ce567":
            return "0x" + word(8)
        text = self.names[proxy].encode()
        return "0x" + word(32) + word(len(text)) + text.hex().ljust(64, "0")


BITCOIN = next(oracle for oracle in ORACLES if oracle.symbol == "BTC/USD")
BTC = BITCOIN.proxy.lower()
SYMBOLS = [oracle.symbol for oracle in ORACLES]


@pytest.fixture
def node(venue: Venue) -> Node:
    node = Node()
    venue.answers["/ethereum-rpc.publicnode.com/"] = node
    return node


@pytest.fixture
def poll(node: Node, venue: Venue) -> Callable[[], Poll]:
    feed = open_feed(FeedSpec("chainlink", base_url=venue.base_url))
    return lambda: feed.fetch_quotes(SYMBOLS, deadline_seconds=5)


def test_a_round_becomes_a_last_price_with_the_rounds_time(poll: Callable[[], Poll], node: Node) -> None:
    node.rounds[BTC] = node.round(101, answer=6_512_345_678_901, age=600)
    node.is_shuffled = True

    answer = poll()

    bitcoin = next(quote for quote in answer.quotes if quote.symbol == "BTC/USD")
    assert (bitcoin.last, bitcoin.bid, bitcoin.ask) == (65123.45678901, None, None)
    assert bitcoin.exchange_at == node.rounds[BTC][3]
    assert bitcoin.received_at == pytest.approx(time.time(), abs=5)
    assert len(answer.quotes) == len(ORACLES)
    assert answer.rejected == ()


REJECTED: dict[str, tuple[Any, str]] = {
    "a negative answer": (Node.round(101, answer=-5), "no price"),
    "an answer of zero": (Node.round(101, answer=0), "no price"),
    "a round never written": ([PHASE | 101, 5, 0, 0, 0], "never written"),
    "past its heartbeat": (Node.round(101, age=3600 + 301), "heartbeat"),
    "half a word": ("0x" + "0" * 100, "32-byte"),
    "too few words": ("0x" + word(1) * 3, "five words"),
    "nobody at the address": ("0x", "five words"),
    "no text": (None, "32-byte"),
    "not hex": ("0x" + "z" * 320, "invalid literal"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_a_bad_round_costs_one_row(poll: Callable[[], Poll], node: Node, case: str) -> None:
    given, words = REJECTED[case]
    if isinstance(given, list):
        node.rounds[BTC] = given
    else:
        node.results[BTC] = given

    answer = poll()

    (row,) = answer.rejected
    assert (row.symbol, words in row.reason) == ("BTC/USD", True), row
    assert len(answer.quotes) == len(ORACLES) - 1


def test_a_round_within_heartbeat_and_grace_is_right(poll: Callable[[], Poll], node: Node) -> None:
    node.rounds[BTC] = node.round(101, age=3600 + 290)

    assert poll().rejected == ()


def test_a_round_does_not_go_back(poll: Callable[[], Poll], node: Node) -> None:
    node.rounds[BTC] = node.round(101)
    poll()
    node.rounds[BTC] = node.round(100)

    assert "after round" in poll().rejected[0].reason

    node.rounds[BTC] = node.round(102)
    assert poll().rejected == ()


def test_a_node_behind_the_chain_is_not_believed(poll: Callable[[], Poll], node: Node) -> None:
    poll()
    node.lag = 61.0

    with pytest.raises(Unreachable, match="behind the chain"):
        poll()


def test_a_contract_that_is_another_is_listed_and_inactive(node: Node, venue: Venue) -> None:
    node.names[BTC] = "BTC / ETH"

    listed = open_feed(FeedSpec("chainlink", base_url=venue.base_url)).load_markets(deadline_seconds=5)

    assert [market.symbol for market in listed if not market.active] == ["BTC/USD"]


def test_a_node_of_ones_own_is_asked_instead(node: Node, venue: Venue) -> None:
    venue.answers["/v3/key-123"] = node
    spec = FeedSpec("chainlink", base_url=venue.base_url, credentials={"token": "https://node.example/v3/key-123"})

    assert open_feed(spec).fetch_quotes(SYMBOLS, deadline_seconds=5).quotes

    assert set(venue.paths()) == {"/node.example/v3/key-123"}


@pytest.mark.parametrize(
    "answer",
    [
        Answer({"error": "no such key: key-123"}, status=404),
        Answer(b"<html>https://node.example/v3/key-123</html>"),
        Answer(b"", status=302, headers={"Location": "https://other.example/v3/key-123"}),
        Answer(b"", status=503),
    ],
    ids=["unknown", "html", "redirect", "away"],
)
def test_a_node_s_address_carries_its_key_and_no_error_names_it(answer: Answer, venue: Venue) -> None:
    venue.answers["/v3/key-123"] = answer
    spec = FeedSpec("chainlink", base_url=venue.base_url, credentials={"token": "https://node.example/v3/key-123"})

    with pytest.raises(FeedError) as caught:
        open_feed(spec).fetch_quotes(SYMBOLS, deadline_seconds=5)

    assert "v3/key-123" not in f"{caught.value} {caught.value.excerpt}"


def test_two_requests_load_the_list_and_one_asks_for_all_prices(poll: Callable[[], Poll], venue: Venue) -> None:
    poll()
    assert len(venue.requests) == 2
    poll()
    assert len(venue.requests) == 3


def test_words_are_read_as_the_chain_writes_them() -> None:
    negative = "0x" + word(1) + word(-7) + word(2) + word(3) + word(1)

    assert read_round(negative).answer == -7
    assert read_text("0x" + word(32) + word(9) + b"BTC / USD".hex().ljust(64, "0")) == "BTC / USD"


def test_an_oracle_can_be_added_although_it_has_no_order_books() -> None:
    able = open_feed(FeedSpec("chainlink")).capabilities

    assert connectivity.judge_capabilities(able.has).result == connectivity.OK
    close_feeds()
