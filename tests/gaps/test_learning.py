"""What pipelines usually do, learned from rows that the real write path stored."""

from __future__ import annotations

from datetime import timedelta

import pytest

from collectors.gaps import causes, learning, sweep
from collectors.models import CalmPair, Gap, Pipeline
from exchanges.models import Market
from tests.gaps.conftest import INTERVAL, Field


def poll(field_: Field, slots: int, *, without=(), every: int = 1):
    """Polls kraken; the markets `without` come only in every so many-th slot. The moment of the last poll."""
    start = field_.begun + timedelta(hours=1)
    for slot in range(slots):
        left_out = () if slot % every == 0 else without
        field_.store("kraken", start + timedelta(seconds=INTERVAL * slot), without=left_out)
    return start + timedelta(seconds=INTERVAL * (slots - 1))


def test_a_market_that_comes_in_every_third_poll_is_expected_so(field_):
    field_.add("kraken", 2)
    quiet, busy = field_.pipelines["kraken"]
    end = poll(field_, 120, without=[quiet], every=3)

    assert learning.learn(end, everything=True) == 1

    assert Pipeline.objects.get(pk=quiet).expected_seconds == 30
    assert Pipeline.objects.get(pk=busy).expected_seconds == INTERVAL
    Gap.objects.all().delete()
    field_.store("kraken", end + timedelta(seconds=20), without=[quiet])
    sweep.run(end + timedelta(seconds=25))
    assert not Gap.objects.exists()  # quiet is no outage


def test_an_outage_teaches_nothing_about_the_market(field_):
    field_.add("kraken", 1)
    (pipeline,) = field_.pipelines["kraken"]
    moment = field_.begun + timedelta(hours=1)
    for _ in range(40):  # up for a row, away for a minute
        field_.store("kraken", moment)
        moment += timedelta(seconds=70)
    while causes.judge_new(moment):
        pass

    learning.learn(moment, everything=True)

    assert {gap.cause for gap in Gap.objects.all()} == {"our outage"}
    assert Pipeline.objects.get(pk=pipeline).expected_seconds == INTERVAL


def test_learning_stops_at_the_ceiling(field_, settings):
    settings.CADENCE_CEILING_SECONDS = 60
    field_.add("kraken", 2)
    seldom = field_.pipelines["kraken"][0]
    end = poll(field_, 400, without=[seldom], every=10)
    while causes.judge_new(end):
        pass

    learning.learn(end, everything=True)

    assert Pipeline.objects.get(pk=seldom).expected_seconds == 60


def test_what_is_learned_is_unlearned(field_):
    field_.add("kraken", 1)
    (pipeline,) = field_.pipelines["kraken"]
    end = poll(field_, 150)
    Pipeline.objects.update(expected_seconds=120)

    assert learning.learn(end, everything=True) == 1
    assert learning.learn(end, everything=True) == 0

    assert Pipeline.objects.get(pk=pipeline).expected_seconds == INTERVAL


def test_each_pipeline_has_its_minute(field_):
    field_.add("kraken", 2)
    end = poll(field_, 150)
    Pipeline.objects.update(expected_seconds=120)

    changed = sum(learning.learn(end + timedelta(minutes=minute)) for minute in range(learning.SLICES))

    assert changed == 2


@pytest.fixture
def three_venues(field_):
    """BTC/USD and a peg on three exchanges; kraken's values stand still, the others' move. The last moment."""
    for exchange_id in ("kraken", "luno", "coinbase"):
        field_.add(exchange_id, 2, pairs=[("BTC", "USD"), ("USDC", "USDT")])
    CalmPair.objects.create(
        base="USDC", quote="USDT", calm_since=field_.begun, range_share=0.0004, price=1.0, learned_at=field_.begun
    )
    start = field_.begun + timedelta(hours=1)
    moment = start
    for slot in range(90):
        moment = start + timedelta(seconds=INTERVAL * slot)
        field_.store("kraken", moment, price=100.0 + min(slot, 20) / 10)
        for other in ("luno", "coinbase"):
            field_.store(other, moment, price=100.0 + slot / 10)
    return moment


def frozen() -> set[str]:
    return {f"{row.market}" for row in Pipeline.objects.filter(frozen=True).select_related("market")}


def test_values_that_stand_still_while_the_pair_moves_are_frozen(field_, three_venues):
    assert learning.find_frozen(three_venues) == 1
    assert frozen() == {"kraken:BTC/USD"}
    assert learning.find_frozen(three_venues) == 0


def test_a_value_that_moves_again_is_not_frozen_any_more(field_, three_venues):
    learning.find_frozen(three_venues)
    moment = three_venues + timedelta(seconds=INTERVAL)
    field_.store("kraken", moment, price=111.0)

    learning.find_frozen(moment)

    assert frozen() == set()


def test_a_silent_pipeline_is_not_called_frozen(field_, three_venues):
    learning.find_frozen(three_venues + timedelta(seconds=60))

    assert frozen() == set()


def test_one_other_exchange_is_no_proof(field_, three_venues):
    Market.objects.filter(exchange="luno").update(active=False)

    learning.find_frozen(three_venues)

    assert frozen() == set()


@pytest.mark.parametrize(("markets", "is_found"), [(4, False), (5, True)])
def test_one_other_is_proof_enough_against_a_source_that_stands_still_as_a_whole(field_, markets, is_found):
    for exchange_id in ("kraken", "luno"):
        field_.add(exchange_id, markets)
    moment = field_.begun
    for slot in range(90):
        moment = field_.begun + timedelta(hours=1, seconds=INTERVAL * slot)
        field_.store("kraken", moment, price=100.0 + min(slot, 20) / 10)
        field_.store("luno", moment, price=100.0 + slot / 10)

    learning.find_frozen(moment)

    assert len(frozen()) == (markets if is_found else 0)


def test_a_halted_market_stands_still_by_right(field_, three_venues):
    Market.objects.filter(exchange="kraken").update(halted_at=three_venues)

    learning.find_frozen(three_venues)

    assert frozen() == set()
