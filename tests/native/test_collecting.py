"""One run of each exchange end to end: what is stored is what the sandbox's price function says."""

from __future__ import annotations

import time

import pytest

from collectors.models import Pipeline, Run, Tick, Worker
from exchanges.models import Market
from feeds.table import FEEDS
from marketmon.management.commands.sync import SIMULATED
from sandbox.venues import VENUES

from .conftest import NATIVE

MOST_REQUESTS_A_POLL = 2
# Exchanges of ccxt that no line of ours names: what is collected of them is collected of any.
BY_ID_ALONE = sorted(VENUES.keys() - FEEDS.keys() - SIMULATED.keys())


@pytest.mark.parametrize("exchange_id", [*NATIVE, *BY_ID_ALONE])
def test_stored_prices_are_the_sandboxs_prices(collect, sandbox, exchange_id):
    began = time.time()
    assert collect(exchange_id) == "stored"

    asked = sandbox.requests_of(exchange_id, since=began)
    seconds = {int(request["second"]) for request in asked}
    ticks = Tick.objects.select_related("pipeline__market").filter(pipeline__market__exchange=exchange_id)
    assert ticks.count() == Market.objects.collected().filter(exchange=exchange_id).count() >= 16
    for tick in ticks.order_by("pipeline_id")[:25]:
        truth = {sandbox.price(exchange_id, tick.pipeline.market.symbol, second) for second in seconds}
        assert tick.last in truth, tick.pipeline.market.symbol
        if tick.bid is not None:
            assert tick.bid < tick.last < tick.ask
    assert Run.objects.latest("id").quarantine == []


@pytest.mark.parametrize("exchange_id", NATIVE)
def test_the_second_poll_downloads_no_market_list(collect, sandbox, exchange_id):
    began = time.time()
    collect(exchange_id)
    first = sandbox.requests_of(exchange_id, since=began)
    began = time.time()

    assert collect(exchange_id) == "stored"

    second = sandbox.requests_of(exchange_id, since=began)
    assert 0 < len(second) < len(first)
    assert len(second) <= MOST_REQUESTS_A_POLL


@pytest.mark.parametrize("exchange_id", NATIVE)
def test_the_source_is_the_venues_own_name_and_bitcoin_is_there(collect, exchange_id):
    collect(exchange_id)

    listed = Market.objects.collected().filter(exchange=exchange_id)
    assert set(listed.values_list("source", flat=True)) == {exchange_id}
    bitcoin = listed.filter(base="BTC")
    assert bitcoin.exists()
    assert Pipeline.objects.get(market=bitcoin.first()).received_at is not None


@pytest.mark.parametrize("exchange_id", ["kalshi", "polymarket"])
def test_an_outcome_is_a_market_of_its_own_and_both_add_up_to_one(collect, exchange_id):
    collect(exchange_id)

    listed = Market.objects.collected().filter(exchange=exchange_id)
    assert set(listed.values_list("kind", flat=True)) == {"prediction"}
    pairs = 0
    for yes in listed.filter(symbol__endswith="-YES").select_related("pipeline"):
        no = listed.select_related("pipeline").get(symbol=yes.symbol.removesuffix("YES") + "NO")
        assert yes.pipeline.last + no.pipeline.last == pytest.approx(1)
        pairs += 1
    assert pairs * 2 == listed.count() >= 40
    assert all(len(symbol) <= 100 and symbol.isprintable() for symbol in listed.values_list("symbol", flat=True))


def test_a_stamp_that_is_old_by_right_is_stored_as_it_is(collect):
    collect("chainlink")

    tick = Tick.objects.filter(pipeline__market__exchange="chainlink").order_by("exchange_at").first()
    assert (tick.received_at - tick.exchange_at).total_seconds() > 1


def test_a_contract_that_was_changed_long_ago_has_a_quote_of_now(collect):
    collect("kalshi")

    assert Tick.objects.filter(pipeline__market__exchange="kalshi").exists()
    assert not Tick.objects.filter(pipeline__market__exchange="kalshi", exchange_at__isnull=False).exists()
    assert Worker.objects.get(pk="kalshi").old_answers == {}


@pytest.mark.parametrize("exchange_id", NATIVE)
def test_one_poisoned_market_does_not_spoil_the_others(collect, sandbox, exchange_id):
    collect(exchange_id)
    market = Market.objects.collected().filter(exchange=exchange_id, base="BTC").order_by("symbol").last()
    sandbox.fault(exchange_id, "override", params={"symbol": market.symbol, "field": "last", "value": "-5"})

    assert collect(exchange_id) == "stored"

    run = Run.objects.latest("id")
    assert market.symbol in [bad["symbol"] for bad in run.quarantine]
    assert run.rows_stored >= Market.objects.collected().count() - 2  # a question has two outcomes


@pytest.mark.parametrize("exchange_id", ["valr", "polymarket"])
def test_a_halted_market_is_not_collected(collect, exchange_id):
    collect(exchange_id)

    assert not Pipeline.objects.filter(market__active=False, received_at__isnull=False).exists()
