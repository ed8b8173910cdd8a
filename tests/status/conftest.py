"""Callers with keys, and collected rows of a chosen age."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
import time_machine
from django.test import Client

from access import key_cache, keys
from access.models import Tier
from collectors.models import Pipeline, Worker
from exchanges.models import Exchange, Market
from lib import clock, valkey

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
        market = Market.objects.create(
            exchange=self.exchange,
            symbol=f"{base}/{quote}" if kind == "spot" else f"{base}/{quote}:{quote}",
            base=base,
            quote=quote,
            kind=kind,
            venue_id=f"{base}{quote}{kind}",
            source=source or self.exchange.id,
            listed_at=clock.now() - timedelta(days=1),
        )
        received_at = None if age is None else clock.now() - timedelta(seconds=age)
        Pipeline.objects.create(market=market, expected_seconds=10, received_at=received_at, **state)
        return market

    @property
    def worker(self) -> Worker:
        return Worker.objects.get(pk=self.exchange.pk)


def make_venue(name: str, *, heartbeat_age: float | None = 5, **desired: Any) -> Venue:
    now = clock.now()
    exchange = Exchange.objects.create(id=name, name=name.capitalize(), poll_interval_seconds=10, **desired)
    Worker.objects.create(
        exchange=exchange,
        resumed_at=now - timedelta(hours=1),
        status_since=now,
        heartbeat_at=None if heartbeat_age is None else now - timedelta(seconds=heartbeat_age),
    )
    return Venue(exchange)


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
