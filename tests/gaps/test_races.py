"""Two at once: a sweep, a poll and an operator's verb whose statements began before the others were committed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from collectors import lease
from collectors.gaps import invariants, ledger, sweep
from collectors.gaps.ledger import beginnings
from collectors.models import Gap, Pipeline, Transition, Worker
from exchanges.models import AuditEntry, Exchange
from operations import commands, transitions
from tests.gaps.conftest import Field, gaps_of

DOOR = 7741  # an advisory lock that a statement asks for after its snapshot was taken
BEHIND_THE_DOOR = f" AND (SELECT pg_advisory_lock_shared({DOOR})::text) IS NOT NULL"


@pytest.fixture
def silent(field_: Field) -> datetime:
    """Two markets of kraken that have been silent for long enough; the moment of their last row."""
    field_.add("kraken", 2)
    start = field_.begun + timedelta(minutes=5)
    field_.store("kraken", start)
    return start


def in_thread(pool: ThreadPoolExecutor, work: Callable[[], Any]) -> Future[Any]:
    def run() -> Any:
        try:
            return work()
        finally:
            connection.close()

    return pool.submit(run)


@contextmanager
def held_back_sweep(now: datetime) -> Iterator[Future[Any]]:
    """A sweep that has taken its snapshot and reads its rows when the block is over."""
    with ThreadPoolExecutor(1) as pool:
        execute("SELECT pg_advisory_lock(%s)", DOOR)
        swept = in_thread(pool, lambda: beginnings._open(beginnings.COLLECTED + BEHIND_THE_DOOR, now))
        try:
            until_done_or_waiting(swept)
            assert not swept.done()
            yield swept
        finally:
            execute("SELECT pg_advisory_unlock(%s)", DOOR)
        swept.result()


def execute(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def until_somebody_waits() -> None:
    give_up_at = time.monotonic() + 60
    while time.monotonic() < give_up_at:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


def until_done_or_waiting(work: Future[Any]) -> None:
    give_up_at = time.monotonic() + 60
    while not work.done():
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_a_stop_while_a_sweep_is_opening_gaps_ends_them(silent: datetime) -> None:
    stopped_at = silent + timedelta(seconds=60)

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert ledger.open_silent(silent + timedelta(seconds=59)) == 2
            stop = in_thread(pool, lambda: commands.disable("kraken", by="test", now=stopped_at))
            until_done_or_waiting(stop)
        stop.result()

    assert set(Gap.objects.values_list("ended_at", flat=True)) == {stopped_at}
    assert not Pipeline.objects.filter(gap_open=True).exists()


def test_a_sweep_older_than_a_stop_opens_nothing_after_it(silent: datetime) -> None:
    stopped_at = silent + timedelta(seconds=60)

    with held_back_sweep(silent + timedelta(seconds=59)):
        commands.disable("kraken", by="test", now=stopped_at)

    assert set(Gap.objects.values_list("ended_at", flat=True)) == {stopped_at}
    assert not Pipeline.objects.filter(gap_open=True).exists()


def test_a_sweep_older_than_a_markets_blacklisting_opens_nothing_after_it(silent: datetime) -> None:
    with held_back_sweep(silent + timedelta(seconds=59)):
        Pipeline.objects.update(received_at=silent + timedelta(seconds=45))  # in time, when it was taken out
        commands.blacklist_market("kraken", "C0/USD", by="test", now=silent + timedelta(seconds=50))
        Pipeline.objects.update(received_at=silent)

    assert not Gap.objects.filter(pipeline__market__symbol="C0/USD").exists()


def test_taking_a_market_out_while_a_sweep_is_opening_gaps_ends_its_gap(silent: datetime) -> None:
    out_at = silent + timedelta(seconds=60)

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert ledger.open_silent(silent + timedelta(seconds=59)) == 2
            taken_out = in_thread(pool, lambda: commands.blacklist_market("kraken", "C0/USD", by="test", now=out_at))
            until_done_or_waiting(taken_out)
        taken_out.result()

    ends = dict(Gap.objects.values_list("pipeline__market__symbol", "ended_at"))
    assert ends == {"C0/USD": out_at, "C1/USD": None}


def test_a_sweep_older_than_a_resumption_does_not_count_the_stop(silent: datetime) -> None:
    commands.disable("kraken", by="test", now=silent + timedelta(seconds=5))
    resumed_at = silent + timedelta(seconds=100)

    with held_back_sweep(silent + timedelta(seconds=101)):
        commands.enable("kraken", by="test", now=resumed_at)

    assert not Gap.objects.exists()


def test_a_sweep_older_than_a_stop_and_a_start_does_not_count_the_time_between(silent: datetime) -> None:
    stopped_at, now = silent + timedelta(seconds=60), silent + timedelta(seconds=62)

    with held_back_sweep(now):
        commands.disable("kraken", by="test", now=stopped_at)
        commands.enable("kraken", by="test", now=stopped_at + timedelta(seconds=1))

    assert set(Gap.objects.values_list("started_at", "ended_at")) == {(silent, stopped_at)}
    assert set(Pipeline.objects.values_list("gap_open", "gaps_24h")) == {(False, 1)}


def test_a_poll_that_waited_for_a_stop_does_not_begin(silent: datetime) -> None:
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Exchange.objects.filter(pk="kraken").update(enabled=False)
            transitions.stop("kraken", silent + timedelta(seconds=60))
            permit = in_thread(pool, lambda: lease.take("kraken", lease_seconds=5, repeat=True))
            until_somebody_waits()
        assert permit.result() is None

    assert Worker.objects.get().lease_until is None


def test_a_row_that_was_under_way_when_its_market_was_taken_out_makes_no_second_gap(
    field_: Field, silent: datetime
) -> None:
    ledger.open_silent(silent + timedelta(seconds=60))
    storing = field_.begin_to_store("kraken", silent + timedelta(seconds=62))
    commands.blacklist_market("kraken", "C0/USD", by="test", now=silent + timedelta(seconds=61))

    assert storing() == 2

    market = Pipeline.objects.get(market__symbol="C0/USD")
    assert (market.gap_open, market.gaps_24h) == (False, 1)
    assert [gap.ended_at for gap in gaps_of(market.pk)] == [silent + timedelta(seconds=61)]


def test_a_row_that_was_under_way_when_its_market_was_taken_out_ends_its_gap(field_: Field, silent: datetime) -> None:
    """It came a moment before the verb and was committed a moment after it."""
    ledger.open_silent(silent + timedelta(seconds=60))
    came_at, out_at = silent + timedelta(seconds=60.5), silent + timedelta(seconds=61)
    storing = field_.begin_to_store("kraken", came_at)
    commands.blacklist_market("kraken", "C0/USD", by="test", now=out_at)

    assert storing() == 2

    market = Pipeline.objects.get(market__symbol="C0/USD")
    (gap,) = gaps_of(market.pk)
    assert (gap.started_at, gap.ended_at, gap.missed_count, gap.is_judged) == (silent, came_at, 5, False)
    assert (market.gap_open, market.gaps_24h) == (False, 1)
    assert broken_promises(silent) == {}


def test_a_row_in_time_that_was_under_way_when_its_market_was_taken_out_withdraws_its_gap(
    field_: Field, silent: datetime
) -> None:
    """The verb finds the market silent for longer than two intervals, and opens and ends a gap."""
    storing = field_.begin_to_store("kraken", silent + timedelta(seconds=19))
    commands.blacklist_market("kraken", "C0/USD", by="test", now=silent + timedelta(seconds=21))

    assert storing() == 2

    market = Pipeline.objects.get(market__symbol="C0/USD")
    assert gaps_of(market.pk) == []
    assert (market.gap_open, market.gaps_24h) == (False, 0)
    assert broken_promises(silent) == {}


def test_a_row_that_waits_for_the_verb_that_takes_its_market_out_ends_its_gap(field_: Field, silent: datetime) -> None:
    """Its statement began before the verb was committed, and saw the gap as running."""
    ledger.open_silent(silent + timedelta(seconds=60))
    came_at, out_at = silent + timedelta(seconds=60.5), silent + timedelta(seconds=61)
    storing = field_.begin_to_store("kraken", came_at)

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            commands.blacklist_market("kraken", "C0/USD", by="test", now=out_at)
            stored = in_thread(pool, storing)
            until_somebody_waits()
        assert stored.result() == 2

    assert set(Gap.objects.values_list("ended_at", flat=True)) == {came_at}
    assert broken_promises(silent) == {}


def broken_promises(since: datetime) -> dict[str, tuple[str, ...]]:
    found = invariants.check(since=since - timedelta(seconds=1))
    return {kept.promise: kept.examples for kept in found if kept.offences}


def test_the_database_knows_at_most_one_running_gap_of_a_pipeline(silent: datetime) -> None:
    ledger.open_silent(silent + timedelta(seconds=60))
    gap = Gap.objects.first()
    assert gap is not None

    with pytest.raises(IntegrityError), transaction.atomic():
        Gap.objects.create(
            pipeline_id=gap.pipeline_id,
            started_at=gap.started_at + timedelta(seconds=1),
            missed_count=1,
            detected_at=gap.detected_at,
        )


def test_a_row_is_stored_though_an_older_gap_has_lost_its_mark(field_: Field, silent: datetime) -> None:
    """The last line of defence refuses a second running gap, never a row."""
    ledger.open_silent(silent + timedelta(seconds=60))
    resumed_at = silent + timedelta(seconds=100)
    Pipeline.objects.update(gap_open=False)
    Worker.objects.update(resumed_at=resumed_at)

    assert ledger.open_silent(silent + timedelta(seconds=200)) == 0
    field_.store("kraken", silent + timedelta(seconds=210))
    ledger.end_orphans()

    for pipeline in field_.pipelines["kraken"]:
        assert not Pipeline.objects.get(pk=pipeline).gap_open
        spans = [(gap.started_at, gap.ended_at) for gap in gaps_of(pipeline)]
        assert all(end is not None for _, end in spans)


# --- the worker's status ------------------------------------------------------------------------------------------


def test_a_status_that_a_sweep_turned_during_a_cycle_is_turned_back_on_the_record(
    field_: Field, silent: datetime
) -> None:
    """What alerts read is the transitions: without the second one the worker would stay in error for them."""
    storing = field_.begin_to_store("kraken", silent + timedelta(seconds=130))
    Worker.objects.update(status="running", heartbeat_at=silent)
    sweep.turn_workers(silent + timedelta(seconds=125))

    assert storing() == 2

    turns = Transition.objects.order_by("id").values_list("from_status", "to_status")
    assert list(turns) == [("running", "error"), ("error", "running")]


def test_a_pause_that_somebody_was_told_during_a_good_poll_is_kept(field_: Field, silent: datetime) -> None:
    stored_at = silent + timedelta(seconds=10)
    storing = field_.begin_to_store("kraken", stored_at)
    banned_until = stored_at + timedelta(minutes=5)
    Worker.objects.update(retry_at=banned_until)

    assert storing() == 2

    assert Worker.objects.get().retry_at == banned_until


# --- clocks that were wrong -----------------------------------------------------------------------------------------


def test_rows_from_a_clock_that_ran_ahead_do_not_keep_the_price_of_that_time(field_: Field, silent: datetime) -> None:
    field_.store("kraken", silent + timedelta(hours=2), price=1.0)

    field_.store("kraken", silent + timedelta(seconds=10), price=2.0)

    newest = silent + timedelta(seconds=10)
    assert set(Pipeline.objects.values_list("received_at", "last")) == {(newest, 2.0)}


def test_polls_go_on_when_the_databases_clock_was_set_back(silent: datetime) -> None:
    ahead = "clock_timestamp() + interval '1 hour'"
    execute(f"UPDATE collectors_worker SET cycle_started_at = {ahead}, lease_until = {ahead}")

    permit = lease.take("kraken", lease_seconds=5)

    assert permit is not None


def test_an_exchange_that_is_removed_while_all_are_refreshed_costs_the_others_nothing(field_: Field) -> None:
    field_.add("kraken", 1)
    now = field_.begun

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            transitions.locked("kraken")
            refresh = in_thread(pool, lambda: commands.refresh(by="test", now=now))
            until_somebody_waits()
            Exchange.objects.update(enabled=False, removed_at=now)
        (refreshed,) = refresh.result()

    assert refreshed.error == "worker for exchange kraken not found"
    assert AuditEntry.objects.get().verb == "refresh"
