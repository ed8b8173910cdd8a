"""A price that jumps alone is stored as it came, and unconfirmed until something agrees with it."""

from datetime import timedelta

import pytest

from collectors.models import Pipeline
from collectors.rules.quote_checks import QuoteRow
from exchanges.models import Market
from tests.collectors.conftest import quote
from tests.world import add_exchange, add_market, store_quotes


def marks(world, *prices: float) -> list[int]:
    """The mark of one market after each of these prices, sent every ten seconds."""
    pk, found = world.markets[0].pk, []
    for number, price in enumerate(prices):
        at = world.now + timedelta(seconds=10 * number)
        row = QuoteRow(pk, quote(received_at=at.timestamp(), last=price, bid=None, ask=None))
        assert store_quotes("kraken", [row], at=at) == 1
        found.append(world.pipeline().unconfirmed_count)
    return found


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ([100, 119, 140, 113], [0, 0, 0, 0]),
        ([100, 121], [0, 1]),
        ([100, 79], [0, 1]),
        ([100, 100_000, 100_001], [0, 1, 0]),
        ([100, 100_000, 100], [0, 1, 0]),
        ([100, 100_000, 300, 900, 2700], [0, 1, 2, 3, 0]),
        ([100, 100_000, 300, 310], [0, 1, 2, 0]),
        ([100, 100_000, 100_001, 100], [0, 1, 0, 1]),
    ],
    ids=[
        "small steps", "up", "down", "the next answer agrees", "it comes back", "three answers, none agrees",
        "the second agrees with the first", "a confirmed one falls back",
    ],
)  # fmt: skip
def test_a_jump_is_unconfirmed_until_an_answer_agrees(world, prices, expected):
    assert marks(world, *prices) == expected


def test_what_jumped_is_stored_as_it_came(world):
    marks(world, 100, 100_000)

    assert [tick.last for tick in world.ticks()] == [100, 100_000]
    assert (world.pipeline().last, world.pipeline().is_unconfirmed) == (100_000, True)


@pytest.mark.parametrize(
    ("price", "kind", "halted", "expected"),
    [(99_000.0, "spot", False, 0), (99_000.0, "swap", False, 0), (100.0, "spot", False, 1),
     (99_000.0, "spot", True, 1), (99_000.0, "option", False, 1)],
    ids=["alike", "a perpetual alike", "not moved", "halted", "of another kind"],
)  # fmt: skip
def test_another_exchange_that_moved_alike_confirms_it(world, price, kind, halted, expected):
    other = add_exchange("luno", since=world.now)
    market = add_market(other, "BTC", since=world.now, kind=kind, pipeline={"received_at": world.now, "last": price})
    Market.objects.filter(pk=market.pk).update(halted_at=world.now if halted else None)

    assert marks(world, 100, 100_000) == [0, expected]


def test_chances_jump_as_they_like(world):
    Market.objects.filter(pk=world.markets[0].pk).update(kind="prediction")

    assert marks(world, 0.01, 0.02) == [0, 0]


def test_a_market_without_a_trade_jumps_by_the_middle_of_its_book(world):
    pk = world.markets[0].pk
    for number, price in enumerate((100.0, 100_000.0)):
        at = world.now + timedelta(seconds=10 * number)
        row = QuoteRow(pk, quote(received_at=at.timestamp(), last=None, bid=price - 1, ask=price + 1))
        store_quotes("kraken", [row], at=at)

    assert Pipeline.objects.get(pk=pk).is_unconfirmed
