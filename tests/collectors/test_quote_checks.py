from math import inf, nan

import pytest

from collectors.rules.quote_checks import fault, judge
from tests.collectors.conftest import quote

RECEIVED = 1_795_000_000.0
FIRST_BLOCK = 1_230_768_000.0  # 2009
OPTION = "BTC/USD:BTC-261225-120000-C"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),
        ({"last": None}, ""),
        ({"bid": None, "ask": None}, ""),
        ({"high": None, "low": None, "base_volume": None, "quote_volume": None, "exchange_at": None}, ""),
        ({"last": None, "bid": None}, "no price"),
        ({"last": None, "bid": None, "ask": None}, "no price"),
        ({"last": nan}, "last is not a positive number"),
        ({"last": inf}, "last is not a positive number"),
        ({"last": 0.0}, "last is not a positive number"),
        ({"last": -5.0}, "last is not a positive number"),
        ({"bid": nan}, "bid is not a positive number"),
        ({"ask": -1.0}, "ask is not a positive number"),
        ({"bid": 101.0, "ask": 101.0}, ""),
        ({"bid": 101.01}, "bid above ask"),
        ({"base_volume": -0.1}, "base volume is not a number from zero up"),
        ({"quote_volume": inf}, "quote volume is not a number from zero up"),
        ({"base_volume": 0.0}, ""),
        ({"high": nan}, "high is not a number"),
        ({"last": 165.0, "bid": None, "ask": None}, ""),
        ({"last": 165.1, "bid": None, "ask": None}, "last far above its own 24 h high"),
        ({"last": 60.0, "bid": None, "ask": None}, ""),
        ({"last": 59.9, "bid": None, "ask": None}, "last far below its own 24 h low"),
        ({"high": 0.0, "low": 0.0}, ""),
        ({"last": 0.6, "high": 0.5, "low": None, "bid": None, "ask": None}, ""),
        ({"last": 0.8, "high": 0.5, "low": None, "bid": None, "ask": None}, "last far above its own 24 h high"),
        ({"last": 0.4, "high": None, "low": 0.7, "bid": None, "ask": None}, "last far below its own 24 h low"),
        ({"last": 500.0, "high": None, "low": None}, ""),
        ({"last": 501.0, "high": None, "low": None}, "last far from bid and ask"),
        ({"last": 20.0, "high": None, "low": None}, ""),
        ({"last": 19.9, "high": None, "low": None}, "last far from bid and ask"),
        ({"bid": None}, ""),
        ({"ask": None}, ""),
        ({"exchange_at": -1.0}, ""),  # kept without it
        ({"symbol": OPTION, "last": 0.0155, "bid": 0.0005, "ask": 0.001, "high": None, "low": None}, ""),
        ({"symbol": OPTION, "last": None, "bid": None}, ""),
        ({"symbol": OPTION, "last": None, "ask": None}, ""),
        ({"symbol": OPTION, "last": None, "bid": None, "ask": None}, "no price"),
        ({"symbol": OPTION, "last": None, "bid": None, "ask": -1.0}, "ask is not a positive number"),
        (
            {"symbol": "A-C/USD", "last": 0.0155, "bid": 0.0005, "ask": 0.001, "high": None, "low": None},
            "last far from bid and ask",
        ),
    ],
)
def test_what_may_be_stored(changes: dict, expected: str):
    assert fault(quote(received_at=RECEIVED, **changes)) == expected


CHANCE = {"last": 0.5, "bid": 0.4, "ask": 0.6, "high": None, "low": None}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),
        ({"last": 1.0}, ""),
        ({"last": 1.01}, "a chance above 1"),
        ({"ask": 1.01}, "a chance above 1"),
        ({"last": None}, ""),
        ({"last": 0.01}, ""),
        ({"last": 0.9, "high": 0.1}, ""),
        ({"last": 0.0}, "last is not a positive number"),
        ({"base_volume": -1.0}, "base volume is not a number from zero up"),
    ],
)
def test_what_may_be_stored_of_a_chance(changes: dict, expected: str):
    verdict = judge([quote(received_at=RECEIVED, **(CHANCE | changes))], {"BTC/USD": 7}, are_chances=True)

    assert [bad.reason for bad in verdict.rejected] == [expected] * bool(expected)
    assert len(verdict.accepted) == (not expected)


def test_a_price_that_is_no_chance_may_be_above_one():
    assert judge([quote()], {"BTC/USD": 7}).rejected == ()


def test_a_symbol_without_end_is_cut_where_it_is_named():
    (bad,) = judge([quote("X" * 150, last=nan)], {"X" * 150: 7}).rejected

    assert bad.symbol == "X" * 100


def test_unknown_markets_are_passed_over_and_bad_quotes_named():
    quotes = [quote("BTC/USD"), quote("NEW/USD"), quote("ETH/USD", last=nan)]

    verdict = judge(quotes, {"BTC/USD": 7, "ETH/USD": 8})

    assert [row.pipeline_id for row in verdict.accepted] == [7]
    assert [(bad.symbol, bad.reason) for bad in verdict.rejected] == [("ETH/USD", "last is not a positive number")]


@pytest.mark.parametrize(
    ("stamp", "kept"),
    [
        (None, None),
        (FIRST_BLOCK, FIRST_BLOCK),
        (RECEIVED + 900, RECEIVED + 900),
        (FIRST_BLOCK - 1, None),
        (RECEIVED + 901, None),
        (RECEIVED + 3600, None),  # an hour off
        (RECEIVED / 1000, None),  # seconds for milliseconds
        (RECEIVED * 1e3, None),  # microseconds
        (RECEIVED * 1e6, None),
        (-1.0, None),
        (nan, None),
    ],
)
@pytest.mark.parametrize("are_chances", [False, True])
def test_a_stamp_that_cannot_be_right_costs_the_stamp_and_is_reported(stamp, kept, are_chances):
    one = quote(received_at=RECEIVED, **(CHANCE | {"exchange_at": stamp}))

    verdict = judge([one], {"BTC/USD": 7}, are_chances=are_chances)

    assert [(row.quote.last, row.quote.exchange_at) for row in verdict.accepted] == [(0.5, kept)]
    assert [row.reason for row in verdict.repaired] == ["implausible exchange time"] * (stamp is not None and not kept)
    assert verdict.rejected == ()


OLD, NEW = RECEIVED - 600, RECEIVED - 1


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([(1.0, OLD), (2.0, NEW)], [2.0]),
        ([(2.0, NEW), (1.0, OLD)], [2.0]),
        ([(1.0, NEW), (2.0, NEW)], []),
        ([(1.0, None), (2.0, NEW)], []),
        ([(1.0, None), (2.0, None), (3.0, None)], []),
        ([(1.0, None), (1.0, None)], [1.0]),
    ],
)
def test_of_two_quotes_of_one_market_the_newer_counts_or_neither(values, kept):
    sides = {"bid": None, "ask": None, "high": None, "low": None}
    quotes = [quote(received_at=RECEIVED, last=last, exchange_at=at, **sides) for last, at in values]

    verdict = judge(quotes, {"BTC/USD": 7})

    assert [row.quote.last for row in verdict.accepted] == kept
    assert bool(verdict.rejected) == (not kept)


def test_rows_are_sorted_by_pipeline_so_that_writers_lock_in_one_order():
    verdict = judge([quote("B/USD"), quote("A/USD"), quote("C/USD")], {"A/USD": 3, "B/USD": 9, "C/USD": 1})

    assert [row.pipeline_id for row in verdict.accepted] == [1, 3, 9]
