"""Order books from the wire to the row, compared with what the sandbox's own function gives for that second."""

from __future__ import annotations

from datetime import timedelta

import pytest

from collectors.market_data import collect
from collectors.models import Pipeline, Worker
from collectors.models.market_data import DepthSeries, OrderBookSnapshot
from lib import clock

BOOKS = {"markets": ["BTC/USDT"], "levels": 5}


def books() -> list[OrderBookSnapshot]:
    return list(OrderBookSnapshot.objects.order_by("received_at"))


def test_a_stored_book_is_what_the_exchange_showed_at_that_second(place):
    place.open("binance", books=BOOKS)

    assert place.collect("binance") == {"books": 1}

    [stored] = books()
    [asked] = place.asked("binance", "/depth")
    view = place.view("binance", asked["second"])
    truth = view.book(view.markets["BTCUSDT"], 5)
    assert list(zip(stored.bid_prices, stored.bid_amounts, strict=True)) == [
        (float(p), float(a)) for p, a in truth.bids
    ]
    assert list(zip(stored.ask_prices, stored.ask_amounts, strict=True)) == [
        (float(p), float(a)) for p, a in truth.asks
    ]
    assert stored.sequence == asked["second"]
    assert stored.pipeline_id == place.market("binance", "BTC/USDT")
    assert place.series("binance", "books").last_outcome == "stored"


def test_a_venue_that_takes_only_some_numbers_of_levels_is_asked_for_the_next_larger(place):
    place.open("binanceusdm", books={"markets": ["BTC/USDT:USDT"], "levels": 7})

    assert place.collect("binanceusdm") == {"books": 1}

    [asked] = place.asked("binanceusdm", "/depth")
    assert "limit=10" in asked["query"]
    assert len(books()[0].bid_prices) == 7


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"lastUpdateId":1,"bids":[["101","1"]],"asks":[["100","1"]]}', "crossed"),
        ('{"lastUpdateId":1,"bids":[["99","-1"]],"asks":[["100","1"]]}', "no positive number"),
    ],
    ids=["crossed", "a negative amount"],
)
def test_an_unsound_book_is_put_aside_with_the_reason(place, body, reason):
    place.open("binance", books=BOOKS)
    place.sandbox.fault("binance", "json", path="/depth", params={"body": body})

    assert place.collect("binance") == {"books": 0}

    assert books() == []
    [run] = place.runs("binance", "books")
    assert (run.outcome, run.rows_answered, run.rows_stored, run.rows_quarantined) == ("bad_reply", 1, 0, 1)
    assert reason in run.quarantine[0]["reason"]


@pytest.mark.parametrize(
    ("body", "bids", "asks"),
    [
        ('{"lastUpdateId":1,"bids":[["99","1"]],"asks":[]}', [99.0], []),
        ('{"lastUpdateId":1,"bids":[["99","0"],["98","1"]],"asks":[["100","1"]]}', [98.0], [100.0]),
        ('{"lastUpdateId":1,"bids":[["99","1"],["99","2"]],"asks":[["100","1"]]}', [99.0], [100.0]),
    ],
    ids=["one side is all there is", "a dead level", "a price twice"],
)
def test_a_small_fault_does_not_cost_the_book(place, body, bids, asks):
    place.open("binance", books=BOOKS)
    place.sandbox.fault("binance", "json", path="/depth", params={"body": body})

    assert place.collect("binance") == {"books": 1}

    [book] = books()
    assert (book.bid_prices, book.ask_prices) == (bids, asks)


def test_an_empty_answer_is_a_failure_and_waits_longer_each_time(place):
    place.open("binance", books=BOOKS)
    place.sandbox.fault("binance", "json", path="/depth", params={"body": '{"lastUpdateId":1,"bids":[],"asks":[]}'})

    place.collect("binance")
    place.collect("binance")

    series = place.series("binance", "books")
    assert (series.last_outcome, series.error_count, series.stored_at) == ("bad_reply", 2, None)
    assert [run.outcome for run in place.runs("binance", "books")] == ["bad_reply", "bad_reply"]
    worker = Worker.objects.get(pk="binance")
    assert (worker.error_count, worker.last_outcome) == (0, "stored")


def test_the_largest_markets_are_chosen_by_volume(place):
    place.open("binance", books={"top": 2, "levels": 1})

    assert place.collect("binance") == {"books": 2}

    polled = Pipeline.objects.filter(market__exchange="binance", quote_volume__gt=0)
    largest = polled.order_by("-quote_volume")[:2]
    assert {book.pipeline_id for book in books()} == {pipeline.pk for pipeline in largest}


def test_what_is_no_longer_wanted_is_not_asked_for(place):
    place.open("binance", books=BOOKS)
    place.collect("binance")
    place.want("binance")

    assert place.collect("binance") == {}

    assert len(place.asked("binance", "/depth")) == 1


def test_what_is_due_a_moment_later_does_not_wait_for_the_next_round(place):
    place.open("binance", books=BOOKS)
    place.collect("binance")
    DepthSeries.objects.update(next_at=clock.now() + timedelta(seconds=1))

    assert collect.collect("binance", clock=clock.now, seconds=5) == {"books": 1}


def test_it_is_not_due_again_before_its_interval(place):
    place.open("binance", books=BOOKS)
    place.collect("binance")

    assert collect.collect("binance", clock=clock.now, seconds=5) == {}

    assert len(books()) == 1
