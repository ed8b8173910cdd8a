"""Housekeeping: what fails holds up nothing else, and two at once do not disturb each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction

from collectors import partitions, rollups, tasks
from collectors.models import Run
from tests.gaps.test_races import in_thread, until_somebody_waits

DAY = datetime(2031, 5, 17, tzinfo=UTC)


def test_a_rollup_that_fails_holds_up_nothing_else(world, settings, monkeypatch):
    def fail(now: datetime) -> int:
        raise RuntimeError("no rollups today")

    fail.__module__, fail.__name__ = rollups.run.__module__, rollups.run.__name__
    monkeypatch.setattr("collectors.upkeep.PARTS", tuple(fail if p is rollups.run else p for p in upkeep_parts()))
    world.store(at=world.now)
    Run.objects.update(started_at=world.now - timedelta(days=settings.RUN_RETENTION_DAYS, seconds=1))

    with pytest.raises(RuntimeError, match="no rollups today"):
        tasks.keep_up()

    assert not Run.objects.exists()


def upkeep_parts() -> tuple[object, ...]:
    from collectors import upkeep

    return upkeep.PARTS


@pytest.mark.django_db(transaction=True)
def test_two_who_make_the_same_partition_both_find_it():
    table = "collectors_rollup"
    try:
        with ThreadPoolExecutor(1) as pool:
            with transaction.atomic():
                partitions._create(table, DAY.date())
                other = in_thread(pool, lambda: partitions._create(table, DAY.date()))
                until_somebody_waits()
            other.result()
        assert partitions._name(table, DAY.date()) in partitions._partitions(table)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {partitions._name(table, DAY.date())}")
