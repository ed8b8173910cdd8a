"""Partitions, rollups, and the reader that picks the grain."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from collectors import retention
from collectors.history import partitions, reading, rollups
from collectors.models import Rollup, Run, Watermark

DAY = timedelta(days=1)


def partitions_of(table: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", [table])
        return {name for (name,) in cursor.fetchall()}


def test_partitions_are_made_a_week_ahead(world):
    partitions.ensure(world.now)

    names = partitions_of("collectors_tick")
    assert f"collectors_tick_{world.now + 7 * DAY:%Y%m%d}" in names
    assert f"collectors_tick_{world.now - DAY:%Y%m%d}" in names


def test_a_partition_is_dropped_when_its_last_moment_is_past_the_retention(world, settings):
    settings.RAW_RETENTION_HOURS = 48
    day = datetime(2020, 1, 1, tzinfo=UTC)
    partitions.ensure(day)
    Watermark.objects.create(name="rollups", reached_at=day + DAY)

    retention.prune(retention.KEPT, day + 3 * DAY - timedelta(seconds=1))
    assert "collectors_tick_20200101" in partitions_of("collectors_tick")
    retention.prune(retention.KEPT, day + 3 * DAY)

    assert "collectors_tick_20200101" not in partitions_of("collectors_tick")
    assert "collectors_rollup_20200101" in partitions_of("collectors_rollup")
    retention.prune(retention.KEPT, day + 200 * DAY)


@pytest.fixture
def minute(world) -> datetime:
    """A full minute with three prices in it: 100, 120, 90."""
    start = world.now.replace(second=0, microsecond=0)
    for second, price in ((5, 100.0), (25, 120.0), (45, 90.0)):
        world.store(at=start + timedelta(seconds=second), price=price)
    Watermark.objects.create(name="rollups", reached_at=start)
    return start


def test_a_minute_is_rolled_up_once_it_has_settled(minute):
    assert rollups.run(minute + timedelta(seconds=89)) == 0
    assert rollups.run(minute + timedelta(seconds=90)) == 3

    row = Rollup.objects.order_by("pipeline_id").first()
    assert (row.open, row.high, row.low, row.close, row.samples) == (100, 120, 90, 90, 3)
    assert row.minute_at == minute


def test_rolling_up_again_gives_the_same_rows(minute):
    rollups.run(minute + timedelta(seconds=90))
    first = list(Rollup.objects.values_list().order_by("pipeline_id"))
    Watermark.objects.update(reached_at=minute)

    rollups.run(minute + timedelta(seconds=90))

    assert list(Rollup.objects.values_list().order_by("pipeline_id")) == first


def test_after_a_long_pause_the_rollup_catches_up_in_bounded_steps(minute):
    late = minute + timedelta(minutes=90)

    rollups.run(late)

    assert Watermark.objects.get(name="rollups").reached_at == minute + timedelta(minutes=30)


@pytest.mark.parametrize(
    ("ago", "span", "grain"),
    [
        (timedelta(hours=6), timedelta(hours=6), "raw"),
        (timedelta(hours=7), timedelta(hours=7), "minute"),
        (timedelta(hours=48), timedelta(hours=1), "raw"),
        (timedelta(hours=48, seconds=1), timedelta(hours=1), "minute"),
    ],
    ids=["short and recent", "too long", "at the edge of the retention", "beyond it"],
)
def test_the_grain_follows_age_and_span(ago, span, grain):
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)

    assert reading.pick_grain(1, now - ago, now - ago + span, now) == grain


def test_history_gives_raw_ticks_and_minutes_of_the_same_time(world, minute):
    pipeline, end = world.markets[0].pk, minute + timedelta(minutes=2)
    rollups.run(end)

    raw = reading.read(pipeline, start=minute, end=end, limit=2, now=end)
    minutes = reading.read(pipeline, start=minute, end=end, limit=10, now=end, grain="minute")

    assert [row[raw.columns.index("last")] for row in raw.rows] == [100, 120]
    assert raw.is_cut
    assert [row[minutes.columns.index("close")] for row in minutes.rows] == [90]
    assert not minutes.is_cut


def test_upkeep_prunes_runs_past_their_retention(world, settings):
    world.store(at=world.now)
    Run.objects.update(started_at=world.now - timedelta(days=settings.RUN_RETENTION_DAYS, seconds=1))
    world.store(at=world.now + timedelta(seconds=1))

    retention.run(world.now)

    assert Run.objects.count() == 1
