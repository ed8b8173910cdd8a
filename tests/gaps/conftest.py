"""Time that moves as fast as rows can be written: the real write path under a `now` of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from django.db import connection

from collectors.history import partitions
from collectors.models import Gap, Tick
from collectors.polling import store
from collectors.rules.quote_checks import QuoteRow
from lib import clock
from tests.collectors.conftest import after, world
from tests.world import INTERVAL_SECONDS as INTERVAL
from tests.world import add_exchange, add_market, cycle, permit, quotes, store_quotes

__all__ = ["INTERVAL", "Field", "after", "field_", "gaps_of", "live_moments", "world"]


@dataclass
class Field:
    """Some exchanges with some markets each, all collected since `begun`."""

    begun: datetime
    pipelines: dict[str, list[int]] = field(default_factory=dict)

    def add(self, exchange_id: str, markets: int, *, pairs: Sequence[tuple[str, str]] = ()) -> None:
        exchange = add_exchange(exchange_id, since=self.begun, worker={"status": "running"})
        names = pairs or [(f"C{number}", "USD") for number in range(markets)]
        self.pipelines[exchange_id] = [add_market(exchange, *pair, since=self.begun).pk for pair in names]

    def store(self, exchange_id: str, at: datetime, *, without: Sequence[int] = (), price: float = 100.0) -> None:
        """One good poll, received at `at`."""
        rows = self.quotes(exchange_id, at, without, price)
        assert store_quotes(exchange_id, rows, at=at) == len(rows)

    def begin_to_store(self, exchange_id: str, at: datetime) -> Callable[[], int | None]:
        """A good poll that has its permit; the rest of it may run in a thread."""
        granted, rows = permit(exchange_id), self.quotes(exchange_id, at)

        def store_it() -> int | None:
            try:
                return store.finish(granted, cycle(at, accepted=rows))
            finally:
                connection.close()

        return store_it

    def quotes(
        self, exchange_id: str, at: datetime, without: Sequence[int] = (), price: float = 100.0
    ) -> list[QuoteRow]:
        """A sound quote for each market but those in `without`."""
        return quotes([number for number in self.pipelines[exchange_id] if number not in without], at=at, price=price)

    def fail(self, exchange_id: str, at: datetime, outcome: str, *, pause_seconds: float | None = None) -> None:
        """One poll that brought nothing. The pause is recorded; PostgreSQL's own clock is not the test's."""
        retry_at = at + timedelta(seconds=pause_seconds) if pause_seconds else None
        failed = cycle(at, outcome, error_count=1, strikes=0, retry_at=retry_at, error=outcome)
        assert store.finish(permit(exchange_id), failed) == 0

    @property
    def all_pipelines(self) -> list[int]:
        return [number for numbers in self.pipelines.values() for number in numbers]


@pytest.fixture
def field_(transactional_db: None) -> Field:
    """Nothing collected yet, since an hour ago."""
    now = clock.now()
    partitions.ensure(now)
    return Field(begun=now - timedelta(hours=1))


def gaps_of(pipeline: int) -> list[Gap]:
    return list(Gap.objects.filter(pipeline_id=pipeline).order_by("started_at"))


def live_moments(pipeline: int) -> list[datetime]:
    ticks = Tick.objects.filter(pipeline_id=pipeline, origin=0).order_by("received_at")
    return list(ticks.values_list("received_at", flat=True))
