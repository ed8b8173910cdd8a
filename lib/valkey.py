"""The process's Valkey client. Nothing of value lives only there, so every caller copes with its absence."""

from __future__ import annotations

import threading
import time
from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

TIMEOUT_SECONDS = 1.0  # readers and polls go on without it; a second is long for a machine beside ours
AWAY_SECONDS = 1.0  # how long a Valkey that failed is left alone

_making = threading.Lock()


def client() -> redis.Redis:
    """Returns the process's one pooled client, quick to give up: a reader would rather render for itself than wait."""
    with _making:  # of two made at once, one would be thrown away, and its end closes connections that are in use
        return _client()


@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        health_check_interval=5,
        retry=Retry(NoBackoff(), 1),
    )


def broker_url(redis_url: str) -> str:
    """Returns kombu's spelling of a Redis URL: sockets are `redis+socket://` there, the database has another name."""
    if redis_url.startswith("unix://"):
        return "redis+socket://" + redis_url.removeprefix("unix://").replace("?db=", "?virtual_host=")
    return redis_url


class Availability:
    """A memory of Valkey's failures: one that failed is left alone for a second, so that no call waits for it."""

    def __init__(self) -> None:
        self._away_until = 0.0

    def is_worth_a_try(self) -> bool:
        return time.monotonic() >= self._away_until

    def failed(self) -> None:
        """Notes that a question has ended with redis.RedisError."""
        self._away_until = time.monotonic() + AWAY_SECONDS

    def forget(self) -> None:
        """Forgets failures: the next question is asked, whatever has failed before."""
        self._away_until = 0.0
