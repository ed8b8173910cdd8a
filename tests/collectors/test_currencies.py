"""What prices tell of currencies: how much they are worth in one of them, and which pairs stand still by nature."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from collectors.history import currencies
from collectors.models import CalmPair, CurrencyValue, Pipeline
from collectors.polling import market_list
from collectors.rules import currencies as rules
from collectors.rules.currencies import KnownCalm, PairDay
from exchanges.models import Exchange, Market
from lib import clock
from tests.world import add_exchange, add_market

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("prices", "values"),
    [
        ({}, {"USDT": 1.0}),
        ({("BTC", "USDT"): 50_000.0}, {"USDT": 1.0, "BTC": 50_000.0}),
        ({("USDT", "IDR"): 16_000.0}, {"USDT": 1.0, "IDR": 1 / 16_000}),
        ({("BTC", "USDT"): 50_000.0, ("BTC", "COP"): 200e6}, {"USDT": 1.0, "BTC": 50_000.0, "COP": 1 / 4_000}),
        ({("X", "Y"): 2.0}, {"USDT": 1.0}),
    ],
    ids=["nothing known", "priced in it", "it is priced in it", "over a third", "no way leads there"],
)
def test_a_currency_is_worth_what_prices_lead_to(prices, values):
    assert rules.values(prices, "USDT") == pytest.approx(values)


CALM, RESTLESS = PairDay(0.0005, 1.0), PairDay(0.02, 1.0)
KNOWN = {("A", "B"): KnownCalm(NOW - DAY, CALM)}


@pytest.mark.parametrize(
    ("days", "since"),
    [
        ({("A", "B"): CALM}, NOW - DAY),
        ({("A", "B"): PairDay(0.012, 1.0)}, NOW - DAY),
        ({("A", "B"): RESTLESS}, None),
        ({}, NOW - DAY),
    ],
    ids=["calm as before", "a little less", "restless", "not seen"],
)
def test_a_pair_is_calm_until_it_is_restless(days, since):
    found = rules.follow(KNOWN, days, NOW).get(("A", "B"))

    assert (found.calm_since if found else None) == since


@pytest.mark.parametrize(
    ("day", "age", "is_pegged"),
    [(PairDay(0.0005, 1.0), 0, True), (PairDay(0.005, 1.08), 6.9, False), (PairDay(0.005, 1.08), 7, True)],
    ids=["at par", "another price, for six days", "for seven days"],
)
def test_what_is_calm_at_par_or_for_long_is_pegged(day, age, is_pegged):
    assert rules.is_pegged(KnownCalm(NOW - age * DAY, day), NOW) == is_pegged


# --- learned from what is collected -----------------------------------------------------------------------------------


@pytest.fixture
def many(db):
    """Binance with large numbers in small currencies; another exchange has the rupiah as well."""
    now = clock.now()
    told = {
        ("BTC", "USDT"): (50_000.0, 2.1e9), ("ETH", "USDT"): (3_000.0, 1.4e9), ("SOL", "USDT"): (150.0, 1e8),
        ("USDT", "IDR"): (16_000.0, 1.2e12), ("USDT", "COP"): (4_000.0, 3.1e10), ("SOL", "ARS"): (None, 1.9e10),
    }  # fmt: skip
    exchange = add_exchange("binance", since=now, market_filter={"top": 3})
    for (base, quote), (last, volume) in told.items():
        add_market(exchange, base, quote, since=now, pipeline={
            "last": last, "quote_volume": volume, "received_at": now, "high": last, "low": last})  # fmt: skip
    return exchange


def collected(exchange: Exchange) -> set[str]:
    return set(Market.objects.collected().filter(exchange=exchange).values_list("symbol", flat=True))


def test_the_largest_are_the_largest_in_one_currency(many):
    market_list.follow_volumes(clock.now())

    assert collected(many) == {"BTC/USDT", "ETH/USDT", "SOL/USDT"}
    assert CurrencyValue.objects.get(code="IDR").value == pytest.approx(1 / 16_000)


def test_what_no_price_converts_comes_last_and_is_named(many):
    Exchange.objects.update(market_filter={"top": 6})
    market_list.follow_volumes(clock.now())
    assert len(collected(many)) == 6

    ranked = list(currencies.by_size(Market.objects.all()).values_list("symbol", flat=True))
    assert ranked == ["BTC/USDT", "ETH/USDT", "SOL/USDT", "USDT/IDR", "USDT/COP", "SOL/ARS"]
    assert currencies.not_compared("binance") == ["ARS"]


def test_amounts_alone_are_worth_their_price(many):
    Pipeline.objects.filter(market__symbol="SOL/USDT").update(quote_volume=None, base_volume=1e9)

    market_list.follow_volumes(clock.now())

    assert currencies.by_size(Market.objects.all()).first().symbol == "SOL/USDT"


def test_the_exchanges_page_and_settings_name_what_is_not_compared(many, admin_client):
    market_list.follow_volumes(clock.now())

    assert "not among the largest" in admin_client.get(reverse("board-exchange", args=["binance"])).content.decode()


def test_calm_pairs_of_two_exchanges_are_learned_and_forgotten(many):
    now = clock.now()
    other = add_exchange("kraken", since=now)
    add_market(other, "BTC", "USDT", since=now, pipeline={
        "last": 50_000.0, "high": 50_100.0, "low": 50_000.0, "received_at": now})  # fmt: skip

    currencies.learn(now)
    assert list(CalmPair.objects.values_list("base", "quote", "calm_since")) == [("BTC", "USDT", now)]
    assert currencies.pegged_pairs(now) == frozenset()
    currencies.learn_calm_pairs(now + timedelta(minutes=10))
    assert currencies.pegged_pairs(now + 7 * DAY) == {("BTC", "USDT")}

    Pipeline.objects.filter(market__symbol="BTC/USDT").update(low=48_000.0)
    currencies.learn_calm_pairs(now)
    assert not CalmPair.objects.exists()
