"""POST /metrics/collect with 50,000 pipelines on ten exchanges: seconds of one call (p99), and rows written per second.

The other way is what a webhook usually does: read the pipelines through the ORM and bulk_create their copies.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.test import Client

from benchmarks import world
from benchmarks.comparison import Comparison, seconds_of
from benchmarks.world import World
from collectors.models import Pipeline
from exchanges.models import Exchange
from lib import clock
from metrics.models import Collection, MarketPoint

GATHER = """
UPDATE exchanges_market SET symbol = exchange_id || symbol, venue_id = exchange_id || venue_id,
                            exchange_id = (%(exchange_ids)s::text[])[1 + id %% %(count)s]
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The world's pipelines, gathered on so many exchanges."""

    world: World
    exchanges: int
    calls: int
    orm_rounds: int


FULL = Sizes(world.PROMISED, exchanges=10, calls=100, orm_rounds=3)
SMOKE = Sizes(world.TINY, exchanges=2, calls=3, orm_rounds=1)


def comparisons(sizes: Sizes) -> Iterator[Comparison]:
    _seed(sizes, clock.now())
    rows = sizes.world.pipelines
    calls, by_orm = [], []
    for number in range(sizes.calls):
        calls.append(_call(number, rows))
        if (number + 1) % (sizes.calls // sizes.orm_rounds) == 0:  # in between, so that a noisy neighbour meets both
            by_orm.append(_by_orm(number, rows))
    calls.sort()
    ours, p99, other = statistics.median(calls), calls[int(0.99 * (len(calls) - 1))], statistics.median(by_orm)
    yield Comparison(
        "webhook-rows", rows / ours, rows / other, goal=3.0, rounds=sizes.calls, note=f"{rows} rows a call"
    )
    yield Comparison(
        "webhook-p99", p99, other, goal=0.5, unit="seconds", at_most=True, rounds=sizes.calls,
        note="against the ORM's median",
    )  # fmt: skip


def _seed(sizes: Sizes, now: datetime) -> None:
    """The usual world, gathered on a few of its exchanges, every pipeline fresh."""
    world.seed(sizes.world, now)
    with connection.cursor() as cursor:
        exchange_ids = list(sizes.world.exchange_ids[: sizes.exchanges])
        cursor.execute(GATHER, {"exchange_ids": exchange_ids, "count": sizes.exchanges})
    Exchange.objects.filter(markets__isnull=True).delete()
    Pipeline.objects.update(received_at=now, last=100.0, bid=99.9, ask=100.1, base_volume=5.0)


def _call(number: int, rows: int) -> float:
    Pipeline.objects.update(received_at=clock.now())
    body = json.dumps({"collection_id": f"bench{number}"})
    client = Client(SERVER_NAME="localhost")  # in ALLOWED_HOSTS without any setting
    seconds = seconds_of(lambda: _post(client, body, rows))
    Collection.objects.all().delete()
    return seconds


def _post(client: Client, body: str, rows: int) -> None:
    answer = client.post("/metrics/collect", body, "application/json")
    assert answer.json()["data_points_collected"] == rows, answer.content


def _by_orm(number: int, rows: int) -> float:
    collection = Collection(
        collection_id=f"orm{number}", started_at=clock.now(), trigger_source="bench", status="success"
    )
    seconds = seconds_of(lambda: _store_by_orm(collection))
    assert collection.points.count() == rows
    collection.delete()
    return seconds


def _store_by_orm(collection: Collection) -> None:
    rows = Pipeline.objects.live().only("last", "bid", "ask", "base_volume", "received_at")
    with transaction.atomic():
        collection.save()
        MarketPoint.objects.bulk_create((_point(collection, row) for row in rows.iterator()), batch_size=5000)


def _point(collection: Collection, row: Pipeline) -> MarketPoint:
    assert row.received_at is not None
    return MarketPoint(
        collection=collection, market_id=row.market_id, last=row.last, bid=row.bid, ask=row.ask,
        volume_24h=row.base_volume, received_at=row.received_at,
    )  # fmt: skip
