"""Two exchanges with fresh pipelines, and candles by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from collectors.history import partitions
from collectors.models import Pipeline, Tick
from exchanges.models import Market
from lib import clock
from metrics import candles, collection
from metrics.models import Candle, Series
from tests.metrics.series import HOUR, bars_of
from tests.world import add_exchange, add_market

STORED = {"last": 100.0, "bid": 99.5, "ask": 100.5, "base_volume": 7.0}


@dataclass
class Place:
    """binance and kraken, three markets each, all stored a moment ago."""

    now: datetime
    markets: dict[str, Market]

    def market(self, name: str = "binance:BTC/USDT") -> Market:
        return self.markets[name]

    def age(self, exchange: str, seconds: float) -> None:
        Pipeline.objects.filter(market__exchange=exchange).update(received_at=self.now - timedelta(seconds=seconds))

    def series(self, name: str = "binance:BTC/USDT", timeframe: str = "1h") -> Series:
        return Series.objects.get_or_create(market=self.markets[name], timeframe=timeframe)[0]

    def candles(
        self,
        closes: Sequence[float],
        *,
        name: str = "binance:BTC/USDT",
        now: datetime | None = None,
        fetched_at: datetime | None = None,
    ) -> None:
        """So many closed hours up to the newest one."""
        now = now or self.now
        newest_at = candles.newest_closed(now, HOUR)
        bars = bars_of(closes)
        first = newest_at - (len(bars) - 1) * HOUR
        Candle.objects.bulk_create(
            (
                Candle(
                    market=self.markets[name],
                    timeframe="1h",
                    opened_at=datetime.fromtimestamp(first + n * HOUR, UTC),
                    open=bar.open,
                    high=bar.high,
                    low=bar.low,
                    close=bar.close,
                    fetched_at=fetched_at or now - timedelta(seconds=1),
                )
                for n, bar in enumerate(bars)
            ),
            ignore_conflicts=True,
        )

    def tick(self, price: float, *, at: datetime, name: str = "binance:BTC/USDT") -> None:
        Tick.objects.create(pipeline_id=self.markets[name].pk, origin=0, received_at=at, last=price)


def make_place(now: datetime) -> Place:
    partitions.ensure(now)
    markets = {}
    for exchange_id, quote in (("binance", "USDT"), ("kraken", "USD")):
        exchange = add_exchange(
            exchange_id, since=now - timedelta(hours=1), base_url="http://127.0.0.1:9",
            worker={"status_since": now, "heartbeat_at": now, "stored_at": now},
        )  # fmt: skip
        for base in ("BTC", "ETH", "SOL"):
            markets[f"{exchange_id}:{base}/{quote}"] = add_market(
                exchange,
                base,
                quote,
                since=now,
                source=f"{exchange_id}_spot",
                taker_fee=0.001,
                pipeline=STORED | {"received_at": now},
            )
    return Place(now, markets)


@pytest.fixture
def place(transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Place:
    settings.METRICS_MARKETS = []
    monkeypatch.setattr(collection, "EXCHANGE_SECONDS", 3.0)
    return make_place(clock.now())


@pytest.fixture
def api() -> Client:
    return Client(raise_request_exception=False)
