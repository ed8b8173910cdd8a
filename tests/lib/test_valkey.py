"""The process's one client."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import redis

from lib import valkey


def test_threads_that_ask_first_at_once_get_the_same_client(monkeypatch):
    """One more would be thrown away, and take connections that are in use along."""
    begun, from_url = threading.Barrier(8), redis.Redis.from_url

    def slowly(*arguments, **options):
        threading.Event().wait(0.05)
        return from_url(*arguments, **options)

    def ask(_: int) -> redis.Redis:
        begun.wait()
        return valkey.client()

    monkeypatch.setattr(redis.Redis, "from_url", slowly)
    valkey._client.cache_clear()
    try:
        with ThreadPoolExecutor(8) as pool:
            clients = list(pool.map(ask, range(8)))
    finally:
        valkey._client.cache_clear()

    assert len({id(each) for each in clients}) == 1


def test_a_valkey_that_failed_is_left_alone_for_a_second(monkeypatch):
    moment = [100.0]
    monkeypatch.setattr(valkey.time, "monotonic", lambda: moment[0])
    availability = valkey.Availability()
    before = availability.is_worth_a_try()

    availability.failed()
    worth = []
    for moment[0] in (100.0, 100.99, 101.0):
        worth.append(availability.is_worth_a_try())

    assert before
    assert worth == [False, False, True]
