"""Trades from the wire to the row: once each, with every number accounted for."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection

from collectors.market_data import filling, store, turns
from collectors.models import Worker
from collectors.models.market_data import DepthSeries, PublicTrade, TradeHole
from collectors.rules import trade_rows
from exchanges.models import Exchange
from lib import clock

SYMBOL = {"binance": "BTC/USDT", "coinbase": "BTC/USD", "kraken": "BTC/USD", "luno": "BTC/ZAR"}
PAGE = 500


def numbers(**filters: object) -> list[int]:
    return list(PublicTrade.objects.filter(**filters).order_by("number").values_list("number", flat=True))


def collected(place, exchange_id: str = "binance") -> None:
    place.open(exchange_id, trades={"markets": [SYMBOL[exchange_id]]})
    assert place.collect(exchange_id)["trades"] > 0


def lag(exchange_id: str, *, behind: int) -> int:
    """As if collection had been down: the newest trade that we have is that many before the oldest; its number."""
    oldest = PublicTrade.objects.order_by("traded_at").first()
    assert oldest is not None
    at = oldest.traded_at - timedelta(seconds=behind)
    number = int(at.timestamp())
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE collectors_trade")
    Worker.objects.filter(pk=exchange_id).update(resumed_at=clock.now() - timedelta(days=1))
    row = trade_rows.TradeRow(str(number), number, at.timestamp(), 1.0, 1.0, None)
    store._insert(oldest.pipeline_id, [row], received_at=at.timestamp(), is_filled=False)
    is_numbered = DepthSeries.objects.filter(exchange=exchange_id, newest_number__isnull=False).exists()
    DepthSeries.objects.filter(exchange=exchange_id).update(
        newest_number=number if is_numbered else None, newest_at=at, stored_at=at
    )
    return number


def test_stored_trades_are_what_happened_at_their_seconds(place):
    collected(place)

    stored = list(PublicTrade.objects.order_by("number"))
    [asked] = place.asked("binance", "aggTrades")
    view = place.view("binance", asked["second"])
    truth = list(view.trades(view.markets["BTCUSDT"], PAGE))[::-1]
    assert len(stored) == PAGE
    for row, trade in zip(stored, truth, strict=True):
        assert (row.number, row.trade_id, row.traded_at.timestamp()) == (trade.number, str(trade.number), trade.at)
        assert (row.price, row.amount) == (float(trade.price), float(trade.amount))
        assert row.side == ("buy" if trade.is_buy else "sell")
        assert not row.is_filled


def test_what_is_answered_again_is_stored_once(place):
    collected(place)

    place.collect("binance")

    found = numbers()
    assert found == list(range(found[0], found[-1] + 1))
    assert TradeHole.objects.count() == 0


def test_two_collectors_at_once_store_each_trade_once(place):
    """The turn is taken from them, so that both really come to the store with the same page."""
    collected(place)
    rows = [
        trade_rows.TradeRow(row.trade_id, row.number, row.traded_at.timestamp(), row.price, row.amount, row.side)
        for row in PublicTrade.objects.all()
    ]
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE collectors_trade")
    DepthSeries.objects.update(newest_number=None, newest_at=None, stored_at=None)
    turn = turns.RequestSlot(Exchange.objects.get(pk="binance"), Worker.objects.get(pk="binance").generation, 5.0)
    series, stored, both = place.series("binance", "trades"), [], threading.Barrier(2)

    def save(shift: float) -> None:
        moved = trade_rows.Sorted(
            tuple(row._replace(at=row.at + shift) for row in rows)
        )  # a venue that rounds its stamps differently
        both.wait(10)
        stored.append(store.save_trades(turn, series, moved, received_at=rows[-1].at, now=clock.now()).count)
        connection.close()

    threads = [threading.Thread(target=save, args=(shift,)) for shift in (0.0, 0.25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(stored) == [0, len(rows)]
    assert numbers() == sorted(row.number for row in rows)


@pytest.mark.parametrize("exchange_id", ["binance", "coinbase"])
def test_missing_numbers_are_a_hole_and_are_asked_for(place, exchange_id):
    collected(place, exchange_id)
    number = lag(exchange_id, behind=1200)

    place.collect(exchange_id)

    hole = TradeHole.objects.get()
    assert hole.first_number == number + 1
    assert hole.missing_count == hole.last_number - number
    assert hole.missing_count == pytest.approx(1200, abs=60)
    for _ in range(4):
        place.collect(exchange_id)
    hole.refresh_from_db()
    assert (hole.state, hole.filled_count) == ("filled", hole.missing_count)
    found = numbers()
    assert found == list(range(number, found[-1] + 1))
    assert numbers(is_filled=True) == list(range(hole.first_number, hole.last_number + 1))


def test_binance_is_asked_by_number(place):
    collected(place)
    number = lag("binance", behind=1200)

    place.collect("binance")

    first = place.asked("binance", "aggTrades")[2]
    assert f"fromId={number + 1}" in first["query"]


def test_what_the_exchange_no_longer_has_stays_a_hole(place):
    collected(place)
    lag("binance", behind=1200)
    place.sandbox.fault("binance", "json", path="fromId", params={"body": "[]"})

    place.collect("binance")

    hole = TradeHole.objects.get()
    assert (hole.state, hole.filled_count) == ("exchange has none", 0)
    before = len(place.asked("binance", "aggTrades"))
    place.collect("binance")
    assert len(place.asked("binance", "aggTrades")) == before + 1


def test_pages_that_do_not_touch_are_a_hole_of_unknown_size(place):
    collected(place, "luno")
    lag("luno", behind=300)

    place.collect("luno")

    hole = TradeHole.objects.get()
    assert (hole.first_number, hole.last_number, hole.missing_count) == (None, None, None)
    assert (hole.ended_at - hole.started_at).total_seconds() == pytest.approx(300, abs=60)


def test_a_planned_stop_leaves_no_hole(place):
    collected(place)
    lag("binance", behind=1200)
    Worker.objects.filter(pk="binance").update(resumed_at=clock.now())

    place.collect("binance")

    assert TradeHole.objects.count() == 0
    assert len(numbers()) > PAGE - 2


def test_a_hole_older_than_trades_are_kept_is_given_up(place, settings):
    collected(place)
    lag("binance", behind=1200)
    place.sandbox.fault("binance", "status", path="fromId", params={"code": 503})
    place.collect("binance")
    assert TradeHole.objects.get().state == "open"

    filling.expire(clock.now() + timedelta(days=settings.TRADE_RETENTION_DAYS + 1))

    assert TradeHole.objects.get().state == "expired"


def test_an_answer_without_trades_is_a_failure(place):
    place.open("binance", trades={"markets": ["BTC/USDT"]})
    place.sandbox.fault("binance", "json", path="aggTrades", params={"body": "[]"})

    place.collect("binance")

    assert place.runs("binance", "trades")[0].outcome == "bad_reply"


def test_a_poisoned_trade_is_put_aside_and_the_others_are_stored(place):
    place.open("binance", trades={"markets": ["BTC/USDT"]})
    at = int(clock.now().timestamp() * 1000)
    good = f'{{"a":1,"p":"100.5","q":"0.25","f":1,"l":1,"T":{at},"m":true}}'
    bad = f'{{"a":2,"p":"-5","q":"1","f":2,"l":2,"T":{at},"m":true}}'
    place.sandbox.fault("binance", "json", path="aggTrades", params={"body": f"[{good},{bad}]"})

    assert place.collect("binance") == {"trades": 1}

    [run] = place.runs("binance", "trades")
    assert (run.outcome, run.rows_answered, run.rows_stored, run.rows_quarantined) == ("stored", 2, 1, 1)
    [stored] = PublicTrade.objects.all()
    assert (stored.price, stored.amount, stored.side) == (100.5, 0.25, "sell")


def test_hyperliquids_public_trades_need_no_wallet(place):
    place.open("hyperliquid", trades={"markets": ["BTC/USDC:USDC"]})

    assert place.collect("hyperliquid") == {"trades": 10}
