"""The process's Valkey client. Nothing of value lives only there, so every caller copes with its absence."""

from __future__ import annotations

import threading
import time
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

TIMEOUT_SECONDS = 1.0  # readers and polls go on without it; a second is long for a machine beside ours
LIMITS_IN_ADDRESS = frozenset(
    {"socket_timeout", "socket_connect_timeout", "socket_keepalive", "health_check_interval", "retry_on_timeout"}
)
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
    """Returns kombu's spelling of a Redis URL: sockets are `redis+socket://` there, the database has another name.

    What its query says of TLS and time limits is in `broker_tls` and `broker_limits`: kombu reads other words.
    """
    if redis_url.startswith("unix://"):
        return "redis+socket://" + redis_url.removeprefix("unix://").replace("?db=", "?virtual_host=")
    place, _, query = redis_url.partition("?")
    database = dict(parse_qsl(query)).get("db")
    return place if database is None else urlsplit(place)._replace(path=f"/{database}").geturl()


def broker_tls(redis_url: str) -> dict[str, Any] | None:
    """Returns what Celery needs to be told of TLS: by itself it would look neither at the certificate nor at its name.

    None for an address without TLS.
    """
    if not redis_url.startswith("rediss://"):
        return None
    return {"ssl_cert_reqs": "required", "ssl_check_hostname": True} | {
        name: value for name, value in _in_address(redis_url).items() if name.startswith("ssl_")
    }


def broker_limits(redis_url: str) -> dict[str, Any]:
    """Returns the limits that the address sets for connections, as options of Celery's transport."""
    return {name: value for name, value in _in_address(redis_url).items() if name in LIMITS_IN_ADDRESS}


def _in_address(redis_url: str) -> dict[str, Any]:
    found: dict[str, Any] = parse_url(redis_url)  # type: ignore[no-untyped-call]
    return found


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
