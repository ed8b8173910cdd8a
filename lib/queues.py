"""Celery's queues: their names, how many tasks wait in them, and how one is sent from outside of a worker's loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
import structlog
from celery import Task
from celery.exceptions import CeleryError
from kombu.exceptions import KombuError
from kombu.transport.redis import Channel

from lib import valkey

POLL_QUEUE = "poll"
DEFAULT_QUEUE = "default"
QUEUES = (POLL_QUEUE, DEFAULT_QUEUE)
# A task of another priority waits in a list of its own.
KEYS = {
    queue: [f"{queue}{Channel.sep}{step}" if step else queue for step in Channel.priority_steps] for queue in QUEUES
}
# What the broker keeps besides, and of which type. Another type in its place stops every worker, again and again.
TYPES = {
    **{key: b"list" for keys in KEYS.values() for key in keys},
    Channel.unacked_key: b"hash",
    Channel.unacked_index_key: b"zset",
    **{Channel.keyprefix_queue % queue: b"set" for queue in QUEUES},
}
BUSY_PER_EXCHANGE, BUSY_LEAST = 1.0, 10  # more than a poll of every exchange waits: nobody empties the queue
BRAKE_PER_EXCHANGE = 2.0

log = structlog.get_logger(__name__)


def send(task: Task[..., Any], *, expires_seconds: float, **details: Any) -> bool:
    """Queues a task with `details` as its arguments. Returns False, and logs why, when no queue takes it."""
    try:
        task.apply_async(kwargs=details, expires=expires_seconds, ignore_result=True)
    except (KombuError, CeleryError, redis.RedisError, OSError) as error:
        log.warning("task_not_sent", task=task.name, exchange=details.get("exchange_id"), error=str(error))
        return False
    return True


# --- how many tasks wait ----------------------------------------------------------------------------------------


def ask_in(together: redis.client.Pipeline) -> None:
    """Adds the question how many tasks wait to a pipeline; its answers are for `answered`."""
    for keys in KEYS.values():
        for key in keys:
            together.llen(key)


ANSWERS = sum(map(len, KEYS.values()))


def answered(found: Sequence[Any]) -> dict[str, int]:
    """Returns how many tasks wait in each queue, whatever their priority. What is no list holds none."""
    lengths = iter(found)
    return {
        queue: sum(length if isinstance(length, int) else 0 for _, length in zip(keys, lengths, strict=False))
        for queue, keys in KEYS.items()
    }


def depths() -> dict[str, int]:
    """Returns how many tasks wait in each queue. Raises redis.RedisError."""
    with valkey.client().pipeline(transaction=False) as together:
        ask_in(together)
        return answered(together.execute(raise_on_error=False))


def is_busy(depth: int, exchanges: int) -> bool:
    """Says whether more waits in one queue than workers that keep up would leave there."""
    return depth > max(BUSY_LEAST, BUSY_PER_EXCHANGE * exchanges)


def is_full(depth: int, exchanges: int) -> bool:
    """Says whether so much waits that another poll would be old by the time it runs."""
    return depth > BRAKE_PER_EXCHANGE * exchanges


def heal() -> list[str]:
    """Removes what has the wrong type in a place of the broker's, such as a text where a queue belongs: a worker that
    finds it would end, and so would the next. Returns the keys. Raises redis.RedisError."""
    with valkey.client().pipeline(transaction=False) as together:
        for key in TYPES:
            together.type(key)
        types = together.execute()
    wrong = [key for (key, wanted), found in zip(TYPES.items(), types, strict=True) if found not in (wanted, b"none")]
    if wrong:
        valkey.client().delete(*wrong)
        log.error("wrong_type_removed", keys=wrong)
    return wrong
