"""Exchanges of the sandbox, polled a moment ago, with what is wanted besides tickers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from collectors.history import partitions
from collectors.market_data import collect
from collectors.models import Worker
from collectors.models.market_data import DepthRun, DepthSeries, DepthTurn
from exchanges.models import Exchange, Market
from lib import clock
from sandbox.exchange import Exchanges
from sandbox.view import View
from tests.sandbox_client import Sandbox
from tests.world import onboard, poll


@dataclass
class Place:
    """What a test does with a simulated exchange."""

    sandbox: Sandbox
    began_at: float

    def open(self, exchange_id: str, **depth: Any) -> None:
        """Added, polled once, and nothing but tickers collected so far."""
        onboard(exchange_id, depth=depth)
        self.poll(exchange_id)

    def poll(self, exchange_id: str) -> None:
        Worker.objects.filter(pk=exchange_id).update(retry_at=None, error_count=0)
        assert poll(exchange_id) == "stored"

    def collect(self, exchange_id: str, *, at: Callable[[], datetime] = clock.now) -> dict[str, int]:
        """A round in which everything is due."""
        DepthSeries.objects.filter(exchange_id=exchange_id).update(next_at=clock.now() - timedelta(seconds=1))
        Worker.objects.filter(pk=exchange_id).update(cycle_started_at=clock.now())
        return collect.collect(exchange_id, clock=at, seconds=10)

    def want(self, exchange_id: str, **depth: Any) -> None:
        Exchange.objects.filter(pk=exchange_id).update(depth=depth)

    def market(self, exchange_id: str, symbol: str) -> int:
        return int(Market.objects.get(exchange=exchange_id, symbol=symbol).pk)

    def series(self, exchange_id: str, kind: str) -> DepthSeries:
        return DepthSeries.objects.get(exchange=exchange_id, kind=kind)

    def runs(self, exchange_id: str, kind: str) -> list[DepthRun]:
        return list(DepthRun.objects.filter(exchange=exchange_id, kind=kind).order_by("id"))

    def asked(self, exchange_id: str, path: str) -> list[dict[str, Any]]:
        return [
            request for request in self.sandbox.requests_of(exchange_id, since=self.began_at) if path in request["path"]
        ]

    def view(self, exchange_id: str, second: int) -> View:
        """What the sandbox shows at a second, computed here."""
        exchange = next(each for each in Exchanges().all() if each.id == exchange_id)
        return View(exchange_id, exchange.markets, second, second, second)

    def rest(self, exchange_id: str) -> None:
        """As if nobody had been told to wait."""
        DepthTurn.objects.filter(pk=exchange_id).update(paused_until=None, busy_until=None)


@pytest.fixture
def place(transactional_db: None, sandbox: Sandbox) -> Place:
    partitions.ensure(clock.now())
    return Place(sandbox, time.time())
