"""A database of the size we promise to collect: 100 exchanges with 500 pipelines each, every one with its worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.db import connection

from collectors.history import partitions
from collectors.models import Pipeline, Worker
from exchanges.models import Exchange, Market

EXCHANGES = 100
MARKETS = 500
INTERVAL_SECONDS = 10
BATCH = 5_000


def seed(now: datetime) -> Mapping[str, Sequence[int]]:
    """Pipeline numbers by exchange, in order. What was collected before is gone."""
    _clear()
    partitions.ensure(now)
    begun = now - timedelta(hours=1)
    exchanges = [Exchange(id=f"venue{n:03d}", poll_interval_seconds=INTERVAL_SECONDS) for n in range(EXCHANGES)]
    Exchange.objects.bulk_create(exchanges)
    Worker.objects.bulk_create(
        Worker(exchange=exchange, resumed_at=begun, status_since=begun, status="running") for exchange in exchanges
    )
    markets = [_market(exchange, number, begun) for exchange in exchanges for number in range(MARKETS)]
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


def _market(exchange: Exchange, number: int, begun: datetime) -> Market:
    base = f"C{number:03d}"
    return Market(
        exchange=exchange, symbol=f"{base}/USD", base=base, quote="USD", kind="spot",
        venue_id=f"{base}USD", source=exchange.id, listed_at=begun,
    )  # fmt: skip


def _clear() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE collectors_tick, collectors_rollup, exchanges_exchange CASCADE")
