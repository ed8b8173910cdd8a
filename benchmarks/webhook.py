"""POST /metrics/collect with 50,000 pipelines on ten exchanges: seconds of one call (p99), and rows written per second.

The other way is what a webhook usually does: read the pipelines through the ORM and bulk_create their copies.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from datetime import datetime

from django.db import connection, transaction
from django.test import Client

from benchmarks import world
from benchmarks.comparison import Comparison, seconds_of
from collectors.models import Pipeline
from exchanges.models import Exchange
from lib import clock
from metrics.models import Collection, MarketPoint

EXCHANGES = 10
CALLS = 100
ORM_ROUNDS = 3
ROWS = world.EXCHANGES * world.MARKETS
GATHER = f"""
UPDATE exchanges_market SET symbol = exchange_id || symbol,
                            exchange_id = 'venue' || lpad((id % {EXCHANGES})::text, 3, '0')
"""


def comparisons() -> Iterator[Comparison]:
    _seed(clock.now())
    calls, by_orm = [], []
    for number in range(CALLS):
        calls.append(_call(number))
        if (number + 1) % (CALLS // ORM_ROUNDS) == 0:  # in between, so that a noisy neighbour meets both
            by_orm.append(seconds_of(lambda number=number: _by_orm(number)))
    calls.sort()
    ours, p99, other = statistics.median(calls), calls[int(0.99 * (len(calls) - 1))], statistics.median(by_orm)
    yield Comparison("webhook-rows", ROWS / ours, ROWS / other, goal=3.0, rounds=CALLS, note=f"{ROWS} rows a call")
    yield Comparison(
        "webhook-p99", p99, other, goal=0.5, unit="seconds", at_most=True, rounds=CALLS, note="against the ORM's median"
    )


def _seed(now: datetime) -> None:
    """The usual world, gathered on ten exchanges, every pipeline fresh."""
    world.seed(now)
    with connection.cursor() as cursor:
        cursor.execute(GATHER)
    Exchange.objects.filter(markets__isnull=True).delete()
    Pipeline.objects.update(received_at=now, last=100.0, bid=99.9, ask=100.1, base_volume=5.0)


def _call(number: int) -> float:
    Pipeline.objects.update(received_at=clock.now())
    body = json.dumps({"collection_id": f"bench{number}"})
    client = Client(SERVER_NAME="localhost")  # in ALLOWED_HOSTS without any setting
    seconds = seconds_of(lambda: _post(client, body))
    Collection.objects.all().delete()
    return seconds


def _post(client: Client, body: str) -> None:
    answer = client.post("/metrics/collect", body, "application/json")
    assert answer.json()["data_points_collected"] == ROWS, answer.content


def _by_orm(number: int) -> None:
    with transaction.atomic():
        collection = Collection.objects.create(
            collection_id=f"orm{number}", started_at=clock.now(), trigger_source="bench", status="success"
        )
        rows = Pipeline.objects.live().only("last", "bid", "ask", "base_volume", "received_at")
        made = MarketPoint.objects.bulk_create(
            [
                MarketPoint(
                    collection=collection,
                    market_id=row.market_id,
                    last=row.last,
                    bid=row.bid,
                    ask=row.ask,
                    volume_24h=row.base_volume,
                    received_at=row.received_at,
                )
                for row in rows.iterator()
            ],
            batch_size=5000,
        )
    assert len(made) == ROWS
    collection.delete()
