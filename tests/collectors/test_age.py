"""How old an answer is by the exchange's own word, and from when on it is old."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from collectors.rules import age
from collectors.rules.age import AnswerFacts, AnswerState, after, limit_seconds
from collectors.rules.answer_stamps import APART, FEW, TOGETHER, spread_of, spread_of_pushed

NOON = 1_795_000_000.0
HOUR = 3600.0


def told(
    lags: Iterable[float | None], *, every: float = 10.0, state: AnswerState | None = None, **more: float
) -> AnswerState:
    """What is known after answers of these ages, one after the other."""
    at = NOON if state is None else state.received_at
    for lag in lags:
        at += every
        state = after(state, AnswerFacts(at, None if lag is None else at - lag, **more))
    assert state is not None
    return state


@pytest.mark.parametrize(("usual", "limit"), [(None, 180), (0.5, 60.5), (30, 90), (60, 180), (300, 900), (-200, -140)])
def test_old_is_three_times_the_usual_or_a_minute_more(usual: float | None, limit: float) -> None:
    assert limit_seconds(usual) == limit


@pytest.mark.parametrize(("lag", "is_old"), [(180, False), (181, True)])
def test_a_minute_is_assumed_to_be_usual_of_a_source_that_is_new(lag: float, is_old: bool) -> None:
    assert told([lag]).is_old is is_old


@pytest.mark.parametrize(("lag", "is_old"), [(62, False), (63, True)])
def test_what_is_usual_is_learned_from_twenty_answers(lag: float, is_old: bool) -> None:
    assert told([2.0] * 19).usual_seconds is None
    assert told([*[2.0] * 20, lag]).is_old is is_old


def test_a_source_that_stamps_a_minute_late_is_not_old() -> None:
    assert not told([60.0] * 100).is_old


def test_stamps_that_stand_still_become_old() -> None:
    state = told([1.0] * 30)
    stopped = NOON + 300

    for at in range(310, 500, 10):
        state = after(state, AnswerFacts(NOON + at, stopped))

    assert state.is_old
    assert state.old_since == NOON + 370
    assert state.shown_at == stopped
    assert "189 s old" not in state.reason
    assert "190 s old by its own time" in state.reason


def test_an_hour_of_old_answers_teaches_nothing() -> None:
    state = told([1.0] * 30)

    state = told([HOUR] * 360, state=state)

    assert (state.is_old, state.usual_seconds) == (True, 1.0)
    assert not told([1.0], state=state).is_old


def test_old_answers_from_the_first_on_are_old_for_hours() -> None:
    assert told([3 * HOUR] * 500).is_old


def test_what_lasts_for_more_than_half_a_day_is_how_this_source_is() -> None:
    state = told([600.0] * 13 * 60, every=60.0)

    assert (state.is_old, state.usual_seconds) == (False, 600.0)


def test_a_day_counts_by_its_quarters_not_by_its_answers() -> None:
    """So a source polled more often for an hour is not judged by that hour."""
    state = told([20.0] * 40, every=900.0)

    assert told([1.0] * 85, every=10.0, state=state).usual_seconds == 20.0


def test_the_state_stays_small_for_ever() -> None:
    state = told([5.0] * 5000, every=60.0)

    assert len(state.slots) < age.SLOTS
    assert len(age.written({"spot": state})) < 2500


def test_a_cache_that_says_how_long_it_held_the_answer_is_believed_without_stamps() -> None:
    state = told([None], cached_seconds=900.0)

    assert (state.is_old, state.lag_seconds) == (True, 900.0)
    assert "a cache has held" in state.reason


def test_without_stamps_and_headers_nothing_is_said() -> None:
    state = told([None] * 50)

    assert (state.is_old, state.lag_seconds, state.usual_seconds) == (False, None, None)


def test_a_date_that_stands_still_is_an_answer_out_of_a_cache() -> None:
    state = None
    for at in range(0, 300, 10):
        state = after(state, AnswerFacts(NOON + at, None, served_at=NOON))

    assert state is not None
    assert (state.is_old, state.lag_seconds) == (True, 290.0)


def test_a_server_whose_clock_is_wrong_is_not_old() -> None:
    """Its stamps are two minutes behind, and so is its clock."""
    state = told([1.0] * 30)
    for _ in range(10):
        at = state.received_at + 10
        state = after(state, AnswerFacts(at, at - 121, served_at=at - 120))

    assert (state.skew_seconds, state.is_old, state.lag_seconds) == (120.0, False, 1.0)


def test_a_right_clock_does_not_excuse_wrong_stamps() -> None:
    state = None
    for number in range(30):
        at = NOON + 10 * number
        state = after(state, AnswerFacts(at, at - HOUR, served_at=at))

    assert state is not None
    assert (state.skew_seconds, state.is_old) == (0.0, True)


def test_a_pushed_frame_of_a_quiet_market_does_not_make_a_stream_old() -> None:
    state = after(None, AnswerFacts(NOON, NOON - 0.1), is_pushed=True)

    state = after(state, AnswerFacts(NOON + 1, NOON - 5000), is_pushed=True)

    assert not state.is_old


def test_pushed_frames_that_stand_still_become_old() -> None:
    state = None
    for second in range(30):
        state = after(state, AnswerFacts(NOON + second, NOON + second - 0.1), is_pushed=True)
    for second in range(30, 120):
        state = after(state, AnswerFacts(NOON + second, NOON + 28), is_pushed=True)

    assert state is not None
    assert state.old_since == NOON + 90


@pytest.mark.parametrize(
    ("asked", "pushed", "is_behind"),
    [(NOON, NOON + 30, False), (NOON, NOON + 31, True), (NOON, NOON - 99, False), (None, NOON, False)],
)
def test_an_answer_far_behind_what_was_pushed_is_seen(asked: float | None, pushed: float, is_behind: bool) -> None:
    assert age.is_behind(asked, pushed) is is_behind


def test_a_state_is_read_as_it_was_written() -> None:
    states = {"spot": told([2.0] * 200, every=60.0), "swap": told([HOUR], served_at=NOON)}

    assert age.read_states(age.written(states)) == states


def test_an_age_is_told_in_words() -> None:
    assert age.in_words(told([1.0] * 30)) == "1.0 s (usual: 1.0 s)"
    assert age.in_words(told([1.0])) == "1.0 s (usual: not known yet)"
    assert age.in_words(told([None])) == "the exchange tells no time"
    assert age.in_words(told([HOUR])).startswith("old: the exchange's answer is 3600 s old")
    behind = AnswerState(NOON, lag_seconds=1.0, usual_seconds=1.0, skew_seconds=-90.0)
    assert age.in_words(behind) == "1.0 s (usual: 1.0 s); its clock is 90 s ahead of ours"


@pytest.mark.parametrize("text", [None, "{}", "[]", '{"spot":3}', '{"spot":{"received_at":"x"}}',
                                  '{"spot":{"received_at":1,"slots":3}}'])  # fmt: skip
def test_what_is_no_state_is_none(text: str | None) -> None:
    assert age.read_states(text) == {}


# --- what stamps prove ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behind", "word"),
    [
        ([], FEW),
        ([0, 1], FEW),
        ([0, None, None, 1], FEW),
        ([0, 1, 2], TOGETHER),
        ([0, 9, 500, 9000], TOGETHER),
        ([0, 11, 500], APART),
        ([0, 2, 40, 300, 9000], APART),
    ],
)
def test_stamps_that_differ_from_market_to_market_are_those_of_trades(behind: list[float | None], word: str) -> None:
    assert spread_of([None if each is None else NOON - each for each in behind]) == word


@pytest.mark.parametrize(
    ("behind", "market_count", "word"),
    [([0], 2, FEW), ([0, 0, 0], 2, FEW), ([0], 300, ""), ([0, 1, 2], 300, TOGETHER), ([0, 60, 900], 300, APART)],
)
def test_a_part_of_what_is_pushed_proves_nothing_of_the_rest(behind: list[float], market_count: int, word: str) -> None:
    assert spread_of_pushed([NOON - each for each in behind], market_count=market_count) == word


def told_few(lags: Iterable[float], *, state: AnswerState | None = None, stamps: str = FEW) -> AnswerState:
    at = NOON if state is None else state.received_at
    for lag in lags:
        at += 10
        state = after(state, AnswerFacts(at, at - lag, stamps=stamps))
    assert state is not None
    return state


def test_the_last_trade_of_a_single_quiet_market_makes_nothing_old() -> None:
    state = None
    for _ in range(4):  # a trade every hour
        state = told_few(range(0, 3600, 10), state=state)
        assert not state.is_old

    assert state is not None
    assert state.rested_seconds == 3590.0


def test_a_single_market_whose_stamps_come_with_each_answer_is_judged() -> None:
    state = told_few([1.0] * 30)

    assert told_few([3600.0], state=state).is_old
    assert told_few(range(10, 200, 10), state=state).is_old


def test_a_single_market_that_has_once_rested_is_judged_no_more_for_a_day() -> None:
    state = told_few([*[1.0] * 30, *range(10, 200, 10), 1.0])
    assert state.rested_seconds == 190.0
    assert not told_few(range(10, 1000, 10), state=state).is_old

    state = told_few([1.0] * 9000, state=state)
    assert told_few(range(10, 200, 10), state=state).is_old


def test_a_cache_is_believed_of_a_single_market_too() -> None:
    assert after(None, AnswerFacts(NOON, NOON - 900, cached_seconds=900.0, stamps=FEW)).is_old


def test_times_of_trades_are_given_the_pauses_that_trades_make() -> None:
    state = told_few([40.0] * 100, stamps=APART)

    assert not told_few([790.0], state=state, stamps=APART).is_old
    assert told_few([810.0], state=state, stamps=APART).is_old
    assert not told_few([1190.0], stamps=APART).is_old
    assert told_few([3600.0], stamps=APART).is_old


def test_what_is_pushed_goes_by_what_is_known_of_its_stamps() -> None:
    state = after(None, AnswerFacts(NOON, NOON - 1, stamps=APART), is_pushed=True)

    assert after(state, AnswerFacts(NOON + 1, NOON - 1, stamps=""), is_pushed=True).stamps == APART
    assert after(None, AnswerFacts(NOON, NOON, stamps=""), is_pushed=True).stamps == TOGETHER
