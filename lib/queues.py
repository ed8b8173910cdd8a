"""The names of Celery's queues, and how a task is sent from outside of a worker's loop."""

from __future__ import annotations

from typing import Any

import redis
import structlog
from celery import Task
from celery.exceptions import CeleryError
from kombu.exceptions import KombuError

POLL_QUEUE = "poll"
DEFAULT_QUEUE = "default"

log = structlog.get_logger(__name__)


def send(task: Task[..., Any], *, expires_seconds: float, **details: Any) -> bool:
    """Queues a task with `details` as its arguments. Returns False, and logs why, when no queue takes it."""
    try:
        task.apply_async(kwargs=details, expires=expires_seconds, ignore_result=True)
    except (KombuError, CeleryError, redis.RedisError, OSError) as error:
        log.warning("task_not_sent", task=task.name, exchange=details.get("exchange_id"), error=str(error))
        return False
    return True
