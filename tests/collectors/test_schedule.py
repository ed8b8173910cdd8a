import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import transaction
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

from collectors.models import Pipeline, Worker
from collectors.polling import schedule
from exchanges.models import Exchange
from lib import clock
from tests.gaps.test_races import in_thread, until_done_or_waiting, until_somebody_waits


@pytest.fixture
def poll(world) -> PeriodicTask:
    schedule.sync(now=world.now)
    return PeriodicTask.objects.get(name="poll:kraken")


def every(seconds: int) -> IntervalSchedule:
    return IntervalSchedule.objects.get_or_create(every=seconds, period="seconds")[0]


def test_each_exchange_gets_a_row_for_each_kind(poll):
    names = set(PeriodicTask.objects.values_list("name", flat=True))

    assert {"poll:kraken", "markets:kraken", "job:upkeep", "job:sync"} <= names
    assert json.loads(poll.kwargs) == {"exchange_id": "kraken"}
    assert schedule.interval_seconds(poll.interval) == 10


def test_a_poll_expires_before_the_next_is_due(poll):
    assert poll.expire_seconds == 10


def test_the_first_polls_are_spread_over_one_interval(poll):
    assert poll.last_run_at <= clock.now()
    assert poll.last_run_at >= clock.now() - timedelta(seconds=15)


def test_a_second_sync_changes_nothing_and_does_not_wake_beat(poll):
    before = PeriodicTasks.last_change()

    assert schedule.sync(now=clock.now()) == []
    assert PeriodicTasks.last_change() == before


def test_a_stopped_exchange_is_not_scheduled(poll):
    Exchange.objects.update(blacklisted=True)

    assert set(schedule.sync(now=clock.now())) == {"poll:kraken", "markets:kraken"}
    poll.refresh_from_db()
    assert not poll.enabled


def test_an_interval_edited_in_beats_admin_is_kept_and_adopted(poll):
    PeriodicTask.objects.filter(pk=poll.pk).update(interval=every(30))

    schedule.sync(now=clock.now())

    poll.refresh_from_db()
    assert schedule.interval_seconds(poll.interval) == 30
    assert Exchange.objects.get().poll_interval_seconds == 30
    assert set(Pipeline.objects.values_list("expected_seconds", flat=True)) == {30}


def test_an_interval_edited_on_the_exchange_reaches_beat(poll):
    Exchange.objects.update(poll_interval_seconds=2.5)

    schedule.sync(now=clock.now())

    poll.refresh_from_db()
    assert schedule.interval_seconds(poll.interval) == 2.5
    assert poll.expire_seconds == 2


def test_an_interval_that_an_operator_sets_while_all_are_synced_stays(poll):
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Exchange.objects.update(poll_interval_seconds=30)
            schedule.sync(now=clock.now(), exchange_ids=["kraken"])  # what the operator's verb does
            everything = in_thread(pool, lambda: schedule.sync(now=clock.now()))
            until_done_or_waiting(everything)
        everything.result()

    poll.refresh_from_db()
    assert schedule.interval_seconds(poll.interval) == 30
    assert Exchange.objects.get().poll_interval_seconds == 30


def test_a_sync_that_adopts_an_interval_waits_for_a_verb_and_stands_in_nobodys_way(poll):
    """It takes exchange and worker in the order of the verbs: else one of the two would be ended as a deadlock."""
    PeriodicTask.objects.filter(pk=poll.pk).update(interval=every(30))

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Exchange.objects.select_for_update(no_key=True).get()
            everything = in_thread(pool, lambda: schedule.sync(now=clock.now()))
            until_somebody_waits()
            Worker.objects.update(error_count=0)
        everything.result()

    assert Exchange.objects.get().poll_interval_seconds == 30


def test_strays_of_ours_go_and_rows_of_others_stay(poll):
    PeriodicTask.objects.create(name="poll:gone", task=schedule.POLL_TASK, interval=every(10))
    PeriodicTask.objects.create(name="nightly report", task="somebody.elses", interval=every(10))

    schedule.sync(now=clock.now())

    names = set(PeriodicTask.objects.values_list("name", flat=True))
    assert "poll:gone" not in names
    assert "nightly report" in names
