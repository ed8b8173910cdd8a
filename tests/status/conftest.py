"""Callers with keys, and collected rows of a chosen age."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
import time_machine
from django.apps import apps
from django.test import Client

from access import key_cache, keys
from access.models import Tier
from collectors.models import Worker
from exchanges.models import Exchange, Market
from lib import clock, valkey
from tests.world import add_exchange, add_market

NOW = datetime(2026, 3, 23, 12, 0, 0, tzinfo=UTC)


@dataclass
class Venue:
    """An exchange with a running worker."""

    exchange: Exchange

    def market(
        self,
        base: str,
        quote: str = "USD",
        *,
        source: str = "",
        age: float | None = None,
        kind: str = "spot",
        **state: Any,
    ) -> Market:
        """A market whose newest row was stored `age` seconds ago."""
        received_at = None if age is None else clock.now() - timedelta(seconds=age)
        return add_market(
            self.exchange, base, quote, since=clock.now() - timedelta(days=1), source=source or self.exchange.id,
            kind=kind, pipeline={"received_at": received_at, **state},
        )  # fmt: skip

    @property
    def worker(self) -> Worker:
        return Worker.objects.get(pk=self.exchange.pk)


def make_venue(name: str, *, heartbeat_age: float | None = 5, **desired: Any) -> Venue:
    now = clock.now()
    heartbeat_at = None if heartbeat_age is None else now - timedelta(seconds=heartbeat_age)
    worker = {"status_since": now, "heartbeat_at": heartbeat_at}
    since = now - timedelta(hours=1)
    return Venue(add_exchange(name, since=since, name=name.capitalize(), worker=worker, **desired))


@pytest.fixture(autouse=True)
def clean_valkey() -> None:
    key_cache.forget()
    valkey.client().flushdb()


@pytest.fixture
def noon() -> Iterator[Any]:
    """The documents' own moment, standing still until moved."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def venue(db: None) -> Callable[..., Venue]:
    return make_venue


@pytest.fixture
def key_of(db: None) -> Callable[..., str]:
    """The text of a new key of a tier; numbers of the tier can be changed on the way."""

    def make(tier: str = "pro", *, tier_changes: dict[str, Any] | None = None, **more: Any) -> str:
        if tier_changes:
            Tier.objects.filter(pk=tier).update(**tier_changes)
        return keys.issue(f"{tier} caller", Tier.objects.get(pk=tier), now=clock.now(), **more).text

    return make


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


@pytest.fixture(autouse=True)
def tiers(request: pytest.FixtureRequest) -> None:
    """Tests with real commits empty all tables afterwards, the migrations' rows included."""
    if {"db", "transactional_db"} & set(request.fixturenames):
        request.getfixturevalue("db")
        for values in import_module("access.migrations.0002_tiers").TIERS:
            Tier.objects.get_or_create(name=values["name"], defaults=values)
        import_module("access.migrations.0005_data_endpoints").add_words(apps, None)
