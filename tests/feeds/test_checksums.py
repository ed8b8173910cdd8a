"""Kraken's books against their checksums: what is read, what is doubted, and what is not checked at all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from feeds.ccxt.checksums import with_checks

SYMBOL = "BTC/USD"
# The example of Kraken's guide to its checksums: ten levels of each side, and what they come to.
ASKS = (
    ("45285.2", "0.00100000"), ("45286.4", "1.54571953"), ("45286.6", "1.54571109"), ("45289.6", "1.54560911"),
    ("45290.2", "0.15890660"), ("45291.8", "1.54553491"), ("45294.7", "0.04454749"), ("45296.1", "0.35380000"),
    ("45297.5", "0.09945542"), ("45299.5", "0.18772827"),
)  # fmt: skip
BIDS = (
    ("45283.5", "0.10000000"), ("45283.4", "1.54582015"), ("45282.1", "0.10000000"), ("45281.0", "0.10000000"),
    ("45280.3", "1.54592586"), ("45279.0", "0.07990000"), ("45277.6", "0.03310103"), ("45277.5", "0.30000000"),
    ("45277.3", "1.54602737"), ("45276.6", "0.15445238"),
)  # fmt: skip
EXAMPLE = 3310070434


class Reader:
    """What ccxt would do, as far as it matters here."""

    def __init__(self, depth: int = 100) -> None:
        self.id, self.markets, self.orderbooks = "kraken", {SYMBOL: {}}, dict[str, Any]()
        self.read: list[str] = []
        self.doubts: list[str] = []
        self.hear = with_checks(self, self._read, depth)

    def _read(self, data: str) -> None:
        self.read.append(data)
        self.orderbooks[SYMBOL] = {}

    def doubt(self, symbol: str, why: str) -> None:
        self.doubts.append(f"{symbol}: {why}")
        del self.orderbooks[symbol]


def frame(kind: str, *, bids: Any = (), asks: Any = (), checksum: int | None = EXAMPLE, symbol: str = SYMBOL) -> str:
    def listed(levels: Any) -> str:
        return ",".join(f'{{"price":{price},"qty":{amount}}}' for price, amount in levels)

    end = "" if checksum is None else f',"checksum":{checksum}'
    row = f'{{"symbol":"{symbol}","bids":[{listed(bids)}],"asks":[{listed(asks)}]{end}}}'
    return f'{{"channel":"book","type":"{kind}","data":[{row}]}}'


@pytest.fixture
def reader() -> Reader:
    """Of a book that began as its checksum says."""
    reader = Reader()
    reader.hear(frame("snapshot", bids=BIDS, asks=ASKS))
    assert (len(reader.read), reader.doubts) == (1, [])
    return reader


def test_the_guides_example_comes_to_its_checksum(reader: Reader) -> None:
    reader.hear(frame("update"))  # nothing has changed

    assert (len(reader.read), reader.doubts) == (2, [])


def test_a_change_that_was_missed_is_noticed_and_what_follows_is_not_read(reader: Reader) -> None:
    reader.hear(frame("update", bids=[("45283.5", "0.20000000")]))
    reader.hear(frame("update", bids=[("45283.5", "0.10000000")]))

    assert len(reader.read) == 1
    assert reader.doubts == [f"{SYMBOL}: its book is not what its checksum says"]


def test_it_begins_anew_with_the_next_whole_book(reader: Reader) -> None:
    reader.hear(frame("update", checksum=1))
    reader.hear(frame("snapshot", bids=BIDS, asks=ASKS))
    reader.hear(frame("update"))

    assert (len(reader.read), len(reader.doubts)) == (3, 1)


def test_a_level_without_amount_is_gone(reader: Reader) -> None:
    reader.hear(frame("update", asks=[("45285.0", "1.00000000")], checksum=None))
    reader.hear(frame("update", asks=[("45285.0", "0.00000000")]))

    assert (len(reader.read), reader.doubts) == (3, [])


def test_levels_beyond_the_depth_that_was_asked_for_are_forgotten() -> None:
    reader = Reader(depth=10)
    reader.hear(frame("snapshot", bids=BIDS, asks=ASKS))
    reader.hear(frame("update", asks=[("45285.0", "1.00000000")], checksum=None))  # pushes 45299.5 out
    gone = frame("update", asks=[("45285.0", "0"), ("45299.5", "0.18772827")])

    reader.hear(gone)

    assert (reader.read[-1], reader.doubts) == (gone, [])


def test_a_book_that_does_not_begin_as_its_checksum_says_is_not_checked() -> None:
    reader = Reader()
    reader.hear(frame("snapshot", bids=BIDS, asks=ASKS, checksum=1))
    reader.hear(frame("update", checksum=2))

    assert (len(reader.read), reader.doubts) == (2, [])


def test_changes_of_a_book_that_is_not_there_are_not_read(reader: Reader) -> None:
    reader.orderbooks.clear()  # nobody wants it any more

    reader.hear(frame("update"))

    assert (len(reader.read), reader.doubts) == (1, [])


@pytest.mark.parametrize(
    "data", ['{"channel":"trade","data":[]}', '{"method":"subscribe","result":{"channel":"book"}}', "[]"]
)
def test_what_is_no_book_is_handed_on(data: str) -> None:
    reader = Reader()
    reader.hear(data)

    assert reader.read == [data]


def test_other_venues_are_read_as_they_were() -> None:
    read: list[Any] = []

    assert with_checks(SimpleNamespace(id="binance"), read.append, 0) == read.append
