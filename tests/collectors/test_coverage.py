"""What share of the minutes that should hold a row does, counted once a minute."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction

from collectors import retention
from collectors.history import partitions, rollups
from collectors.models import Coverage, Pipeline, Watermark, Worker
from exchanges.models import Exchange, Market
from operations import commands
from tests.collectors.conftest import World

MINUTE = timedelta(minutes=1)
SETTLED = timedelta(seconds=30)


@pytest.fixture
def quarter(world: World) -> datetime:
    """Full quarter of an hour, some hours ago, at whose begin the cursor stands; rows came until a second before."""
    start = (world.now - timedelta(hours=3)).replace(minute=15, second=0, microsecond=0)
    Worker.objects.update(resumed_at=start - timedelta(days=1), status_since=start - timedelta(days=1))
    store(world, start - timedelta(seconds=1))
    Watermark.objects.create(name="rollups", reached_at=start - MINUTE)
    rollups.run(start + SETTLED)
    Coverage.objects.all().delete()
    return start


def store(world: World, at: datetime, markets=(0, 1, 2)) -> None:
    partitions.ensure_since(at, at)
    assert world.store(at=at, markets=markets) == len(markets)


def counted() -> dict[str, tuple[int, int]]:
    """Expected and stored minutes, by the quarter."""
    rows = Coverage.objects.order_by("quarter_at")
    return {f"{row.quarter_at:%H:%M}": (row.expected_minutes, row.stored_minutes) for row in rows}


def of(quarter_at: datetime) -> tuple[int, int]:
    return counted().get(f"{quarter_at:%H:%M}", (0, 0))


def test_each_pipeline_counts_in_each_minute(world, quarter):
    for minute in range(15):
        store(world, quarter + minute * MINUTE)

    rollups.run(quarter + 15 * MINUTE + SETTLED)

    assert counted() == {f"{quarter:%H:%M}": (45, 45)}


def test_a_minute_is_counted_once(world, quarter):
    store(world, quarter)

    for _ in range(3):
        rollups.run(quarter + MINUTE + SETTLED)

    assert of(quarter) == (3, 3)


def test_a_minute_whose_transaction_is_lost_is_counted_by_the_next_run(world, quarter):
    store(world, quarter)

    with transaction.atomic():
        rollups.run(quarter + MINUTE + SETTLED)
        transaction.set_rollback(True)
    assert of(quarter) == (0, 0)

    rollups.run(quarter + MINUTE + SETTLED)

    assert of(quarter) == (3, 3)


def test_two_rows_in_a_minute_are_one_minute(world, quarter):
    store(world, quarter)
    store(world, quarter + timedelta(seconds=59))

    rollups.run(quarter + MINUTE + SETTLED)

    assert of(quarter) == (3, 3)


def test_a_silent_market_lowers_the_share(world, quarter):
    store(world, quarter, markets=(0, 2))

    rollups.run(quarter + MINUTE + SETTLED)

    assert of(quarter) == (3, 2)


def test_our_outage_over_the_hour_expects_every_minute(world, quarter):
    """Down from :20 to the next :10, counted when we are back."""
    for minute in range(5):
        store(world, quarter + minute * MINUTE)
    back = quarter + 55 * MINUTE
    for minute in range(5):
        store(world, back + minute * MINUTE)

    for _ in range(2):  # half an hour a run
        rollups.run(back + 5 * MINUTE + SETTLED)

    quarters = [of(quarter + 15 * number * MINUTE) for number in range(4)]
    assert quarters == [(45, 15), (45, 0), (45, 0), (45, 15)]


def test_a_planned_stop_in_the_middle_of_a_quarter_expects_nothing(world, quarter):
    for minute in range(5):
        store(world, quarter + minute * MINUTE)
        rollups.run(quarter + (minute + 1) * MINUTE + SETTLED)
    stopped_at = quarter + 6 * MINUTE + timedelta(seconds=40)
    store(world, stopped_at - timedelta(seconds=1))
    commands.blacklist("kraken", by="ada", now=stopped_at, reason="")
    rollups.run(quarter + 12 * MINUTE + SETTLED)
    commands.lift("kraken", by="ada", now=quarter + 12 * MINUTE + timedelta(seconds=20))
    for minute in (12, 13, 14):
        store(world, quarter + minute * MINUTE + timedelta(seconds=50))

    rollups.run(quarter + 15 * MINUTE + SETTLED)

    # 0 to 4 held rows; 6 and 12, in which it was stopped and lifted, count what they hold; 13 and 14 as ever.
    assert of(quarter) == (15 + 3 + 9, 15 + 3 + 9)


def test_the_silence_before_a_planned_stop_is_expected_once_the_stop_was_seen(world, quarter):
    """The sweep has turned the worker: the minutes before that were collected, or should have been."""
    commands.disable("kraken", by="ada", now=quarter + 2 * MINUTE)
    Worker.objects.update(status="stopped", status_since=quarter + 2 * MINUTE)

    rollups.run(quarter + 4 * MINUTE + SETTLED)

    assert of(quarter) == (6, 0)


@pytest.mark.parametrize("field", ["blacklisted", "excluded"])
def test_a_market_that_is_taken_out_expects_nothing(world, quarter, field):
    Market.objects.filter(pk=world.markets[1].pk).update(**{field: True})
    store(world, quarter, markets=(0, 2))

    rollups.run(quarter + 2 * MINUTE + SETTLED)

    assert of(quarter) == (4, 2)


def test_a_market_counts_from_its_return(world, quarter):
    Pipeline.objects.filter(pk=world.markets[1].pk).update(resumed_at=quarter + timedelta(seconds=61))
    store(world, quarter, markets=(0, 2))
    store(world, quarter + MINUTE)

    rollups.run(quarter + 3 * MINUTE + SETTLED)

    assert of(quarter) == (2 + 3 + 3, 2 + 3)


def test_a_pipeline_counts_from_its_first_row(world, quarter):
    """A market that never came is not missed, and one that came late is not missed before."""
    late, never = (
        Market.objects.create(
            exchange=world.exchange, symbol=f"{base}/USD", base=base, quote="USD", kind="spot",
            venue_id=base, source="kraken", listed_at=quarter - timedelta(days=1),
        )
        for base in ("LATE", "NEVER")
    )  # fmt: skip
    Pipeline.objects.bulk_create(Pipeline(market=market, expected_seconds=10) for market in (late, never))
    world.markets += [late, never]
    for minute in range(4):
        store(world, quarter + minute * MINUTE, markets=(0, 1, 2) if minute < 2 else (0, 1, 2, 3))
    store(world, quarter + 5 * MINUTE)

    rollups.run(quarter + 6 * MINUTE + SETTLED)

    assert of(quarter) == (3 + 3 + 4 + 4 + 4 + 4, 3 + 3 + 4 + 4 + 0 + 3)


def test_rows_that_are_fetched_later_do_not_raise_it(world, quarter):
    store(world, quarter + 2 * MINUTE)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO collectors_tick (pipeline_id, origin, received_at, last) VALUES (%s, 1, %s, 100)",
            [world.markets[0].pk, quarter],
        )
    rollups.run(quarter + 3 * MINUTE + SETTLED)
    rollups.again(world.markets[0].pk, start=quarter, end=quarter + 2 * MINUTE, now=quarter + 4 * MINUTE)

    assert of(quarter) == (9, 3)


@pytest.mark.parametrize(
    ("age_seconds", "held"), [(600, 1), (601, 0)], ids=["two intervals old", "older than two intervals"]
)
def test_a_slow_market_holds_a_minute_for_two_of_its_intervals(world, quarter, age_seconds, held):
    """Its rows are further apart than a minute: a minute without one is no loss."""
    Pipeline.objects.exclude(pk=world.markets[0].pk).update(received_at=None)
    Pipeline.objects.filter(pk=world.markets[0].pk).update(expected_seconds=300)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE collectors_tick SET received_at = %s", [quarter + MINUTE - timedelta(seconds=age_seconds)]
        )

    rollups.run(quarter + MINUTE + SETTLED)

    assert of(quarter) == (1, held)


def test_an_exchange_without_expectations_has_no_row(world, quarter):
    Exchange.objects.update(enabled=False)

    rollups.run(quarter + 5 * MINUTE + SETTLED)

    assert counted() == {}


def test_quarters_past_the_retention_are_pruned(world, quarter):
    edge = quarter - timedelta(days=retention.COVERAGE_DAYS)
    for moment in (edge - timedelta(seconds=1), edge):
        Coverage.objects.create(exchange=world.exchange, quarter_at=moment)

    assert retention.prune(retention.KEPT, quarter)["collectors_coverage"] == 1

    assert Coverage.objects.get().quarter_at == edge
