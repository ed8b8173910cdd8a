"""A small world: an exchange with a worker and a few markets, and rows written through the real write path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from django.db import connection

from collectors import lease
from collectors.history import partitions
from collectors.models import Gap, Pipeline, Tick, Worker
from collectors.polling import store
from collectors.rules.quote_checks import QuoteRow
from exchanges.models import Exchange, Market
from feeds.base import Quote
from lib import clock, valkey


def quote(symbol: str = "BTC/USD", *, received_at: float = 1_795_000_000.0, **fields: object) -> Quote:
    """A sound quote, with the named fields replaced."""
    sound = Quote(symbol, 100.0, 99.0, 101.0, 110.0, 90.0, 5.0, 500.0, received_at - 1, received_at)
    return sound._replace(**fields)  # type: ignore[arg-type]


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
        permit = lease.take(self.exchange.id, lease_seconds=8, repeat=True)
        assert permit is not None
        rows = [QuoteRow(self.markets[n].pk, quote(received_at=at.timestamp(), last=price)) for n in markets]
        return store.finish(permit, self.cycle(at=at, accepted=rows))

    @staticmethod
    def cycle(
        *, at: datetime, accepted: Sequence[QuoteRow] = (), outcome: str = "stored", error_count: int = 0
    ) -> store.Cycle:
        return store.Cycle(
            started_at=at,
            finished_at=at,
            outcome=outcome,
            error_count=error_count,
            strikes=error_count,
            retry_at=None,
            status="running",
            accepted=accepted,
            error="" if accepted else f"kraken was {outcome}",
        )

    def ticks(self, number: int = 0) -> list[Tick]:
        return list(Tick.objects.filter(pipeline_id=self.markets[number].pk).order_by("received_at"))

    def gaps(self, number: int = 0) -> list[Gap]:
        return list(Gap.objects.filter(pipeline_id=self.markets[number].pk).order_by("started_at"))


def make_world(now: datetime) -> World:
    partitions.ensure(now)
    exchange = Exchange.objects.create(id="kraken", poll_interval_seconds=10)
    begun = now - timedelta(hours=1)
    Worker.objects.create(exchange=exchange, resumed_at=begun, status_since=begun, status="running")
    markets = [
        Market.objects.create(
            exchange=exchange, symbol=f"{base}/USD", base=base, quote="USD", kind="spot",
            venue_id=base, source="kraken", listed_at=begun,
        )
        for base in ("BTC", "ETH", "SOL")
    ]  # fmt: skip
    Pipeline.objects.bulk_create(Pipeline(market=market, expected_seconds=10) for market in markets)
    return World(now, exchange, markets)


@pytest.fixture
def world(transactional_db: None) -> Iterator[World]:
    """Real commits: the write path's stage is emptied by them."""
    valkey.client().flushdb()
    yield make_world(clock.now())
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE collectors_tick, collectors_rollup")  # not managed by Django, so not flushed by it


@pytest.fixture
def after(world: World) -> Callable[[float], datetime]:
    """The moment so many seconds after the world's `now`."""
    return lambda seconds: world.now + timedelta(seconds=seconds)
