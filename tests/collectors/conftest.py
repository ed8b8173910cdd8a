"""A small world: an exchange with a worker and a few markets, and rows written through the real write path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from collectors.history import partitions
from collectors.models import Gap, Pipeline, Tick, Worker
from collectors.polling import store
from collectors.rules.quote_checks import QuoteRow
from exchanges.models import Exchange, Market
from lib import clock, valkey
from tests.world import add_exchange, add_market, cycle, quote, quotes, store_quotes

__all__ = ["World", "after", "make_world", "quote", "world"]


@dataclass
class World:
    """Kraken with three markets, polled every 10 s, collecting since an hour before `now`."""

    now: datetime
    exchange: Exchange
    markets: list[Market]

    @property
    def worker(self) -> Worker:
        return Worker.objects.get(pk=self.exchange.pk)

    def pipeline(self, number: int = 0) -> Pipeline:
        return Pipeline.objects.get(pk=self.markets[number].pk)

    def store(self, *, at: datetime, price: float = 100.0, markets: Sequence[int] = (0, 1, 2)) -> int | None:
        """One stored poll of some markets, received at `at`."""
        rows = quotes([self.markets[n].pk for n in markets], at=at, price=price)
        return store_quotes(self.exchange.id, rows, at=at)

    @staticmethod
    def cycle(
        *, at: datetime, accepted: Sequence[QuoteRow] = (), outcome: str = "stored", error_count: int = 0
    ) -> store.Cycle:
        error = "" if accepted else f"kraken was {outcome}"
        return cycle(at, outcome, accepted=accepted, error_count=error_count, error=error)

    def ticks(self, number: int = 0) -> list[Tick]:
        return list(Tick.objects.filter(pipeline_id=self.markets[number].pk).order_by("received_at"))

    def gaps(self, number: int = 0) -> list[Gap]:
        return list(Gap.objects.filter(pipeline_id=self.markets[number].pk).order_by("started_at"))


def make_world(now: datetime) -> World:
    partitions.ensure(now)
    begun = now - timedelta(hours=1)
    exchange = add_exchange("kraken", since=begun, worker={"status": "running"})
    return World(now, exchange, [add_market(exchange, base, since=begun) for base in ("BTC", "ETH", "SOL")])


@pytest.fixture
def world(transactional_db: None) -> World:
    """Real commits: the write path's stage is emptied by them."""
    valkey.client().flushdb()
    return make_world(clock.now())


@pytest.fixture
def after(world: World) -> Callable[[float], datetime]:
    """The moment so many seconds after the world's `now`."""
    return lambda seconds: world.now + timedelta(seconds=seconds)
