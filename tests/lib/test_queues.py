"""A task is queued, or its sender hears that it was not."""

from __future__ import annotations

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
