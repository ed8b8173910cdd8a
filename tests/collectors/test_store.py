"""The write path against a real PostgreSQL: exact values, fencing, and gaps recorded once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import pi

import pytest
from django.db import IntegrityError, connection, transaction

from collectors import lease
from collectors.gaps import ledger, sweep
from collectors.models import Gap, Run, Transition, Worker
from collectors.polling import store
from collectors.rules.quote_checks import QuoteRow
from tests.collectors.conftest import quote


def test_a_stored_quote_comes_back_exactly(world):
    values = {
        "last": pi,
        "bid": 3.0000000000000004,
        "ask": 1e300,
        "high": 5e-324,
        "low": None,
        "quote_volume": 0.1 + 0.2,
    }
    sent = quote(received_at=world.now.timestamp(), exchange_at=1_795_000_000.123456, **values)
    permit = lease.take("kraken", lease_seconds=8)

    store.finish(permit, world.cycle(at=world.now, accepted=[QuoteRow(world.markets[0].pk, sent)]))

    (tick,) = world.ticks()
    assert {name: getattr(tick, name) for name in values} == values
    assert tick.exchange_at == datetime.fromtimestamp(1_795_000_000, UTC) + timedelta(microseconds=123456)
    assert world.pipeline().last == pi
    assert world.pipeline().received_at == tick.received_at


def test_a_stored_cycle_leaves_a_run_a_heartbeat_and_no_lease(world):
    assert world.store(at=world.now) == 3

    worker, run = world.worker, Run.objects.get()
    assert (run.outcome, run.rows_stored) == ("stored", 3)
    assert worker.heartbeat_at == worker.stored_at == world.now
    assert worker.lease_token is None
    assert worker.error_count == 0


def test_a_failed_cycle_stores_no_row_and_does_not_move_last_update(world, after):
    world.store(at=world.now)
    permit = lease.take("kraken", lease_seconds=8, repeat=True)

    store.finish(permit, world.cycle(at=after(10), outcome="bad_reply", error_count=1))

    assert len(world.ticks()) == 1
    assert world.worker.stored_at == world.now
    assert world.worker.heartbeat_at == after(10)
    assert world.worker.last_error == "kraken was bad_reply"


def test_an_overtaken_cycle_stores_nothing(world):
    permit = lease.take("kraken", lease_seconds=8)
    Worker.objects.update(generation=permit.generation + 1)

    stored = store.finish(permit, world.cycle(at=world.now, accepted=[QuoteRow(world.markets[0].pk, quote())]))

    assert stored is None
    assert world.ticks() == []
    assert world.pipeline().received_at is None
    assert not Run.objects.exists()


def test_a_cycle_that_lost_its_lease_stores_nothing(world):
    permit = lease.take("kraken", lease_seconds=8)
    Worker.objects.update(lease_until=world.now - timedelta(seconds=1))
    thief = lease.take("kraken", lease_seconds=8, repeat=True)

    assert thief is not None
    assert store.finish(permit, world.cycle(at=world.now, accepted=[QuoteRow(world.markets[0].pk, quote())])) is None
    assert world.ticks() == []


def test_state_never_goes_back(world, after):
    world.store(at=after(10), price=110)
    world.store(at=after(5), price=105)

    assert world.pipeline().received_at == after(10)
    assert world.pipeline().last == 110


def test_history_refuses_the_same_row_twice(world):
    world.store(at=world.now)
    world.store(at=world.now)

    assert len(world.ticks()) == 1
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO collectors_tick SELECT * FROM collectors_tick")


@pytest.mark.parametrize(("seconds", "is_gap"), [(20, False), (20.001, True)], ids=["two intervals", "a moment more"])
def test_a_gap_is_more_than_two_intervals(world, after, seconds, is_gap):
    world.store(at=world.now)
    world.store(at=after(seconds))

    assert len(world.gaps()) == int(is_gap)
    assert world.pipeline().gaps_24h == int(is_gap)


def test_the_first_row_ends_no_gap(world):
    world.store(at=world.now)

    assert not Gap.objects.exists()


def test_a_row_after_our_outage_records_the_gap_once_and_closed(world, after):
    world.store(at=world.now)
    world.store(at=after(100))
    world.store(at=after(110))

    (gap,) = world.gaps()
    assert (gap.started_at, gap.ended_at, gap.missed_count) == (world.now, after(100), 9)
    assert gap.cause == "our outage"
    assert world.pipeline().gaps_24h == 1


def test_a_gap_that_sweep_opened_is_closed_by_the_next_row(world, after):
    world.store(at=world.now)
    assert ledger.open_silent(after(21)) == 3
    assert ledger.open_silent(after(22)) == 0
    assert world.pipeline().gap_open

    world.store(at=after(40))

    (gap,) = world.gaps()
    assert (gap.started_at, gap.ended_at, gap.missed_count) == (world.now, after(40), 3)
    assert not world.pipeline().gap_open
    assert world.pipeline().gaps_24h == 1


def test_a_gap_that_sweep_opened_too_early_is_withdrawn(world, after):
    world.store(at=world.now)
    ledger.open_silent(after(20.5))

    world.store(at=after(19.9))

    assert world.gaps() == []
    assert world.pipeline().gaps_24h == 0


def test_one_silent_market_makes_a_gap_of_its_own(world, after):
    world.store(at=world.now)
    world.store(at=after(10), markets=[0, 2])
    world.store(at=after(20), markets=[0, 2])

    assert ledger.open_silent(after(21)) == 1
    (gap,) = world.gaps(1)
    assert gap.is_open
    assert gap.cause == "unknown"


@pytest.mark.parametrize(
    ("outcome", "cause"),
    [("throttled", "rate limited"), ("unreachable", "exchange outage"), ("bad_reply", "exchange outage")],
)
def test_a_gap_names_what_the_last_cycles_met(world, after, outcome, cause):
    world.store(at=world.now)
    permit = lease.take("kraken", lease_seconds=8, repeat=True)
    store.finish(permit, world.cycle(at=after(15), outcome=outcome, error_count=1))

    ledger.open_silent(after(21))

    assert {gap.cause for gap in Gap.objects.all()} == {cause}


def test_a_planned_silence_is_no_gap(world, after):
    world.store(at=world.now)
    Worker.objects.update(resumed_at=after(100))

    world.store(at=after(105))

    assert world.gaps() == []


def test_silence_after_a_planned_stop_counts_from_its_end(world, after):
    world.store(at=world.now)
    Worker.objects.update(resumed_at=after(100))

    ledger.open_silent(after(119))
    assert world.gaps() == []
    ledger.open_silent(after(121))

    assert [gap.started_at for gap in world.gaps()] == [after(100)]


def test_gaps_leave_the_count_24_hours_after_their_end_and_once(world, after):
    world.store(at=world.now)
    world.store(at=after(100))
    sweep.forget_old_gaps(after(100))
    day = 24 * 3600

    sweep.forget_old_gaps(after(99 + day))
    assert world.pipeline().gaps_24h == 1
    sweep.forget_old_gaps(after(100 + day))
    sweep.forget_old_gaps(after(101 + day))

    assert world.pipeline().gaps_24h == 0


def test_a_status_change_is_recorded_with_its_cycle(world, after):
    permit = lease.take("kraken", lease_seconds=8)
    cycle = world.cycle(at=after(1), outcome="unreachable", error_count=3)

    store.finish(permit, replace(cycle, status="error"))

    transition = Transition.objects.get()
    assert (transition.from_status, transition.to_status) == ("running", "error")
    assert world.worker.status_since == after(1)
