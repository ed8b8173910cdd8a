"""Callers of the operators' routes: with the admin key, with another, with none, and staff in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from exchanges.models import SANDBOX_PLACEHOLDER, Exchange
from lib import clock, valkey
from operations import commands
from tests.sandbox_client import Sandbox

KEY = "t3qVb7m-operators-key-of-these-tests-0Zk9"
Make = Callable[..., Exchange]


@pytest.fixture(autouse=True)
def admin_key(settings: Any) -> str:
    settings.ADMIN_API_KEY = KEY
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = True
    return KEY


@pytest.fixture(autouse=True)
def clean_cache() -> None:
    valkey.client().flushdb()


class JsonClient(Client):
    """Sends no body at all where none is given, as curl does; Django's own client sends an empty form."""

    def post(self, path: str, data: Any = b"", content_type: str = "application/json", **extra: Any) -> Any:
        return super().post(path, data, content_type=content_type, **extra)

    def patch(self, path: str, data: Any = b"", content_type: str = "application/json", **extra: Any) -> Any:
        return super().patch(path, data, content_type=content_type, **extra)


@pytest.fixture
def stranger() -> Client:
    return JsonClient(raise_request_exception=False)


@pytest.fixture
def operator(admin_key: str) -> Client:
    return JsonClient(raise_request_exception=False, headers={"X-Admin-Key": admin_key})


@pytest.fixture
def make(transactional_db: None) -> Make:
    """Makes an exchange at the sandbox by the verb itself; nothing calls it until somebody collects."""

    def make_exchange(exchange_id: str = "kraken", **fields: Any) -> Exchange:
        return commands.create(exchange_id, by="test", now=clock.now(), base_url=SANDBOX_PLACEHOLDER, **fields)

    return make_exchange


@pytest.fixture
def collected(sandbox: Sandbox, make: Make) -> Callable[[str], Exchange]:
    """Makes an exchange whose first poll is stored."""
    from collectors.history import partitions
    from collectors.polling import poll

    def collect(exchange_id: str = "kraken") -> Exchange:
        partitions.ensure(clock.now())
        exchange = make(exchange_id)
        assert poll.collect_once(exchange_id, now=clock.now()) == "stored"
        return exchange

    return collect
