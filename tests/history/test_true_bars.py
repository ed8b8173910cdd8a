"""A minute that only the exchange's candle covers is that candle, at its own minute."""

from __future__ import annotations

from board import series
from collectors.gaps import invariants
from collectors.models import Gap, Tick
from collectors.models.history import MinuteCandle

TOLD = ("minute_at", "open", "high", "low", "close", "volume", "live", "candle", "trade", "samples", "base_volume")


def told(past, **wanted):
    return [tuple(row[name] for name in TOLD) for row in past.minutes(**wanted)]


def test_a_candle_is_its_minute_from_open_to_close(past):
    past.live(0.5, price=70_497)
    past.gap(0.5, 4.5)
    past.live(4.5, price=70_500)

    past.fill(
        [
            past.candle(1, 70_497, 70_530.6, 70_463.6, 70_491, volume=12.5),
            past.candle(2, 70_491, 70_492, 70_480, 70_485),
        ],
        at=10,
    )
    past.roll_up(5)

    assert told(past) == [
        (past.at(0), 70_497, 70_497, 70_497, 70_497, None, 1, 0, 0, 1, 5),
        (past.at(1), 70_497, 70_530.6, 70_463.6, 70_491, 12.5, 0, 1, 0, 1, None),
        (past.at(2), 70_491, 70_492, 70_480, 70_485, 5, 0, 1, 0, 1, None),
        (past.at(4), 70_500, 70_500, 70_500, 70_500, None, 1, 0, 0, 1, 5),
    ]
    assert [row for row in invariants.check(since=past.start) if row.offences] == []


def test_a_minute_with_rows_of_our_own_is_theirs_though_a_candle_covers_it_too(past):
    past.live(1.25, price=100)
    past.gap(1.25, 4)
    past.live(4)
    past.fill([past.candle(1, 50, 200, 40, 150), past.candle(2, 100, 101, 99, 100)], at=10)
    past.roll_up(2)

    assert told(past)[0] == (past.at(1), 100, 100, 100, 100, None, 1, 0, 0, 1, 5)
    assert MinuteCandle.objects.count() == 2


def test_a_candle_of_a_halt_fills_nothing_and_is_kept_as_without_trades(past):
    past.gap(0, 3)
    past.live(3)

    past.fill([past.candle(0, 7, 7, 7, 7, volume=0.0), past.candle(1, 7, 7, 7, 7, volume=0.0)], at=10)
    past.roll_up(4)

    assert [row["minute_at"] for row in past.minutes()] == [past.at(3)]
    assert not Tick.objects.filter(origin=1).exists()
    assert set(MinuteCandle.objects.values_list("has_trades", flat=True)) == {False}
    assert Gap.objects.get().filled_count == 0


def test_the_first_answer_about_a_minute_stays(past):
    past.gap(0, 3)
    past.live(3)
    past.fill([past.candle(0, 1, 2, 1, 2)], at=10)
    Gap.objects.update(state="open", filled_until=None, next_try_at=None)

    past.fill([past.candle(0, 5, 6, 5, 6), past.candle(1, 2, 3, 2, 3)], at=11)

    assert list(MinuteCandle.objects.order_by("opened_at").values_list("close", "fetched_at")) == [
        (2, past.at(10)), (3, past.at(11)),
    ]  # fmt: skip


def test_the_chart_of_minutes_draws_candles_as_filled(past):
    for minutes in (0, 1, 2, 5):
        past.live(minutes, price=100 + minutes)
    past.gap(2, 5)
    past.fill([past.candle(3, 50, 60, 40, 55)], at=10)
    past.roll_up(6)

    drawn = series.read(past.pipeline, series.SPANS["24h"], now=past.at(600), not_before=past.start)

    place = drawn["at"].index(past.at(4).timestamp())
    assert (drawn["price"][place], drawn["filled"][place]) == (None, 55)
