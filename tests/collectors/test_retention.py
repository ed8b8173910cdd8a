"""Housekeeping: what fails holds up nothing else, and two at once do not disturb each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection, transaction

from access import keys
from access.models import CreditEntry, Tier
from collectors import retention, tasks
from collectors.history import partitions, rollups
from collectors.models import Run, Switch, Transition
from metrics import collection
from tests.gaps.test_races import in_thread, until_somebody_waits

DAY = datetime(2031, 5, 17, tzinfo=UTC)


def test_a_rollup_that_fails_holds_up_nothing_else(world, settings, monkeypatch):
    def fail(now: datetime) -> int:
        raise RuntimeError("no rollups today")

    fail.__module__, fail.__name__ = rollups.run.__module__, rollups.run.__name__
    monkeypatch.setattr("collectors.retention.PARTS", tuple(fail if p is rollups.run else p for p in retention.PARTS))
    world.store(at=world.now)
    Run.objects.update(started_at=world.now - timedelta(days=settings.RUN_RETENTION_DAYS, seconds=1))

    with pytest.raises(RuntimeError, match="no rollups today"):
        tasks.run_maintenance()

    assert not Run.objects.exists()


@pytest.mark.parametrize(("past_seconds", "is_kept"), [(-60, True), (60, False)], ids=["just within", "just past"])
def test_changes_of_status_and_transport_are_kept_as_long_as_gaps(world, settings, past_seconds, is_kept):
    happened_at = world.now - timedelta(days=settings.GAP_RETENTION_DAYS, seconds=past_seconds)
    Transition.objects.create(
        exchange=world.exchange, happened_at=happened_at, from_status="error", to_status="running"
    )
    Switch.objects.create(exchange=world.exchange, happened_at=happened_at, to_transport="poll")

    retention.run(world.now)

    assert Transition.objects.exists() is is_kept
    assert Switch.objects.exists() is is_kept


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
        assert partitions._name(table, DAY.date()) in partitions.names(table)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {partitions._name(table, DAY.date())}")


def test_a_partition_that_is_being_read_is_dropped_later_and_stops_no_writer(world):
    """Its table's lock is not waited for: behind whoever waits for it, everybody waits who stores."""
    day = datetime(2020, 5, 17, tzinfo=UTC)
    partitions.ensure(day)
    expired = partitions._name("collectors_tick", day.date())
    long_after = day + timedelta(days=200)
    with ThreadPoolExecutor(1) as pool, transaction.atomic(), connection.cursor() as reader:
        reader.execute("SELECT count(*) FROM collectors_tick")
        in_thread(pool, lambda: retention.prune(retention.KEPT, long_after)).result()
        assert "collectors_rollup_20200517" not in partitions.names("collectors_rollup")

    assert expired in partitions.names("collectors_tick")
    retention.prune(retention.KEPT, long_after)
    assert expired not in partitions.names("collectors_tick")


@pytest.mark.parametrize("kept", [*retention.KEPT, *collection.KEPT], ids=lambda kept: kept.table)
def test_each_entry_names_a_table_its_time_and_a_setting(db, settings, kept):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT data_type FROM information_schema.columns WHERE table_name = %s AND column_name = %s",
            [kept.table, kept.time],
        )
        assert cursor.fetchall() in ([("timestamp with time zone",)], [("date",)])
    if isinstance(kept.keep, timedelta):
        assert DAY - kept.limit(DAY) == kept.keep
        return
    setattr(settings, kept.keep, 48)
    assert DAY - kept.limit(DAY) == timedelta(**{"hours" if kept.keep.endswith("_HOURS") else "days": 48})


def test_credits_are_forgotten_the_oldest_first_and_no_younger_one(world, settings, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    tier, _ = Tier.objects.get_or_create(name="free", defaults={"rank": 1, "max_rows": 1})
    key = keys.issue("somebody", tier, now=world.now).key
    edge = world.now - timedelta(days=settings.CREDIT_RETENTION_DAYS)
    for second in (-3, -2, -1, 0, 1):
        moment = edge + timedelta(seconds=second)
        CreditEntry.objects.create(key=key, request_id=uuid4(), charged_at=moment, endpoint="pairs", credits=1)

    assert retention.prune(retention.KEPT, world.now)["access_creditentry"] == 3

    assert CreditEntry.objects.earliest("charged_at").charged_at == edge
