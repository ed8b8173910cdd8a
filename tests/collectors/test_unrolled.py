"""Raw rows wait for the rollups that are made of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError

from collectors import retention
from collectors.history import partitions, rollups
from collectors.models import Watermark

DAY = timedelta(days=1)
OLD = datetime(2020, 1, 1, tzinfo=UTC)
TICKS, ROLLUPS = "collectors_tick_20200101", "collectors_rollup_20200101"


@pytest.fixture
def old_day(world, settings):
    settings.RAW_RETENTION_HOURS, settings.RAW_RETENTION_MOST_HOURS = 48, 168
    partitions.ensure(OLD)
    yield
    Watermark.objects.filter(pk=rollups.CURSOR).delete()
    retention.prune(retention.KEPT, OLD + 300 * DAY)


def rolled_up_to(moment: datetime) -> None:
    Watermark.objects.update_or_create(name=rollups.CURSOR, defaults={"reached_at": moment})


@pytest.mark.parametrize(
    ("reached", "asked_at", "is_kept"),
    [
        (OLD + DAY, OLD + 3 * DAY, False),
        (OLD + DAY - timedelta(minutes=1), OLD + 3 * DAY, True),
        (OLD + DAY - timedelta(minutes=1), OLD + 8 * DAY - timedelta(seconds=1), True),
        (OLD + DAY - timedelta(minutes=1), OLD + 8 * DAY, False),
        (None, OLD + 3 * DAY, True),
    ],
    ids=["all rolled up", "a minute is not", "just within the bound", "at the bound", "never rolled up"],
)
def test_a_day_of_ticks_is_kept_until_all_its_minutes_are_rolled_up(old_day, reached, asked_at, is_kept):
    if reached is not None:
        rolled_up_to(reached)

    retention.prune(retention.KEPT, asked_at)

    assert (TICKS in partitions.names("collectors_tick")) is is_kept
    assert ROLLUPS in partitions.names("collectors_rollup")


def test_a_retention_that_is_longer_than_the_bound_is_kept_to(old_day, settings):
    settings.RAW_RETENTION_HOURS = 240
    rolled_up_to(OLD)

    retention.prune(retention.KEPT, OLD + 8 * DAY)

    assert TICKS in partitions.names("collectors_tick")


def test_what_the_first_rollup_failed_at_is_rolled_up_by_a_later_one(world, monkeypatch):
    start = world.now.replace(second=0, microsecond=0)
    world.store(at=start + timedelta(seconds=5))
    sound = rollups.ROLL_UP
    monkeypatch.setattr(rollups, "ROLL_UP", "SELECT 1 / 0")
    with pytest.raises(DatabaseError):
        rollups.run(start + timedelta(seconds=90))
    monkeypatch.setattr(rollups, "ROLL_UP", sound)

    assert rollups.run(start + timedelta(minutes=20)) == 3
