import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection

from collectors import lease
from collectors.models import Worker
from exchanges.models import Exchange
from lib import clock, valkey


def test_one_collector_at_a_time(world):
    assert lease.take("kraken", lease_seconds=8) is not None
    assert lease.take("kraken", lease_seconds=8, repeat=True) is None


def test_an_expired_lease_can_be_taken_over(world):
    lease.take("kraken", lease_seconds=8)
    Worker.objects.update(lease_until=clock.now() - timedelta(seconds=1))

    assert lease.take("kraken", lease_seconds=8, repeat=True) is not None


def test_a_lease_can_be_kept_longer_and_only_by_its_holder(world):
    permit = lease.take("kraken", lease_seconds=8)

    lease.extend(permit, lease_seconds=60)
    assert Worker.objects.get().lease_until > clock.now() + timedelta(seconds=50)

    lease.release(permit)
    lease.extend(permit, lease_seconds=60)
    assert Worker.objects.get().lease_until is None


def test_a_task_that_is_delivered_twice_polls_once(world):
    first = lease.take("kraken", lease_seconds=8)
    lease.release(first)

    assert lease.take("kraken", lease_seconds=8) is None


@pytest.mark.parametrize("changes", [{"enabled": False}, {"blacklisted": True}])
def test_a_stopped_exchange_has_no_collector(world, changes):
    Exchange.objects.update(**changes)

    assert lease.take("kraken", lease_seconds=8) is None


def test_nobody_calls_before_retry_at(world):
    Worker.objects.update(retry_at=clock.now() + timedelta(seconds=5))
    assert lease.take("kraken", lease_seconds=8) is None

    Worker.objects.update(retry_at=clock.now() - timedelta(seconds=1))
    assert lease.take("kraken", lease_seconds=8) is not None


def test_an_unknown_exchange_has_no_collector(db):
    assert lease.take("nosuch", lease_seconds=8) is None


def test_a_running_cycle_learns_of_a_newer_generation(world):
    permit = lease.take("kraken", lease_seconds=8)
    assert lease.is_current("kraken", permit.generation)

    Worker.objects.update(generation=permit.generation + 1)
    lease.announce("kraken", permit.generation + 1)

    assert not lease.is_current("kraken", permit.generation)
    assert lease.is_current("kraken", permit.generation + 1)
    valkey.client().delete("marketmon:generation:kraken")


@pytest.mark.parametrize("news", [b"99", b"text"])
def test_news_that_the_row_contradicts_is_taken_back(world, news):
    """After a failover or a restore the row is older than what was announced."""
    permit = lease.take("kraken", lease_seconds=8)
    valkey.client().set("marketmon:generation:kraken", news)

    assert lease.is_current("kraken", permit.generation)
    assert valkey.client().get("marketmon:generation:kraken") is None


def test_nobody_whose_clock_is_far_off_is_given_a_lease(world, monkeypatch):
    far = clock.ClockState(3600.0, is_off=True, all_differ_alike=False, is_held=False)
    monkeypatch.setattr(clock, "state", lambda: far)
    assert lease.take("kraken", lease_seconds=8) is None

    monkeypatch.setattr(clock, "state", lambda: replace(far, all_differ_alike=True))
    assert lease.take("kraken", lease_seconds=8) is not None


def test_waiting_for_a_stop_ends_with_the_lease(world):
    permit = lease.take("kraken", lease_seconds=8)
    assert not lease.wait_until_idle("kraken", at_most_seconds=0.05)

    lease.release(permit)

    assert lease.wait_until_idle("kraken", at_most_seconds=0.05)


WISH = "marketmon:lease-wanted:kraken"


def test_the_wish_of_a_waiter_who_died_ends_by_itself(world, monkeypatch):
    def die(_: float) -> None:
        raise SystemExit

    lease.take("kraken", lease_seconds=8)
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", die)
        with pytest.raises(SystemExit):
            lease.wait_for("kraken", patience_seconds=5, lease_seconds=8)

    assert 0 < valkey.client().pttl(WISH) <= lease.ASKED_SECONDS * 1000


def test_a_waiter_goes_on_asking_until_it_has_the_lease(world):
    def wait() -> lease.Permit | None:
        try:
            return lease.wait_for("kraken", patience_seconds=30, lease_seconds=8)
        finally:
            connection.close()

    permit = lease.take("kraken", lease_seconds=8)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        for _ in range(2):  # whoever holds the lease has heard it, and has not stepped aside
            while not lease.is_asked_for("kraken"):
                assert not waiting.done()
                time.sleep(0.01)
        lease.release(permit)

        assert waiting.result() is not None
    assert not valkey.client().exists(WISH)
