"""A task is queued, or its sender hears that it was not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from celery.exceptions import OperationalError
from kombu.exceptions import EncodeError

from collectors.tasks import collect_exchange
from lib import queues, valkey


def test_a_task_waits_in_its_queue() -> None:
    valkey.client().delete(queues.POLL_QUEUE)

    assert queues.send(collect_exchange, expires_seconds=60, exchange_id="kraken")
    assert valkey.client().llen(queues.POLL_QUEUE) == 1

    valkey.client().delete(queues.POLL_QUEUE)


@pytest.mark.parametrize(
    "error", [OperationalError("x"), EncodeError("x"), redis.ConnectionError("x"), OSError("x")], ids=repr
)
def test_a_queue_that_cannot_be_reached_is_no_exception(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_: object) -> None:
        raise error

    monkeypatch.setattr(collect_exchange, "apply_async", away)

    assert not queues.send(collect_exchange, expires_seconds=60, exchange_id="kraken")


def test_another_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(**_: object) -> None:
        raise TypeError("no such argument")

    monkeypatch.setattr(collect_exchange, "apply_async", wrong)

    with pytest.raises(TypeError):
        queues.send(collect_exchange, expires_seconds=60, exchange_id="kraken")


@pytest.fixture
def empty() -> Iterator[None]:
    valkey.client().delete(*queues.TYPES)
    yield
    valkey.client().delete(*queues.TYPES)


@pytest.mark.parametrize("priority", [None, 0, 2, 3, 5, 9])
def test_what_is_sent_with_a_priority_is_counted(empty: None, priority: int | None) -> None:
    collect_exchange.apply_async(kwargs={"exchange_id": "kraken"}, priority=priority, expires=60)

    assert queues.depths() == {"poll": 1, "default": 0}


def test_all_priorities_count_together(empty: None) -> None:
    for priority in (0, 3, 6, 9, 9):
        collect_exchange.apply_async(kwargs={"exchange_id": "kraken"}, priority=priority, expires=60)

    assert queues.depths()["poll"] == 5
    assert valkey.client().llen("poll") == 1


def test_the_brake_stands_above_what_is_called_busy() -> None:
    assert not queues.is_busy(10, 2)
    assert queues.is_busy(101, 100)
    assert not queues.is_full(200, 100)
    assert queues.is_full(201, 100)


@pytest.mark.parametrize("key", ["poll", queues.KEYS["default"][2], "unacked", "unacked_index", "_kombu.binding.poll"])
def test_a_text_where_the_brokers_own_belongs_is_removed(empty: None, key: str) -> None:
    valkey.client().set(key, "text")
    assert queues.depths()["poll"] == 0

    assert queues.heal() == [key]

    assert not valkey.client().exists(key)
    assert queues.heal() == []


def test_what_waits_is_kept_when_another_place_is_healed(empty: None) -> None:
    collect_exchange.apply_async(kwargs={"exchange_id": "kraken"}, priority=9, expires=60)
    valkey.client().set("default", "text")

    queues.heal()

    assert queues.depths() == {"poll": 1, "default": 0}
