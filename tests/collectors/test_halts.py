"""A market that is listed and not traded: halted, not delisted; its silence is planned and its return seen at once."""

from datetime import timedelta

import pytest

from collectors.gaps import invariants, sweep
from collectors.history import partitions
from collectors.models import Gap, Pipeline, Tick, Worker
from collectors.polling import halts, market_list
from collectors.polling import poll as polling
from collectors.rules.market_state import Traded, has_traded
from exchanges.models import Exchange, Market
from feeds.shared.halt_words import NOT_ACTIVE, halt_of
from lib import clock
from tests.world import onboard_and_poll, poll


@pytest.fixture
def luno(transactional_db, sandbox, settings):
    """Polled once, on a sandbox whose markets are put right again."""
    settings.POLL_DEADLINE_SECONDS = 10.0
    halts._dormant.clear()
    market_list._known.clear()
    partitions.ensure(clock.now())
    sandbox.reset()
    assert onboard_and_poll("luno") == "stored"
    yield Exchange.objects.get(pk="luno")
    sandbox.reset()


@pytest.fixture
def silent(luno):
    """A market that has been silent for a minute."""
    market = Market.objects.collected().filter(exchange=luno).order_by("symbol")[0]
    now = clock.now()
    Pipeline.objects.filter(pk=market.pk).update(received_at=now - timedelta(seconds=65), resumed_at=None)
    Tick.objects.filter(pipeline_id=market.pk).delete()
    Worker.objects.update(resumed_at=now - timedelta(hours=1))
    return market


def refresh() -> None:
    assert polling.refresh_markets("luno", now=clock.now()) == "stored"


def broken() -> list[str]:
    return [
        f"{result.promise}: {result.examples}"
        for result in invariants.check(since=clock.now() - timedelta(hours=1))
        if result.offences
    ]


def test_a_halted_market_is_halted_and_not_delisted(luno, sandbox):
    market = Market.objects.collected().filter(exchange=luno)[0]
    sandbox.move_markets("luno", halt=[market.symbol])

    refresh()

    market.refresh_from_db()
    assert (market.state, market.halt, market.delisted_at) == ("halted", "SUSPENDED", None)
    assert market.is_collected
    assert market.halted_at is not None


def test_the_open_gap_of_a_halted_market_says_so_and_does_not_count(silent, sandbox):
    sweep.run(clock.now())
    assert Pipeline.objects.get(pk=silent.pk).gaps_24h == 1
    sandbox.move_markets("luno", halt=[silent.symbol])

    refresh()
    sweep.run(clock.now())

    gap = Gap.objects.get(pipeline_id=silent.pk)
    assert (gap.cause, gap.ended_at) == ("halted", None)
    assert "SUSPENDED" in gap.evidence
    assert Pipeline.objects.get(pk=silent.pk).gaps_24h == 0
    assert broken() == []


def test_a_halted_market_that_falls_silent_has_a_gap_that_never_counts(silent, sandbox):
    sandbox.move_markets("luno", halt=[silent.symbol])
    refresh()

    sweep.run(clock.now())

    pipeline = Pipeline.objects.get(pk=silent.pk)
    assert (pipeline.gap_open, pipeline.gaps_24h) == (True, 0)
    assert Gap.objects.get(pipeline_id=silent.pk).cause == "halted"
    assert broken() == []


def test_a_return_is_seen_by_the_first_poll(silent, sandbox):
    sandbox.move_markets("luno", halt=[silent.symbol])
    refresh()
    sweep.run(clock.now())
    sandbox.move_markets("luno", resume=[silent.symbol])

    assert poll("luno") == "stored"

    market = Market.objects.get(pk=silent.pk)
    assert (market.state, market.halted_at) == ("trading", None)
    assert Tick.objects.filter(pipeline_id=silent.pk).count() == 1
    sweep.run(clock.now())
    gap = Gap.objects.get(pipeline_id=silent.pk)
    assert gap.cause == "halted"
    assert gap.ended_at is not None
    assert Pipeline.objects.get(pk=silent.pk).gaps_24h == 0
    assert broken() == []


def test_a_market_traded_again_by_the_list_that_does_not_come_has_a_gap_of_its_own(silent, sandbox):
    sandbox.move_markets("luno", halt=[silent.symbol])
    refresh()
    sweep.run(clock.now())
    sandbox.move_markets("luno", resume=[silent.symbol])
    refresh()

    later = clock.now() + timedelta(minutes=1)
    Worker.objects.update(heartbeat_at=later, last_outcome="stored")
    sweep.run(later)

    planned, own = Gap.objects.filter(pipeline_id=silent.pk).order_by("started_at")
    assert (planned.cause, own.ended_at) == ("halted", None)
    assert planned.ended_at is not None
    assert own.cause != "halted"
    assert Pipeline.objects.get(pk=silent.pk).gaps_24h == 1
    assert broken() == []


def test_what_left_the_list_is_delisted_also_from_a_halt(silent, sandbox):
    sandbox.move_markets("luno", halt=[silent.symbol])
    refresh()
    sandbox.move_markets("luno", delist=[silent.symbol])

    refresh()

    market = Market.objects.get(pk=silent.pk)
    assert market.state == "delisted"
    assert not market.is_collected
    assert market.delisted_at is not None


def test_what_was_never_traded_is_dormant_until_it_is(luno, sandbox):
    """It is neither stored nor missed while it is, and costs nothing but a look."""
    sleeper = Market.objects.get(exchange=luno, state="halted")
    assert (sleeper.dormant, sleeper.is_collected) == (True, False)
    sandbox.move_markets("luno", resume=[sleeper.symbol])

    assert [poll("luno"), poll("luno")] == ["stored", "stored"]

    sleeper.refresh_from_db()
    assert (sleeper.state, sleeper.dormant, sleeper.is_collected) == ("trading", False, True)
    assert Pipeline.objects.get(pk=sleeper.pk).received_at is not None


@pytest.mark.parametrize(
    ("before", "after", "is_traded"),
    [
        (Traded(100.0, 5.0), Traded(100.0, 5.0), False),
        (Traded(100.0, 5.0), Traded(100.0, 4.0), False),
        (Traded(100.0, 5.0), Traded(100.0, 5.1), True),
        (Traded(100.0, 5.0), Traded(100.1, 5.0), True),
        (Traded(None, None), Traded(100.0, None), False),
        (Traded(100.0, None), Traded(100.0, 5.0), False),
    ],
    ids=["the same", "a trade leaves the day", "more volume", "another price", "a first price", "a first volume"],
)
def test_only_a_price_or_more_volume_proves_a_trade(before, after, is_traded):
    assert has_traded(before, after) is is_traded


@pytest.mark.parametrize(
    ("row", "is_active", "word"),
    [
        ({"status": "online"}, True, ""),
        ({"status": "cancel_only"}, False, "cancel_only"),
        ({"status": "post_only"}, True, "post_only"),
        ({"status": "HALT"}, True, "HALT"),
        ({"status": "auction"}, None, "auction"),
        ({"state": "suspend"}, None, "suspend"),
        ({"status": "online", "view_only": True}, True, "view_only"),
        ({"status": "online", "auction_mode": "true"}, True, "auction_mode"),
        ({"status": "online", "limit_only": True}, True, ""),
        ({"status": "online", "cancel_only": False}, True, ""),
        ({}, False, NOT_ACTIVE),
        (None, None, ""),
        ({"status": 1}, True, ""),
        ({"status": "x\x00"}, False, NOT_ACTIVE),
    ],
)
def test_a_row_of_a_list_says_whether_it_is_traded(row, is_active, word):
    assert halt_of(row, is_active=is_active) == word


def test_a_kind_that_is_collected_no_longer_is_old_no_longer(luno):
    """Else its exchange would answer old data for ever."""
    told = {"made_at": 1.0, "lag_seconds": 3600.0, "old_since": 2.0, "reason": "old"}
    state = {"received_at": 2.0, "made_at": 1.0, "lag_seconds": 3600.0, "old_since": 2.0, "reason": "old"}
    Worker.objects.update(old_answers={"swap": told}, answers={"swap": state})

    assert poll("luno") == "stored"

    worker = Worker.objects.get()
    assert (worker.old_answers, set(worker.answers)) == ({}, {"spot"})
