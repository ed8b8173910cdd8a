"""The pure rules: why a gap was, what an answer holds, how often rows come, what stands still."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from collectors.backfill import answers
from collectors.backfill.answers import GapSpan
from collectors.gaps import ledger
from collectors.rules import cadence, candle_stamps, frozen, gap_causes, gaps
from feeds.base import Candle, Trade

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def evidence(length: float, **fields: object) -> gap_causes.Evidence:
    values = {"slack_seconds": 20.0, "seconds": {}, "counts": {}} | fields
    return gap_causes.Evidence(length_seconds=length, **values)


def part(outcome: str, seconds: float) -> gap_causes.AbsentPart:
    return gap_causes.AbsentPart("swap", outcome, "HTTP 502", seconds)


@pytest.mark.parametrize(
    ("found", "cause", "words"),
    [
        (evidence(100), "our outage", "no run was finished"),
        (evidence(30), "our outage", "nobody collected for 15 s of 30 s"),
        (evidence(600, seconds={"unreachable": 5}, counts={"unreachable": 1}), "our outage", "only 1 run"),
        (evidence(100, seconds={"unreachable": 85}, counts={"unreachable": 8}), "exchange outage", "8 runs"),
        (evidence(100, seconds={"throttled": 90}, counts={"throttled": 1}), "rate limited", "asked us to wait"),
        (
            evidence(100, seconds={"throttled": 60, "unreachable": 20}, counts={"throttled": 1, "unreachable": 2}),
            "rate limited",
            "1 run throttled",
        ),
        (evidence(100, seconds={"failed": 85}, counts={"failed": 9}), "our outage", "our own runs failed"),
        (evidence(100, seconds={"denied": 85}, counts={"denied": 1}), "unknown", "key, region"),
        (evidence(100, seconds={"not_connected": 85}, counts={"not_connected": 1}), "unknown", "a private network"),
        (evidence(100, seconds={"stored": 85}, counts={"stored": 9}), "market quiet", "9 runs stored other"),
        (
            evidence(100, seconds={"stored": 85}, counts={"stored": 9}, quarantined_count=9, quarantine_reason="bid"),
            "rejected",
            "rejected 9 times: bid",
        ),
        (
            evidence(100, seconds={"stored": 85}, counts={"stored": 9}, absent_part=part("unreachable", 80)),
            "exchange outage",
            "polls went without swap (unreachable): HTTP 502",
        ),
        (
            evidence(100, seconds={"stored": 85}, counts={"stored": 9}, absent_part=part("unreachable", 39)),
            "market quiet",
            "9 runs stored other",
        ),
        (
            evidence(100, seconds={"stored": 85}, counts={"stored": 9}, absent_part=part("unsupported", 80)),
            "unknown",
            "polls went without swap (unsupported)",
        ),
        (
            evidence(
                100, seconds={"stored": 85}, counts={"stored": 9}, absent_part=part("unsupported", 80), never_came=True
            ),
            "never came",
            "polls went without swap (unsupported)",
        ),
        (
            evidence(
                100,
                seconds={"unreachable": 5, "awaited": 60, "stored": 4},
                counts={"unreachable": 1, "awaited": 1, "stored": 1},
            ),
            "our outage",
            "nobody collected for 11 s",
        ),
        (
            evidence(100, seconds={"unreachable": 15, "awaited": 60}, counts={"unreachable": 1, "awaited": 1}),
            "exchange outage",
            "1 run unreachable",
        ),
        (evidence(100, seconds={"awaited": 90}, counts={"awaited": 1}), "unknown", "took 90.0 s"),
        (evidence(100, delisted_at=NOW), "delisted", "no longer lists"),
        (evidence(100, seconds={"stored": 40}, counts={"stored": 4}), "our outage", "only 4 runs"),
        (
            evidence(100, seconds={"stored": 40, "unreachable": 40}, counts={"stored": 4, "unreachable": 4}),
            "exchange outage",
            "4 runs unreachable",
        ),
        (
            evidence(100, seconds={"stored": 50, "unreachable": 5}, counts={"stored": 5, "unreachable": 1}),
            "market quiet",
            "5 runs stored other",
        ),
        (evidence(100, seconds={"awaited": 75}, counts={"awaited": 1}), "unknown", "took 75.0 s"),
        (evidence(100, seconds={"awaited": 74.8}, counts={"awaited": 1}), "our outage", "only 1 run"),
    ],
    ids=[
        "nobody came",
        "nobody came for three intervals",
        "one failure in ten silent minutes",
        "it did not answer",
        "we were told to wait once, for long",
        "told to wait for the larger part",
        "our own errors",
        "refused",
        "not connected",
        "others came",
        "others came and its quotes were bad",
        "others came and its part did not",
        "its part was missing for the smaller time",
        "its part cannot be asked for",
        "its part could never be asked for",
        "nobody came before the poll that ended it",
        "it failed before the poll that ended it",
        "a poll that took long",
        "delisted",
        "nobody came for as long as others came",
        "it failed for as long as others came",
        "others came for longer than nobody did",
        "a twentieth is rounding",
        "more than a twentieth is absence",
    ],
)
def test_what_fills_the_larger_part_of_a_silence_caused_it(found, cause, words):
    named, why = gap_causes.judge(found)

    assert named == cause
    assert words in why


@pytest.mark.parametrize(("seconds", "is_gap"), [(20, False), (20.001, True)], ids=["two intervals", "longer"])
def test_a_gap_is_longer_than_two_expected_intervals(seconds, is_gap):
    assert gaps.is_gap(NOW, NOW + timedelta(seconds=seconds), 10.0) == is_gap


@pytest.mark.parametrize(
    ("outcome", "cause", "words"),
    [
        ("unreachable", "exchange outage", "the last run ended unreachable"),
        ("held_back", "rate limited", "the last run ended held_back"),
        ("stored", "unknown", "this market was not in them"),
        ("", "unknown", "this market was not in them"),
    ],
)
def test_the_first_guess_at_a_cause_is_the_last_cycles(outcome, cause, words):
    named, why = gap_causes.cause_of(outcome)

    assert named == cause
    assert words in why


def span(start: float, end: float, **fields: object) -> GapSpan:
    values = {"gap_id": 1, "pipeline_id": 1, "symbol": "BTC/USD", "is_ended": True, "expected_seconds": 10.0}
    return GapSpan(start=start, end=end, claimed_until=NOW, **(values | fields))


def candle(opened_at: float, close: float = 7.0) -> Candle:
    return Candle(opened_at, 1.0, 9.0, 0.5, close, 3.0)


def test_a_candle_is_its_close_at_the_moment_it_closed():
    found = answers.from_candles([candle(0, 5.0), candle(60, 6.0), candle(120, 8.0)], span(30, 150))

    assert found.points == ((60.0, 5.0), (120.0, 6.0))
    assert (found.reached, found.lacking) == (150, 0)


@pytest.mark.parametrize(
    ("start", "end", "minutes"),
    [(0, 60, 0), (0, 61, 1), (59, 61, 1), (60, 120, 0), (60, 121, 1), (30, 150, 2), (10, 50, 0)],
)
def test_minutes_that_close_strictly_inside(start, end, minutes):
    assert answers.minutes_between(start, end) == minutes


def test_rows_at_the_edges_of_a_gap_are_ours_and_not_filled():
    found = answers.from_candles([candle(0), candle(60), candle(120)], span(60, 180))

    assert [point.at for point in found.points] == [120]


def test_minutes_that_the_exchange_left_out_are_counted():
    found = answers.from_candles([candle(0), candle(240)], span(30, 330))

    assert [point.at for point in found.points] == [60, 300]
    assert (found.reached, found.lacking) == (330, 3)


def test_an_exchange_with_no_candle_has_none():
    found = answers.from_candles([], span(30, 330))

    assert (found.points, found.reached, found.lacking) == ((), 330, 5)


def test_a_short_page_leaves_the_rest_open():
    found = answers.from_candles([candle(60.0 * n) for n in range(100)], span(30, 60 * 200))

    assert (len(found.points), found.reached, found.lacking) == (100, 6000, 0)


def test_a_gap_longer_than_a_page_goes_on_after_an_empty_one():
    found = answers.from_candles([], span(0, 60 * 1000))

    assert (found.reached, found.lacking) == (answers.PAGE * 60, answers.PAGE)


def test_only_the_newest_candles_are_kept_by_some_exchanges():
    kept = [candle(60.0 * n) for n in range(150, 200)]

    found = answers.from_candles(kept, span(0, 60 * 200))

    assert (len(found.points), found.reached, found.lacking) == (49, 12_000, 150)


def test_candles_that_make_no_sense_are_not_stored():
    found = answers.from_candles([candle(17.0), candle(60.0, -1.0), candle(-60.0)], span(30, 150))

    assert found.points == ()


def flat(opened_at: float, volume: float | None = 0.0) -> Candle:
    return Candle(opened_at, 7.0, 7.0, 7.0, 7.0, volume)


def test_prices_that_are_written_on_without_a_trade_fill_nothing():
    """A halt: the exchange repeats its last price minute by minute."""
    found = answers.from_candles([flat(60.0 * n) for n in range(-1, 12)], span(30, 630))

    assert (found.points, found.reached, found.lacking) == ((), 630, 10)


def test_a_flat_minute_in_which_was_traded_or_that_tells_no_volume_counts():
    found = answers.from_candles([flat(0, 0.5), flat(60, None), flat(120, 0.0)], span(30, 210))

    assert [point.at for point in found.points] == [60, 120]
    assert (found.reached, found.lacking) == (210, 1)


def test_a_page_of_prices_written_on_is_not_asked_for_again():
    found = answers.from_candles([flat(60.0 * n) for n in range(300)], span(30, 60 * 1000))

    assert (found.points, found.reached, found.lacking) == ((), 18_000, 300)


def trade(at: float, price: float = 5.0) -> Trade:
    return Trade(None, at, price, 1.0, None)


def test_the_newest_trade_of_each_expected_interval_is_taken():
    trades = [trade(90), trade(101, 1.0), trade(108, 2.0), trade(125, 3.0), trade(140)]

    found = answers.from_trades(trades, span(100, 130))

    assert found.points == ((108, 2.0), (125, 3.0))
    assert (found.reached, found.lacking) == (130, 0)


def test_what_lies_before_the_oldest_trade_is_not_known():
    found = answers.from_trades([trade(155), trade(170)], span(100, 160))

    assert [point.at for point in found.points] == [155]
    assert found.lacking == 5


def test_trades_around_a_gap_without_one_inside_say_that_it_was_quiet():
    found = answers.from_trades([trade(90), trade(140)], span(100, 130))

    assert (found.points, found.lacking) == ((), 0)
    assert ledger.final_state(0, 0) == "exchange has none"


def test_fewer_trades_than_were_asked_for_are_no_proof_of_the_end():
    """The exchange caps its pages at a hundred, oldest first."""
    found = answers.from_trades([trade(101.0 + n) for n in range(100)], span(100, 700))

    assert (len(found.points), found.reached, found.lacking) == (11, 200.0, 0)


def test_an_answer_that_has_nothing_more_is_the_end():
    found = answers.from_trades([trade(200.0)], span(200, 700))

    assert (found.points, found.reached, found.lacking) == ((), 700, 0)


def test_a_full_page_of_trades_leaves_the_rest_open():
    found = answers.from_trades([trade(100 + n / 100) for n in range(1, answers.PAGE + 1)], span(100, 160))

    assert found.reached == pytest.approx(103)


@pytest.mark.parametrize(
    ("distances", "expected"),
    [
        ([100.0] * 29, 10),
        ([100.0] * 30, 100),
        ([10.0] * 27 + [60.0] * 3, 10),
        ([10.0] * 26 + [60.0] * 4, 60),
        ([12.5] * 30, 10),
        ([12.6] * 30, 20),
        ([9.2, 10.9, 12.0] * 20, 10),
        ([30.4, 29.7] * 20, 30),
        ([10.0] * 93 + [600.0] * 7, 10),
        ([10.0] * 50 + [40.0] * 50, 40),
        ([5000.0] * 40, 300),
        ([1.0] * 50, 10),
    ],
    ids=[
        "too few",
        "just enough",
        "one late row in ten",
        "more than one in ten",
        "a quarter of a poll late",
        "later than that",
        "jitter is no missed poll",
        "every third poll",
        "some outliers",
        "the slower half counts",
        "the ceiling",
        "never faster than polls",
    ],
)
def test_the_expected_interval_is_learned_in_whole_polls(distances, expected):
    assert cadence.expected_seconds(distances, poll_seconds=10, ceiling_seconds=300) == expected


@pytest.mark.parametrize(
    ("learned", "is_news"), [(11.0, False), (11.1, True), (9.0, False), (8.9, True), (10.0, False)]
)
def test_a_tenth_more_or_less_is_no_news(learned, is_news):
    assert cadence.is_news(learned, 10.0) == is_news


def test_a_ceiling_below_the_poll_interval_does_not_count():
    assert cadence.expected_seconds([900.0] * 50, poll_seconds=900, ceiling_seconds=300) == 900


@pytest.mark.parametrize(
    ("expected", "words"), [(10, "every poll"), (30, "learned: nine of ten"), (300, "held at the ceiling of 300 s")]
)
def test_the_cadence_says_its_reason(expected, words):
    assert words in cadence.reason(expected, poll_seconds=10, ceiling_seconds=300)


def still(**fields: object) -> frozen.Stillness:
    values = {"unchanged_seconds": 700.0, "usual_seconds": 10.0, "moves": (0.004, 0.003)}
    return frozen.Stillness(**(values | fields))


@pytest.mark.parametrize(
    ("what", "is_frozen"),
    [
        (still(), True),
        (still(unchanged_seconds=600.0), False),
        (still(moves=(0.004,)), False),
        (still(moves=(0.0004, 0.0003)), False),
        (still(moves=(0.9, 0.0003, 0.0002)), False),
        (still(moves=(0.001, 0.001)), True),
        (still(usual_seconds=120.0), False),
        (still(unchanged_seconds=1200.0, usual_seconds=120.0), False),
        (still(unchanged_seconds=1200.1, usual_seconds=120.0), True),
        (still(usual_seconds=None), True),
        (still(pegged=True), False),
    ],
    ids=[
        "others moved",
        "exactly the limit",
        "only one other",
        "nobody moved",
        "one outlier moved",
        "they moved by just enough",
        "it rests long by habit",
        "exactly ten rests",
        "more than ten rests",
        "no habit known",
        "a peg",
    ],
)
def test_a_price_is_frozen_when_its_pair_moves_elsewhere(what, is_frozen):
    assert frozen.is_frozen(what, after_seconds=600, least_move=0.001) == is_frozen


# --- candles: when they begin ---------------------------------------------------------------------------------------

OURS = {60.0 * minute: 100.0 + (minute * 7) % 5 for minute in range(12)}


@pytest.mark.parametrize(
    ("closes", "shift"),
    [
        (OURS, 0.0),
        ({at + 60: close for at, close in OURS.items()}, 60.0),
        ({at: close * 1.0003 for at, close in OURS.items()}, 0.0),
        (dict.fromkeys(OURS, 100.0), None),
        (dict(list(OURS.items())[:10]), None),
        ({}, None),
    ],
    ids=["their beginning", "their end", "a spread is no shift", "it stood still", "too few", "none"],
)
def test_what_candles_are_stamped_with_is_told_by_our_own_rows(closes, shift):
    assert candle_stamps.shift_seconds(closes, OURS) == shift


# --- backfill: at the edges of an answer ---------------------------------------------------------------------------


@pytest.mark.parametrize(("close", "count"), [(0.5, 1), (0.0, 0), (-1.0, 0)])
def test_only_a_positive_close_is_a_row(close: float, count: int) -> None:
    assert len(answers.from_candles([candle(0, close)], span(30, 90)).points) == count


@pytest.mark.parametrize(
    ("closed_at", "is_inside"), [(60.0, False), (120.0, True), (180.0, True), (240.0, False)], ids=str
)
def test_a_minute_that_closes_at_an_end_of_the_gap_is_not_in_it(closed_at: float, is_inside: bool) -> None:
    found = answers.from_candles([candle(closed_at - 60, 5.0)], span(60, 240))

    assert [point.at for point in found.points] == ([closed_at] if is_inside else [])


@pytest.mark.parametrize(("minutes", "reached_minutes"), [(301, 301), (302, 300)])
def test_an_empty_answer_says_something_of_one_page_only(minutes: int, reached_minutes: int) -> None:
    assert answers.from_candles([], span(0, 60 * minutes)).reached == 60 * reached_minutes


def test_a_candle_that_is_one_too_old_leaves_the_rest_open() -> None:
    found = answers.from_candles([candle(0, 5.0)], span(30, 150))

    assert (found.reached, found.lacking) == (60.0, 0)


@pytest.mark.parametrize(
    ("at", "price", "count"), [(100, 5, 0), (101, 5, 1), (159, 5, 1), (160, 5, 0), (110, 0, 0), (110, 0.5, 1)]
)
def test_a_trade_counts_between_the_ends_and_with_a_price(at: float, price: float, count: int) -> None:
    found = answers.from_trades([trade(at)._replace(price=price)], span(100, 160))

    assert len(found.points) == count


@pytest.mark.parametrize(
    ("count", "last", "is_all"), [(answers.PAGE - 1, 150, False), (answers.PAGE, 150, False), (answers.PAGE, 160, True)]
)
def test_a_page_that_ends_inside_the_gap_may_have_more_behind_it(count: int, last: float, is_all: bool) -> None:
    found = answers.from_trades([*[trade(110.0)] * (count - 1), trade(last)], span(100, 160))

    assert found.reached == (160 if is_all else last)


@pytest.mark.parametrize(("oldest", "lacking"), [(99, 0), (100, 0), (100.5, 0)])
def test_trades_from_the_start_on_lack_nothing(oldest: float, lacking: int) -> None:
    found = answers.from_trades([trade(oldest), trade(120)], span(100, 160))

    assert found.lacking == lacking


def test_later_trades_alone_say_that_at_least_one_is_lacking() -> None:
    assert answers.from_trades([trade(200)], span(100, 100.5)).lacking == 1


def test_a_page_is_counted_from_the_minute_in_which_the_gap_begins() -> None:
    assert answers.from_candles([], span(90, 60 * 1000)).reached == 60 * (1 + answers.PAGE)
