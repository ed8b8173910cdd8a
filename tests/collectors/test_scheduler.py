"""Beat: one leader, no re-sending, no silence after a jump of the clock."""

import time
from datetime import timedelta
from typing import Any

import pytest
import redis
import time_machine
from django_celery_beat.models import PeriodicTask, PeriodicTasks
from django_celery_beat.schedulers import DatabaseScheduler

from collectors.models import ProcessLease, Watermark
from collectors.polling import schedule
from exchanges.models import Exchange
from lib import clock, queues, valkey
from marketmon.celery import app
from marketmon.scheduler import MUTE_SECONDS, LeaderScheduler


@pytest.fixture
def make_beat(world):
    """Beats over kraken's rows that note what they send instead of publishing it."""
    schedule.sync(now=world.now)
    beats = []

    def make(sent: list[str]) -> LeaderScheduler:
        beat = LeaderScheduler(app=app, lazy=True)
        beat.apply_entry = lambda entry, producer=None: sent.append(entry.name)
        beats.append(beat)
        return beat

    yield make
    for beat in beats:
        beat._leadership.release()
        beat._finalize.cancel()  # it would sync at interpreter exit, when the test's database is gone
    valkey.client().delete("poll")


def run_for(seconds: float, *beats: LeaderScheduler, traveller: Any) -> None:
    """Ticks all beats through so much simulated time."""
    for _ in range(int(seconds * 10)):
        for beat in beats:
            while beat.tick() == 0:
                pass
        traveller.shift(timedelta(seconds=0.1))


def polls(sent: list[str]) -> int:
    return sent.count("poll:kraken")


def test_two_beats_send_each_poll_once(make_beat):
    sent: list[str] = []
    with time_machine.travel(clock.now(), tick=False) as traveller:
        first, second = make_beat(sent), make_beat(sent)
        run_for(60, first, second, traveller=traveller)

    assert 5 <= polls(sent) <= 7


def test_a_schedule_that_was_switched_off_comes_back(make_beat):
    """Who disables all rows in the admin disables what would heal them, too: nothing was sent ever after."""
    sent: list[str] = []
    PeriodicTask.objects.update(enabled=False)
    with time_machine.travel(clock.now(), tick=False) as traveller:
        run_for(75, make_beat(sent), traveller=traveller)
        assert "job:sync" in sent
        assert polls(sent) == 0

    schedule.sync(now=clock.now())  # what that task does

    assert not PeriodicTask.objects.filter(name__startswith="poll:", enabled=False).exists()


def test_a_standby_takes_over_when_the_leader_is_gone(make_beat):
    sent: list[str] = []
    first, second = make_beat(sent), make_beat(sent)
    first.tick()
    second.tick()
    assert (first._leads, second._leads) == (True, False)

    first._leadership.release()

    give_up_at = time.monotonic() + 3
    while not second._leads:  # the server frees the lock when it notices that the session is gone
        assert time.monotonic() < give_up_at
        second._checked_at = float("-inf")
        second.tick()


def test_a_standby_leads_when_the_lease_of_a_vanished_leader_has_run_out(make_beat):
    first, second = make_beat([]), make_beat([])
    first.tick()
    second.tick()
    ProcessLease.objects.update(held_until=clock.now() - timedelta(seconds=1))

    for beat in (second, first):
        beat._checked_at = float("-inf")
        beat.tick()

    assert (first._leads, second._leads) == (False, True)


def test_a_leader_that_reaches_no_queue_lets_another_try(make_beat, monkeypatch):
    first, second = make_beat([]), make_beat([])
    first.tick()
    with monkeypatch.context() as patch:
        patch.setattr("lib.queues.depths", lambda: (_ for _ in ()).throw(redis.ConnectionError("cut off")))
        for _ in range(2):
            first._checked_at = float("-inf")
            first.tick()
            first._muted_at = first._muted_at - MUTE_SECONDS - 1

    second._checked_at = float("-inf")
    second.tick()

    assert (first._leads, second._leads) == (False, True)


def test_a_beat_whose_clock_is_far_off_does_not_lead(make_beat, monkeypatch):
    beat = make_beat([])
    monkeypatch.setattr(clock, "state", lambda: clock.ClockState(3600.0, True, False, False))

    beat.tick()

    assert not beat._leads


def test_a_reload_from_a_database_that_missed_the_last_sync_sends_nothing_again(make_beat):
    sent: list[str] = []
    with time_machine.travel(clock.now(), tick=False) as traveller:
        beat = make_beat(sent)
        run_for(30, beat, traveller=traveller)
        before = polls(sent)
        beat._dirty.clear()  # what a failed sync leaves behind
        beat._initial_read, beat._heap = True, None
        beat.tick()

    assert polls(sent) - before <= 1


def test_a_jump_back_of_the_clock_does_not_silence_beat(make_beat):
    sent: list[str] = []
    with time_machine.travel(clock.now(), tick=False) as traveller:
        beat = make_beat(sent)
        run_for(20, beat, traveller=traveller)
        before = polls(sent)
        traveller.shift(timedelta(hours=-1))
        beat._checked_at = float("-inf")
        run_for(30, beat, traveller=traveller)

    assert polls(sent) - before >= 2


def test_a_queue_that_nobody_empties_is_not_filled(make_beat):
    beat = make_beat([])
    beat.tick()
    beat._backlog = 100
    poll = PeriodicTask.objects.get(name="poll:kraken")

    assert beat.apply_async(beat.schedule[poll.name]) is None


def test_what_beat_really_sends_is_what_is_measured_and_braked(make_beat, world):
    """Polls go by their exchange's priority, and so wait in lists of their own."""
    Exchange.objects.update(priority=7)
    schedule.sync(now=world.now)
    PeriodicTask.objects.update(last_run_at=world.now - timedelta(hours=1))
    beat = make_beat([])
    del beat.apply_entry  # really
    valkey.client().delete(*queues.TYPES)
    try:
        beat.tick()
        while beat.tick() == 0:
            pass
        sent = queues.depths()
        assert sent["poll"] >= 1
        assert valkey.client().llen("poll") == 0

        beat._checked_at = float("-inf")
        beat.tick()
        assert beat._backlog == queues.depths()["poll"]
    finally:
        valkey.client().delete(*queues.TYPES)


def test_the_leader_leaves_a_heartbeat(make_beat):
    beat = make_beat([])
    beat.tick()

    assert Watermark.objects.get(name="beat").reached_at > clock.now() - timedelta(seconds=5)


@pytest.mark.parametrize("lost", ["switched off", "deleted"])
def test_a_schedule_that_was_lost_comes_back(make_beat, lost):
    """As by the admin's action on all rows: nothing is sent then, the job that would mend the rows included."""
    sent: list[str] = []
    with time_machine.travel(clock.now(), tick=False) as traveller:
        beat = make_beat(sent)
        if lost == "deleted":
            PeriodicTask.objects.all().delete()
        else:
            PeriodicTask.objects.update(enabled=False)
        PeriodicTasks.update_changed()
        run_for(8, beat, traveller=traveller)

    assert "job:sync" in sent
    assert schedule.jobs_not_sent() == sorted(set(schedule.JOBS) - {"job:sync"})
    schedule.sync(now=clock.now())
    assert schedule.jobs_not_sent() == []
    assert PeriodicTask.objects.get(name="poll:kraken").enabled


def test_beat_says_that_it_sends_only_when_it_does(make_beat, monkeypatch):
    sent_at = Watermark.objects.filter(name=schedule.SENT_CURSOR).values_list("reached_at", flat=True)
    beat = make_beat([])
    beat.tick()
    assert list(sent_at) == []

    monkeypatch.setattr(DatabaseScheduler, "apply_async", lambda *_, **__: None)
    beat.apply_async(next(iter(beat.schedule.values())))
    beat._checked_at = beat._heartbeat_at = float("-inf")
    beat.tick()
    assert len(sent_at.all()) == 1
