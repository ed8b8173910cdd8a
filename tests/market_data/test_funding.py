"""Funding rates from the wire to the row, and what an exchange that lacks something comes to."""

from __future__ import annotations

import pytest

from collectors.models import Worker
from collectors.models.market_data import DepthTurn, FundingSnapshot
from exchanges.models import Market
from lib import clock
from sandbox import prices
from sandbox.venues import binanceusdm, hyperliquid


def rates() -> dict[int, FundingSnapshot]:
    return {row.pipeline_id: row for row in FundingSnapshot.objects.all()}


def test_every_perpetuals_rate_is_what_the_exchange_showed(place):
    place.open("binanceusdm", funding={})

    count = place.collect("binanceusdm")["funding"]

    second = place.asked("binanceusdm", "premiumIndex")[0]["second"]
    stored = rates()
    markets = Market.objects.collected().filter(exchange="binanceusdm")
    assert count == len(stored) == markets.count() == 200
    for market in markets:
        row, next_at = stored[market.pk], binanceusdm.next_funding(market.venue_id, second)
        assert row.rate == float(binanceusdm.funding_rate(market.venue_id, next_at))
        assert row.next_at.timestamp() == next_at
        assert row.interval_seconds == binanceusdm.funding_seconds(market.venue_id)
        assert row.mark_price == row.index_price == prices.price("binanceusdm", market.symbol, second)
    assert {row.interval_seconds for row in stored.values()} == {14_400.0, 28_800.0}


def test_only_named_markets_where_some_are_named(place):
    place.open("hyperliquid", funding={"markets": ["BTC/USDC:USDC"]})

    assert place.collect("hyperliquid") == {"funding": 1}

    [row] = FundingSnapshot.objects.all()
    second = place.asked("hyperliquid", "info")[-1]["second"]
    assert row.rate == float(hyperliquid.funding_rate("BTC", second))
    assert (row.interval_seconds, row.next_at) == (3600.0, None)  # the venue does not say when


def test_an_absurd_rate_is_put_aside(place):
    place.open("binanceusdm", funding={})
    place.sandbox.fault(
        "binanceusdm", "override", path="premiumIndex",
        params={"symbol": "BTC/USDT:USDT", "field": "lastFundingRate", "value": "7.5"},
    )  # fmt: skip

    assert place.collect("binanceusdm") == {"funding": 199}

    [run] = place.runs("binanceusdm", "funding")
    assert (run.outcome, run.rows_quarantined, run.quarantine[0]["symbol"]) == ("stored", 1, "BTC/USDT:USDT")


@pytest.mark.parametrize(
    ("exchange_id", "depth", "kind"),
    [
        ("coinbase", {"funding": {}}, "funding"),
        ("binance", {"funding": {}}, "funding"),
        ("chainlink", {"books": {"markets": ["BTC/USD"]}}, "books"),
        ("chainlink", {"trades": {"markets": ["BTC/USD"]}}, "trades"),
    ],
)
def test_what_an_exchange_cannot_do_is_unsupported_for_that_alone(place, exchange_id, depth, kind):
    place.open(exchange_id, **depth)
    asked = len(place.asked(exchange_id, ""))

    assert place.collect(exchange_id) == {}

    assert len(place.asked(exchange_id, "")) == asked
    series = place.series(exchange_id, kind)
    assert series.last_outcome == "unsupported"
    assert (series.next_at - clock.now()).total_seconds() > 80_000
    worker = Worker.objects.get(pk=exchange_id)
    assert (worker.error_count, worker.last_outcome, worker.status) == (0, "stored", "running")


def test_one_kind_that_is_unsupported_leaves_the_others_alone(place):
    place.open("coinbase", books={"markets": ["BTC/USD"]}, funding={})

    assert place.collect("coinbase") == {"books": 1}


def test_an_exchange_that_says_wait_is_left_alone_by_polls_too(place):
    place.open("binanceusdm", funding={})
    place.sandbox.fault("binanceusdm", "status", path="premiumIndex", params={"code": 429, "retry_after": 120})

    place.collect("binanceusdm")

    worker = Worker.objects.get(pk="binanceusdm")
    assert (worker.retry_at - clock.now()).total_seconds() > 100
    assert DepthTurn.objects.get(pk="binanceusdm").paused_until >= worker.retry_at
    before = len(place.asked("binanceusdm", "premiumIndex"))
    place.collect("binanceusdm")
    assert len(place.asked("binanceusdm", "premiumIndex")) == before


def test_an_exchange_whose_polls_fail_is_not_asked(place):
    place.open("binanceusdm", funding={})
    Worker.objects.update(error_count=1)

    assert place.collect("binanceusdm") == {}

    assert place.asked("binanceusdm", "premiumIndex") == []
