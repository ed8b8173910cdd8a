"""The process's one client."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import redis

from lib import valkey
from lib.environment import Setting
from lib.server_addresses import VALKEY_ADDRESS


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


READ = partial(VALKEY_ADDRESS.read, Setting("REDIS_URL", VALKEY_ADDRESS, "", ""))
VERIFIED = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}


@pytest.mark.parametrize(
    ("written", "broker", "tls"),
    [
        ("redis://h:1/2", "redis://h:1/2", None),
        ("redis://h:1/?db=2", "redis://h:1/2", None),
        ("valkey://:pw@h/0", "redis://:pw@h/0", None),
        ("unix:///s/v.sock?db=3", "redis+socket:///s/v.sock?virtual_host=3", None),
        ("rediss://h/0", "rediss://h/0", VERIFIED),
        ("valkeys://h/0", "rediss://h/0", VERIFIED),
        ("rediss://h/0?ssl_cert_reqs=CERT_NONE", "rediss://h/0", {**VERIFIED, "ssl_cert_reqs": "none"}),
        ("rediss://h/0?ssl_cert_reqs=none", "rediss://h/0", {**VERIFIED, "ssl_cert_reqs": "none"}),
        ("rediss://h/0?ssl_ca_certs=/a/b%20c.pem", "rediss://h/0", {**VERIFIED, "ssl_ca_certs": "/a/b c.pem"}),
        ("rediss://h/0?ssl_check_hostname=no", "rediss://h/0", {**VERIFIED, "ssl_check_hostname": False}),
    ],
)
def test_the_words_of_an_address_mean_the_same_to_both_clients(written, broker, tls):
    address = READ(written)

    assert (valkey.broker_url(address), valkey.broker_tls(address)) == (broker, tls)
    ours = redis.ConnectionPool.from_url(address).make_connection()
    if tls:
        assert ours.cert_reqs.name == f"CERT_{tls['ssl_cert_reqs'].upper()}"


@pytest.mark.parametrize(
    "written",
    [
        "sentinel://h:26379/0",
        "redis+sentinel://h/0",
        "redis+cluster://h/0",
        "http://h",
        "rediss://h/0?ssl_cert_reqs=maybe",
        "redis://h/0?nonsense=1",
    ],
)
def test_an_address_that_no_client_can_use_is_refused(written):
    with pytest.raises(ValueError):
        READ(written)


def test_limits_in_the_address_reach_the_broker_too():
    assert valkey.broker_limits("redis://h/0?socket_timeout=7&client_name=x") == {"socket_timeout": 7.0}
