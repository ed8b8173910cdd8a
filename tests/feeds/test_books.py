"""Small faults in a book are put right and counted; what makes no sense stays to be judged."""

from __future__ import annotations

import math

import pytest

from feeds.ccxt import books
from feeds.native.feed import levels
from feeds.shared.book_repair import repaired

from .conftest import OpenFeed
from .venue import Answer, Venue


@pytest.mark.parametrize(
    ("given", "kept", "count"),
    [
        ([(100.0, 1.0), (99.0, 2.0)], ((100.0, 1.0), (99.0, 2.0)), 0),
        ([(100.0, 1.0), (99.5, 0.0), (99.0, 2.0)], ((100.0, 1.0), (99.0, 2.0)), 1),
        ([(192.0, 0.0), (100.0, 1.0)], ((100.0, 1.0),), 1),  # on top, where it would cross
        ([(100.0, 1.0), (100.0, 2.5)], ((100.0, 3.5),), 1),
        ([(100.0, -1.0)], ((100.0, -1.0),), 0),
        ([(100.0, 0.0)], (), 1),
        ([], (), 0),
    ],
)
def test_dead_levels_go_and_equal_prices_are_one(
    given: list[tuple[float, float]], kept: tuple[tuple[float, float], ...], count: int
) -> None:
    assert repaired(given, 10) == (kept, count)


def test_what_was_put_right_takes_no_place_of_the_depth() -> None:
    given = [(100.0, 0.0), (99.0, 1.0), (99.0, 1.0), (98.0, 1.0), (97.0, 1.0), (96.0, 0.0)]

    assert repaired(given, 2) == (((99.0, 2.0), (98.0, 1.0)), 2)


def test_a_level_that_is_no_number_stays() -> None:
    book = {"bids": [[None, 1.0]], "asks": [[101.0, "x"]], "timestamp": None, "nonce": 5}

    found = books.read(book, 5, 1.0)

    assert math.isnan(found.bids[0][0])
    assert math.isnan(found.asks[0][1])


def test_our_own_readers_do_the_same() -> None:
    rows = [("99", "1"), ("100", "0"), ("101", "2"), ("99", "1")]

    assert levels(rows, 5, is_bid=True) == (((101.0, 2.0), (99.0, 2.0)), 2)


def test_a_book_says_how_much_was_put_right(venue: Venue, warm: OpenFeed) -> None:
    bids, asks = [["100", "1"], ["99", "0"], ["98", "1"]], [["101", "1"], ["101", "2"]]
    venue.answers["/api/v3/depth"] = Answer({"lastUpdateId": 1, "bids": bids, "asks": asks})

    book = warm("binance").fetch_order_book("BTC/USDT", depth=5, deadline_seconds=5)

    assert (book.bids, book.asks, book.repaired) == (((100.0, 1.0), (98.0, 1.0)), ((101.0, 3.0),), 2)
