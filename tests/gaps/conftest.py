"""Time that moves as fast as rows can be written: the real write path under a `now` of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from django.db import connection

from collectors import lease
from collectors.history import partitions
from collectors.models import Gap, Pipeline, Tick, Worker
from collectors.polling import store
from collectors.rules.quote_checks import QuoteRow
from exchanges.models import Exchange, Market
from lib import clock
from tests.collectors.conftest import after, quote, world  # noqa: F401

INTERVAL = 10


@dataclass
class Field:
    """Some exchanges with some markets each, all collected since `begun`."""

    begun: datetime
    pipelines: dict[str, list[int]] = field(default_factory=dict)

    def add(self, exchange_id: str, markets: int, *, pairs: Sequence[tuple[str, str]] = ()) -> None:
        exchange = Exchange.objects.create(id=exchange_id, poll_interval_seconds=INTERVAL)
        Worker.objects.create(exchange=exchange, resumed_at=self.begun, status_since=self.begun, status="running")
        names = pairs or [(f"C{number}", "USD") for number in range(markets)]
        rows = [
            Market.objects.create(
                exchange=exchange, symbol=f"{base}/{quote}", base=base, quote=quote, kind="spot",
                venue_id=base + quote, source=exchange_id, listed_at=self.begun,
            )
            for base, quote in names
        ]  # fmt: skip
        Pipeline.objects.bulk_create(Pipeline(market=market, expected_seconds=INTERVAL) for market in rows)
        self.pipelines[exchange_id] = [market.pk for market in rows]

    def store(self, exchange_id: str, at: datetime, *, without: Sequence[int] = (), price: float = 100.0) -> None:
        """One good poll, received at `at`."""
        quotes = self._quotes(exchange_id, at, without, price)
        assert store.finish(_permit(exchange_id), _cycle(at, "stored", accepted=quotes)) == len(quotes)

    def begin_to_store(self, exchange_id: str, at: datetime) -> Callable[[], int | None]:
        """A good poll that has its permit; the rest of it may run in a thread."""
        permit, quotes = _permit(exchange_id), self._quotes(exchange_id, at)

        def store_it() -> int | None:
            try:
                return store.finish(permit, _cycle(at, "stored", accepted=quotes))
            finally:
                connection.close()

        return store_it

    def _quotes(
        self, exchange_id: str, at: datetime, without: Sequence[int] = (), price: float = 100.0
    ) -> list[QuoteRow]:
        return [
            QuoteRow(number, quote(received_at=at.timestamp(), last=price))
            for number in self.pipelines[exchange_id]
            if number not in without
        ]

    def fail(self, exchange_id: str, at: datetime, outcome: str, *, pause_seconds: float | None = None) -> None:
        """One poll that brought nothing. The pause is recorded; PostgreSQL's own clock is not the test's."""
        retry_at = at + timedelta(seconds=pause_seconds) if pause_seconds else None
        assert store.finish(_permit(exchange_id), _cycle(at, outcome, retry_at=retry_at)) == 0

    @property
    def all_pipelines(self) -> list[int]:
        return [number for numbers in self.pipelines.values() for number in numbers]


def _permit(exchange_id: str) -> lease.Permit:
    Worker.objects.filter(pk=exchange_id).update(retry_at=None)
    permit = lease.take(exchange_id, lease_seconds=60, repeat=True)
    assert permit is not None
    return permit


def _cycle(
    at: datetime, outcome: str, *, accepted: Sequence[QuoteRow] = (), retry_at: datetime | None = None
) -> store.Cycle:
    return store.Cycle(
        started_at=at, finished_at=at, outcome=outcome, error_count=int(outcome != "stored"), strikes=0,
        retry_at=retry_at, status="running", accepted=accepted, error="" if accepted else outcome,
    )  # fmt: skip


@pytest.fixture
def field_(transactional_db: None) -> Iterator[Field]:
    """Nothing collected yet, since an hour ago."""
    now = clock.now()
    partitions.ensure(now)
    yield Field(begun=now - timedelta(hours=1))
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE collectors_tick, collectors_rollup")


def gaps_of(pipeline: int) -> list[Gap]:
    return list(Gap.objects.filter(pipeline_id=pipeline).order_by("started_at"))


def live_moments(pipeline: int) -> list[datetime]:
    ticks = Tick.objects.filter(pipeline_id=pipeline, origin=0).order_by("received_at")
    return list(ticks.values_list("received_at", flat=True))
