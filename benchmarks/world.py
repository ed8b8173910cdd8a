"""A database like the one we promise to collect: exchanges with their pipelines, every one with its worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from collectors.history import partitions
from collectors.models import Pipeline, Worker
from exchanges.models import Exchange, Market

INTERVAL_SECONDS = 10
BATCH = 5_000


@dataclass(frozen=True, slots=True)
class World:
    """How many exchanges, and how many markets each of them has."""

    exchanges: int
    markets: int

    @property
    def pipelines(self) -> int:
        return self.exchanges * self.markets

    @property
    def exchange_ids(self) -> Sequence[str]:
        return [f"exchange{number:03d}" for number in range(self.exchanges)]


PROMISED = World(exchanges=100, markets=500)
TINY = World(exchanges=4, markets=20)


def seed(world: World, now: datetime) -> Mapping[str, Sequence[int]]:
    """Pipeline numbers by exchange, in order. What was collected before is gone."""
    clear()
    partitions.ensure(now)
    begun = now - timedelta(hours=1)
    exchanges = [Exchange(id=name, poll_interval_seconds=INTERVAL_SECONDS) for name in world.exchange_ids]
    Exchange.objects.bulk_create(exchanges)
    Worker.objects.bulk_create(
        Worker(exchange=exchange, resumed_at=begun, status_since=begun, status="running") for exchange in exchanges
    )
    markets = [_market(exchange, number, begun) for exchange in exchanges for number in range(world.markets)]
    Market.objects.bulk_create(markets, batch_size=BATCH)
    Pipeline.objects.bulk_create(
        (Pipeline(market=market, expected_seconds=INTERVAL_SECONDS) for market in markets), batch_size=BATCH
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    numbers: dict[str, list[int]] = {exchange.id: [] for exchange in exchanges}
    for market in markets:
        numbers[market.exchange_id].append(market.id)
    return numbers


def clear() -> None:
    """No exchange, and nothing that was collected from one."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE collectors_tick, collectors_rollup, exchanges_exchange CASCADE")


def _market(exchange: Exchange, number: int, begun: datetime) -> Market:
    base = f"C{number:03d}"
    return Market(
        exchange=exchange, symbol=f"{base}/USD", base=base, quote="USD", kind="spot",
        venue_id=f"{base}USD", source=exchange.id, listed_at=begun,
    )  # fmt: skip
