"""A pipeline whose past is filled by the real claim and the real save, at moments of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from collectors.backfill import answers, choice, outcome
from collectors.history import knowing, partitions, reading, rollups
from collectors.models import Gap, Watermark, Worker
from collectors.rate_limits.idle_window import RequestSlot
from exchanges.models import Exchange
from feeds.base import Candle, Trade
from lib import clock
from tests.gaps.conftest import Field
from tests.world import add_market

MINUTE = timedelta(minutes=1)
Answer = Sequence[Candle] | Sequence[Trade]


@dataclass
class Past:
    """Minutes of one pipeline, beginning at `start`; `at(n)` is the beginning of the n-th."""

    start: datetime
    pipeline: int
    field_: Field

    def at(self, minutes: float) -> datetime:
        return self.start + minutes * MINUTE

    def live(self, minutes: float, price: float = 100.0) -> None:
        self.field_.store("kraken", self.at(minutes), price=price)

    def gap(self, start: float, end: float) -> Gap:
        """The gap that the row at its end has made already, or one of the test's own."""
        known = {"ended_at": self.at(end), "missed_count": 1, "detected_at": self.at(end)}
        return Gap.objects.get_or_create(pipeline_id=self.pipeline, started_at=self.at(start), defaults=known)[0]

    def candle(self, minute: int, *prices: float, volume: float | None = 5.0) -> Candle:
        return Candle(self.at(minute).timestamp(), *prices, volume)  # type: ignore[arg-type]

    def trade(self, minutes: float, price: float) -> Trade:
        return Trade(None, self.at(minutes).timestamp(), price, 1.0, "buy")

    def fill(self, rows: Answer | Callable[[answers.GapSpan], Answer], *, at: float) -> int:
        """One answer of the exchange about the newest gap that is due, stored at a moment."""
        exchange, now = Exchange.objects.get(), self.at(at)
        turn = RequestSlot(exchange, exchange.worker.generation, 1.0)
        span = choice.claim("kraken", now)
        assert span is not None
        found = rows(span) if callable(rows) else rows
        read = answers.from_trades if found and isinstance(found[0], Trade) else answers.from_candles
        return outcome.save(turn, span, read(found, span), now)  # type: ignore[operator]

    def roll_up(self, until: float) -> None:
        rollups.run(self.at(until) + timedelta(seconds=30))

    def begin_anew(self) -> None:
        """Another pipeline over the same ten hours, of which nothing is stored yet."""
        Worker.objects.update(stored_at=None)
        Watermark.objects.filter(name=rollups.CURSOR).update(reached_at=self.start)
        market = add_market(Exchange.objects.get(), f"N{self.pipeline}", since=self.start)
        self.pipeline = self.field_.pipelines["kraken"][0] = market.pk

    def minutes(self, *, as_of: float | datetime | None = None, **wanted: Any) -> list[dict[str, Any]]:
        moment = self.at(as_of) if isinstance(as_of, int | float) else as_of
        usual = {"start": self.start, "end": self.at(600), "limit": 1000, "now": self.at(600), "grain": "minute"}
        found = reading.read(self.pipeline, as_of=moment, **{**usual, **wanted})
        return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


@pytest.fixture
def past(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Past:
    """A pipeline that was collected for ten hours, of which nothing is stored yet; what was known when is known."""
    # A whole hour, so that bars of minutes begin where the tests' do.
    start = (clock.now() - timedelta(hours=11)).replace(minute=0, second=0, microsecond=0)
    monkeypatch.setattr(knowing, "known_since", lambda: datetime(2020, 1, 1, tzinfo=UTC))
    partitions.ensure_since(start, clock.now(), tables=(*partitions.QUOTES, *partitions.DEPTH))
    partitions.ensure(clock.now())
    made = Field(begun=start)
    made.add("kraken", 1)
    Watermark.objects.create(name=rollups.CURSOR, reached_at=start)
    return Past(start, made.pipelines["kraken"][0], made)
