"""The pure decisions: what is silence, what is contradiction, when may be dialled."""

from __future__ import annotations

import pytest

from collectors.rules import streams
from collectors.rules.streams import DialBudget, Heard
from feeds.base import Quote

LIMIT = 6.0
MANY = frozenset(f"C{number}/USD" for number in range(30))
FEW = frozenset({"A/USD", "B/USD"})


def quotes(prices: dict[str, float]) -> list[Quote]:
    return [Quote(symbol, last, *(None,) * 7, 0.0) for symbol, last in prices.items()]


@pytest.mark.parametrize(
    ("many_at", "few_at", "now", "is_silent"),
    [(100.0, 100.0, 106.0, False), (100.0, 100.0, 106.1, True), (100.0, 107.0, 107.5, True),
     (150.0, 100.0, 155.0, False), (160.0, 100.0, 161.0, True)],
    ids=["at the limit", "beyond it", "a large group alone", "a small group may be quiet", "but not for ever"],
)  # fmt: skip
def test_silence_is_judged_of_the_whole_and_of_each_subscription(
    many_at: float, few_at: float, now: float, is_silent: bool
):
    heard = Heard.since(90.0, [MANY, FEW])
    for symbols, at in sorted([(MANY, many_at), (FEW, few_at)], key=lambda pair: pair[1]):
        heard.note(symbols, at)

    assert bool(streams.silence(heard, now, limit_seconds=LIMIT)) == is_silent


def test_a_stream_that_has_just_fallen_silent_is_not_talking_and_not_silent_yet():
    heard = Heard.since(0.0, [MANY])
    heard.note(MANY, 10.0)

    assert streams.is_talking(heard, 10.0 + 0.49 * LIMIT, limit_seconds=LIMIT)
    assert not streams.is_talking(heard, 10.0 + 0.51 * LIMIT, limit_seconds=LIMIT)
    assert not streams.silence(heard, 10.0 + 0.51 * LIMIT, limit_seconds=LIMIT)


def test_a_stream_is_complete_when_each_large_subscription_has_spoken():
    heard = Heard.since(0.0, [MANY, FEW])
    assert not streams.is_complete(heard)

    heard.note({"C1/USD"}, 1.0)

    assert streams.is_complete(heard)


def test_regrouping_keeps_the_time_of_what_is_still_asked_for():
    heard = Heard.since(0.0, [MANY])
    heard.note(MANY, 5.0)

    heard.regroup([MANY - {"C1/USD"}, FEW], 9.0)

    assert heard.by_group == [5.0, 9.0]


@pytest.mark.parametrize(
    ("pushed", "polled", "word"),
    [
        ({"A": 100.0, "B": 50.0}, {"A": 100.9, "B": 50.1}, ""),
        ({"A": 100.0, "B": 50.0}, {"A": 103.0, "B": 50.1}, "1 of 2 prices differ"),
        (dict.fromkeys("ABCDE", 10.0), dict.fromkeys("ABCD", 10.0) | {"E": 20.0}, ""),
        ({"A": 1.0}, {"A": 1.0, "B": 1.0}, ""),
        ({"A": 1.0}, {"A": 1.0, "B": 1.0, "C": 1.0}, "brought 1 of 3"),
        ({}, {}, ""),
    ],
    ids=["within tolerance", "too far off", "one of five may move", "half is enough", "less is not", "nothing polled"],
)
def test_a_poll_contradicts_by_prices_or_by_markets(pushed: dict[str, float], polled: dict[str, float], word: str):
    heard = {quote.symbol: quote for quote in quotes(pushed)}

    found = streams.contradiction(heard, quotes(polled), tolerance=0.01)

    assert word in found
    assert bool(word) == bool(found)


def test_pauses_double_up_to_the_cap_and_are_jittered_from_nothing():
    pauses = [streams.backoff_seconds(failures, base=1.0, cap=60.0, jitter=1.0) for failures in range(8)]

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert streams.backoff_seconds(3, base=1.0, cap=60.0, jitter=0.0) == 0
    assert streams.backoff_seconds(10_000, base=1.0, cap=60.0, jitter=0.5) == 30


def test_the_dial_budget_counts_five_minutes():
    budget = DialBudget(limit=3)
    for at in (0.0, 10.0, 20.0):
        assert budget.wait_seconds(at, 1) == 0
        budget.spend(at, 1)

    assert budget.wait_seconds(30.0, 1) == 270
    assert budget.wait_seconds(30.0, 2) == 280
    assert budget.wait_seconds(300.0, 1) == 0


def test_an_exchange_of_more_connections_than_the_budget_is_dialled_when_it_is_unused():
    budget = DialBudget(limit=3)
    assert budget.wait_seconds(0.0, 5) == 0

    budget.spend(0.0, 5)

    assert budget.wait_seconds(1.0, 5) == 299


# --- at the edges ------------------------------------------------------------------------------------------------


def group(size: int) -> frozenset[str]:
    return frozenset(f"G{number}/USD" for number in range(size))


@pytest.mark.parametrize(("size", "is_large"), [(19, False), (20, True)])
def test_twenty_markets_are_a_large_group(size: int, is_large: bool):
    heard = Heard.since(0.0, [group(size), FEW])
    heard.note(FEW, 10.0)

    assert bool(streams.silence(heard, 10.0, limit_seconds=LIMIT)) is is_large
    assert streams.is_complete(heard) is not is_large


def test_a_single_subscription_must_speak_however_small():
    heard = Heard.since(0.0, [FEW])
    assert not streams.is_complete(heard)

    heard.note({"A/USD"}, 1.0)

    assert streams.is_complete(heard)


def test_the_reason_of_a_silence_is_told_with_its_seconds():
    heard = Heard.since(1.0, [MANY, FEW])
    assert streams.silence(heard, 7.5, limit_seconds=LIMIT) == "no ticker for 6.5 s"

    heard.note(FEW, 7.5)

    assert streams.silence(heard, 7.5, limit_seconds=LIMIT) == ("no ticker of a subscription of 30 markets for 6.5 s")


def test_an_empty_batch_is_no_sign_of_life():
    heard = Heard.since(0.0, [MANY])

    heard.note(set(), 9.0)

    assert (heard.last_at, heard.by_group) == (0.0, [0.0])


def test_half_the_limit_is_no_longer_talking():
    assert not streams.is_talking(Heard.since(0.0, [MANY]), 0.5 * LIMIT, limit_seconds=LIMIT)


def test_of_groups_that_are_joined_the_newest_time_counts():
    heard = Heard.since(0.0, [MANY, FEW])
    heard.note(MANY, 3.0)
    heard.note(FEW, 5.0)

    heard.regroup([MANY | FEW], 9.0)

    assert heard.by_group == [5.0]


@pytest.mark.parametrize(("differing", "is_believed"), [(1, True), (2, False)])
def test_a_fifth_of_the_prices_may_differ(differing: int, is_believed: bool):
    polled = {str(number): 10.0 for number in range(7)}
    pushed = polled | {str(number): 20.0 for number in range(differing)}
    heard = {quote.symbol: quote for quote in quotes(pushed)}

    assert (streams.disagreement(heard, quotes(polled), tolerance=0.01) == "") is is_believed


def test_a_price_at_the_tolerance_agrees():
    [pushed], [polled] = quotes({"A": 1.5}), quotes({"A": 1.0})

    assert streams.disagreement({"A": pushed}, [polled], tolerance=0.5) == ""
    assert streams.disagreement({"A": pushed}, [polled], tolerance=0.49) != ""


def test_a_dial_is_forgotten_after_five_minutes_to_the_moment():
    budget = DialBudget(limit=1)
    budget.spend(0.0, 1)

    assert budget.wait_seconds(299.9, 1) == pytest.approx(0.1)
    assert budget.wait_seconds(300.0, 1) == 0
    assert not budget.dials


def test_the_pause_after_a_death_doubles_up_to_its_cap_and_is_forgotten_after_a_long_life():
    pauses, now, rests = streams.Pauses(), 1000.0, []
    for lived in (0.0, 0.0, 0.0, 0.0, streams.STABLE_SECONDS + 1):
        assert not pauses.holds("kraken", now)
        pauses.note_begin("kraken", now)
        now += lived
        pauses.note_failure("kraken", now, cap=5.0)
        rests.append(pauses.until["kraken"] - now)
        assert pauses.holds("kraken", now)
        now = pauses.until["kraken"]

    assert rests == [1.0, 2.0, 4.0, 5.0, 1.0]


def whole(symbol: str, **missing: None) -> Quote:
    return Quote(symbol, 10.0, 9.9, 10.1, 11.0, 9.0, 5.0, 50.0, None, 0.0)._replace(**missing)


@pytest.mark.parametrize(
    ("without_bid", "said"), [(2, ""), (3, "bid")], ids=["half of the markets is chance", "more than half is not"]
)
def test_what_a_poll_brings_and_the_stream_does_not_is_named(without_bid: int, said: str):
    polled = [whole(f"C{number}/USD") for number in range(4)]
    pushed = {each.symbol: each for each in polled}
    pushed |= {f"C{number}/USD": whole(f"C{number}/USD", bid=None) for number in range(without_bid)}

    assert streams.lost_fields(pushed, polled) == said


@pytest.mark.parametrize(
    ("lost", "refused"), [("bid, high, quote_volume", "bid"), ("bid, ask", "bid, ask"), ("high, low", ""), ("", "")]
)
def test_only_prices_are_indispensable(lost: str, refused: str):
    assert streams.indispensable(lost) == refused


def test_what_neither_brings_is_not_lost():
    polled = [whole("A/USD", quote_volume=None)]

    assert streams.lost_fields({"A/USD": whole("A/USD", quote_volume=None, high=None)}, polled) == "high"
    assert streams.lost_fields({}, polled) == ""
