"""What is stored of books, trades and rates, at the edge of each rule."""

from __future__ import annotations

import math

import pytest

from collectors.rules import book_checks, funding_checks, trade_rows
from collectors.rules.trade_rows import Hole, TradePosition, TradeRow
from feeds.base import FundingRate, OrderBook, Trade, TradePage

NOW = 1_795_000_000.0


def row(number: int | None, at: float) -> TradeRow:
    return TradeRow(str(number), number, at, 1.0, 1.0, None)


def numbered(*numbers: int) -> list[TradeRow]:
    """One a second, its number its time."""
    return [row(number, float(number)) for number in numbers]


@pytest.mark.parametrize(
    ("rows", "position", "kept"),
    [
        (numbered(5, 6, 7), None, [5, 6, 7]),
        (numbered(5, 6, 7), TradePosition(6, 6.0), [7]),
        (numbered(5, 6), TradePosition(6, 6.0), []),
        (numbered(5, 6), TradePosition(None, 6.0), [5, 6]),
        ([row(1, 9.0), row(2, 10.0)], TradePosition(6, 8.9), [1, 2]),  # counted anew
        ([row(1, 9.0), row(2, 10.0)], TradePosition(6, 9.0), []),  # not later: old ones
        ([row(1, 9.0), row(6, 10.0)], TradePosition(6, 8.0), []),  # not all lower
        ([row(None, 5.0), row(7, 7.0)], TradePosition(6, 6.0), [None, 7]),
    ],
)
def test_what_was_stored_is_not_stored_again(
    rows: list[TradeRow], position: TradePosition | None, kept: list[int | None]
) -> None:
    assert [each.number for each in trade_rows.newer(rows, position)] == kept


@pytest.mark.parametrize(
    ("rows", "position", "after"),
    [
        ([], None, None),
        ([], TradePosition(4, 4.0), TradePosition(4, 4.0)),
        (numbered(5, 6), None, TradePosition(6, 6.0)),
        (numbered(5, 6), TradePosition(9, 9.0), TradePosition(9, 9.0)),  # never back
        (numbered(5, 6), TradePosition(4, 9.0), TradePosition(6, 9.0)),
        ([row(1, 9.0)], TradePosition(6, 8.0), TradePosition(1, 9.0)),  # but where the venue counts anew
        ([row(None, 9.0)], TradePosition(6, 8.0), TradePosition(6, 9.0)),
        ([row(None, 9.0)], None, TradePosition(None, 9.0)),
    ],
)
def test_the_newest_trade(rows: list[TradeRow], position: TradePosition | None, after: TradePosition | None) -> None:
    assert trade_rows.position_after(rows, position) == after


@pytest.mark.parametrize(
    ("rows", "position", "holes"),
    [
        ([], TradePosition(3, 3.0), []),
        (numbered(4, 5), TradePosition(3, 3.0), []),
        (numbered(5, 6), TradePosition(3, 3.0), [Hole(4, 4, 3.0, 5.0)]),
        (numbered(2, 3), TradePosition(3, 3.0), []),
        (numbered(1, 2, 4, 7), None, [Hole(3, 3, 2.0, 4.0), Hole(5, 6, 4.0, 7.0)]),
        (numbered(1, 2, 6), TradePosition(3, 3.0), [Hole(4, 5, 3.0, 6.0)]),
        ([row(1, 9.0), row(3, 10.0)], TradePosition(6, 8.0), [Hole(2, 2, 9.0, 10.0)]),  # counted anew: none before
        ([row(8, 2.0)], TradePosition(6, 3.0), [Hole(7, 7, 2.0, 3.0)]),  # clocks disagree: still from sooner to later
        ([row(None, 5.0)], TradePosition(None, 5.0), []),
        ([row(None, 5.1), row(None, 9.0)], TradePosition(None, 5.0), [Hole(None, None, 5.0, 5.1)]),
        ([row(None, 5.1)], None, []),
        ([row(None, 5.1)], TradePosition(3, 3.0), []),
    ],
)
def test_what_is_missing(rows: list[TradeRow], position: TradePosition | None, holes: list[Hole]) -> None:
    assert trade_rows.holes(rows, position) == holes


def test_missing_ones_are_counted_with_both_ends() -> None:
    assert Hole(4, 4, 3.0, 5.0).missing_count == 1
    assert Hole(4, 6, 3.0, 7.0).missing_count == 3
    assert Hole(None, None, 3.0, 7.0).missing_count is None
    assert Hole(0, None, 3.0, 7.0).missing_count is None


def test_both_ends_of_a_hole_are_inside() -> None:
    assert [each.number for each in trade_rows.inside(numbered(3, 4, 6, 7), Hole(4, 6, 3.0, 7.0))] == [4, 6]
    assert [each.number for each in trade_rows.inside(numbered(2, 3, 7, 8), Hole(None, None, 3.0, 7.0))] == [3, 7]
    assert trade_rows.inside([row(None, 5.0)], Hole(4, 6, 3.0, 7.0)) == ()


@pytest.mark.parametrize(
    ("hole", "newest", "filled", "stored", "state"),
    [
        (Hole(4, 6, 3.0, 7.0), 9.0, 3, 1, "filled"),
        (Hole(4, 6, 3.0, 7.0), 9.0, 2, 1, "open"),
        (Hole(4, 6, 3.0, 7.0), 9.0, 2, 0, "partly filled"),
        (Hole(4, 6, 3.0, 7.0), 9.0, 0, 0, "exchange has none"),
        (Hole(None, None, 3.0, 7.0), 7.0, 0, 0, "filled"),
        (Hole(None, None, 3.0, 7.0), 6.9, 1, 1, "open"),
        (Hole(None, None, 3.0, 7.0), 6.9, 1, 0, "partly filled"),
    ],
)
def test_a_hole_after_an_answer(hole: Hole, newest: float, filled: int, stored: int, state: str) -> None:
    assert trade_rows.state_of(hole, [row(1, newest)], filled_count=filled, stored=stored) == state


# --- what is put aside ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bids", "asks", "at", "fault"),
    [
        ([(9.0, 1.0), (8.0, 1.0)], [(10.0, 1.0), (11.0, 1.0)], NOW + 60, ""),
        ([(9.0, 1.0)], [(10.0, 1.0)], NOW + 60.1, "stamped in the future"),
        ([(9.0, 1.0)], [(10.0, 1.0)], NOW - 86_400, ""),
        ([(9.0, 1.0)], [(10.0, 1.0)], NOW - 3 * 86_400, "3.0 days old"),
        ([(9.0, 1.0)], [(10.0, 1.0)], None, ""),
        ([(10.0, 1.0)], [(10.0, 1.0)], None, "crossed"),
        ([(9.9, 1.0)], [(10.0, 1.0)], None, ""),
        ([], [(10.0, 1.0)], None, ""),  # one side is all there is
        ([(9.0, 1.0)], [], None, ""),
        ([], [], NOW, "empty"),
        ([], [(10.0, -1.0)], None, "asks have"),
        ([(9.0, 0.0)], [(10.0, 1.0)], None, "bids have"),
        ([(9.0, 0.1)], [(10.0, math.inf)], None, "asks have"),
        ([(9.0, 1.0), (9.0, 1.0)], [(10.0, 1.0)], None, "bids are not in order"),
        ([(8.0, 1.0), (9.0, 1.0)], [(10.0, 1.0)], None, "bids are not in order"),
        ([(9.0, 1.0)], [(11.0, 1.0), (10.0, 1.0)], None, "asks are not in order"),
    ],
)
def test_what_is_wrong_with_a_book(
    bids: list[tuple[float, float]], asks: list[tuple[float, float]], at: float | None, fault: str
) -> None:
    book = OrderBook(bids=tuple(bids), asks=tuple(asks), exchange_at=at, received_at=NOW)

    found = book_checks.fault_of(book, now=NOW)

    assert found.startswith(fault)
    assert bool(found) == bool(fault)


@pytest.mark.parametrize(
    ("price", "amount", "age", "is_stored"),
    [(1.0, 1.0, 0, True), (0.1, 0.1, -60, True), (1.0, 1.0, -60.1, False), (0.0, 1.0, 0, False), (1.0, 0.0, 0, False),
     (math.nan, 1.0, 0, False), (1.0, 1.0, NOW, False), (1.0, math.inf, 0, False)],
)  # fmt: skip
def test_which_trades_can_be_stored(price: float, amount: float, age: float, is_stored: bool) -> None:
    page = TradePage((Trade("7", NOW - age, price, amount, "buy"),), NOW, is_numbered=True)

    found = trade_rows.sort_out(page, "BTC/USD", kept_since=0.0, now=NOW)

    assert (len(found.rows), len(found.rejected)) == ((1, 0) if is_stored else (0, 1))


def test_trades_are_sorted_by_their_number_each_once_and_none_older_than_is_kept() -> None:
    trades = [
        Trade(id_, NOW - age, 1.0, 1.0, "buy") for age, id_ in ((1, "9"), (3, "7"), (1, "9"), (10, "5"), (11, "4"))
    ]

    found = trade_rows.sort_out(
        TradePage(tuple(trades), NOW, is_numbered=True), "BTC/USD", kept_since=NOW - 10, now=NOW
    )

    assert [each.number for each in found.rows] == [5, 7, 9]
    assert [each.reason for each in found.rejected] == ["id 9 sent twice in one answer, with the same values"]


def test_one_number_with_two_prices_is_reported_and_the_first_kept() -> None:
    page = TradePage(tuple(Trade("7", NOW, price, 1.0, None) for price in (1.0, 2.0)), NOW, is_numbered=True)

    found = trade_rows.sort_out(page, "BTC/USD", kept_since=0.0, now=NOW)

    assert [each.price for each in found.rows] == [1.0]
    assert [each.reason for each in found.rejected] == ["id 7 sent twice in one answer, with other values"]


@pytest.mark.parametrize(
    ("trade", "position", "missing"),
    [
        (Trade("11", NOW - 8, 1.0, 0.0, "sell"), TradePosition(9, NOW - 10), []),
        (Trade("11", 0.0, 1.0, 1.0, "sell"), TradePosition(9, NOW - 10), []),
        (Trade("11", NOW - 8, math.nan, 1.0, "sell"), None, []),
        (Trade("11", NOW - 8, 1.0, 0.0, "sell"), TradePosition(8, NOW - 10), [(9, 9)]),
        (Trade("14", NOW - 6, 1.0, 0.0, "sell"), TradePosition(9, NOW - 10), [(11, 11), (13, 13)]),
    ],
)
def test_a_trade_that_was_delivered_and_refused_is_not_missing(
    trade: Trade, position: TradePosition | None, missing: list[tuple[int, int]]
) -> None:
    sound = (Trade("10", NOW - 9, 1.0, 0.5, "buy"), Trade("12", NOW - 7, 1.0, 0.2, "buy"))
    found = trade_rows.sort_out(TradePage((*sound, trade), NOW, True), "ETH/USD", kept_since=0.0, now=NOW)

    holes = trade_rows.holes(found.rows, position, found.refused)

    assert [row.number for row in found.rows] == [10, 12]
    assert len(found.rejected) == 1
    assert [(hole.first_number, hole.last_number) for hole in holes] == missing


def test_a_refused_trade_at_the_end_is_not_missing_from_the_next_page() -> None:
    trades = (Trade("10", NOW - 9, 1.0, 0.5, "buy"), Trade("11", NOW - 8, 1.0, 0.0, "buy"))
    found = trade_rows.sort_out(TradePage(trades, NOW, True), "ETH/USD", kept_since=0.0, now=NOW)

    position = trade_rows.position_after(found.rows, None, found.refused)

    assert position == TradePosition(11, NOW - 8)
    assert trade_rows.holes([row(12, NOW)], position) == []


@pytest.mark.parametrize(
    ("id_", "number"), [("7", 7), (str(2**63 - 1), 2**63 - 1), (str(2**63), None), ("a7", None), ("\u0667", None)]
)
def test_only_what_fits_into_a_column_is_a_number(id_: str, number: int | None) -> None:
    page = TradePage((Trade(id_, NOW, 1.0, 1.0, None),), NOW, is_numbered=True)

    [found] = trade_rows.sort_out(page, "BTC/USD", kept_since=0.0, now=NOW).rows

    assert (found.trade_id, found.number) == (id_, number)


def test_equal_trades_without_an_id_are_told_apart_by_their_order_and_alike_when_asked_again() -> None:
    page = TradePage((Trade(None, NOW, 1.0, 1.0, None), Trade(None, NOW, 1.0, 1.0, None)), NOW, is_numbered=False)

    once, again = (trade_rows.sort_out(page, "BTC/USD", kept_since=0.0, now=NOW).rows for _ in range(2))

    assert once == again
    assert [each.trade_id[-2:] for each in once] == [":1", ":2"]


@pytest.mark.parametrize(
    ("rate", "mark", "index", "at", "is_sound"),
    [(0.0, 1.0, None, None, True), (1.0, None, None, NOW + 60, True), (-1.0, None, 0.5, None, True),
     (1.01, None, None, None, False), (-1.01, None, None, None, False), (math.nan, None, None, None, False),
     (0.0, 0.0, None, None, False), (0.0, None, math.inf, None, False), (0.0, None, None, NOW + 60.1, False)],
)  # fmt: skip
def test_which_funding_rates_are_sound(
    rate: float, mark: float | None, index: float | None, at: float | None, is_sound: bool
) -> None:
    found = FundingRate(
        symbol="BTC/USD", rate=rate, next_at=None, interval_seconds=None,
        mark_price=mark, index_price=index, exchange_at=at, received_at=NOW,
    )  # fmt: skip

    assert (funding_checks.fault_of_rate(found, now=NOW) == "") is is_sound


def test_numbers_go_before_times_in_the_order_and_times_order_what_has_none() -> None:
    backwards = [Trade("7", NOW - 1, 1.0, 1.0, None), Trade("8", NOW - 2, 1.0, 1.0, None)]
    unnumbered = [Trade("b", NOW - 1, 1.0, 1.0, None), Trade("a", NOW - 2, 1.0, 1.0, None)]

    found = [
        [row.trade_id for row in trade_rows.sort_out(page, "BTC/USD", kept_since=0.0, now=NOW).rows]
        for page in (
            TradePage(tuple(backwards[::-1]), NOW, is_numbered=True),
            TradePage(tuple(unnumbered), NOW, is_numbered=False),
        )
    ]

    assert found == [["7", "8"], ["a", "b"]]


def test_a_bought_and_a_sold_one_of_a_moment_are_two() -> None:
    trades = tuple(Trade(None, NOW, 1.0, 1.0, side) for side in ("buy", "sell", None))

    found = trade_rows.sort_out(TradePage(trades, NOW), "BTC/USD", kept_since=0.0, now=NOW).rows

    assert len({row.trade_id.rpartition(":")[0] for row in found}) == 3
