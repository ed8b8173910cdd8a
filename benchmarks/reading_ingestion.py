"""5,000 rows a second through the real write path, until it is stopped: `python -m benchmarks.reading_ingestion`."""

# ruff: noqa: E402  (Django must be set up before its models are imported)

from __future__ import annotations

import os
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketmon.settings")
django.setup()

from collectors import lease
from collectors.models import Worker
from collectors.polling import store
from collectors.rules.quote_checks import QuoteRow
from exchanges.models import Market
from feeds.base import Quote
from lib import clock

POLLS_PER_SECOND = 10


def main() -> None:
    markets: dict[str, list[tuple[int, str]]] = {}
    for number, exchange, symbol in Market.objects.order_by("id").values_list("id", "exchange_id", "symbol"):
        markets.setdefault(exchange, []).append((number, symbol))
    names = list(Worker.objects.order_by("exchange_id").values_list("exchange_id", flat=True))
    due = time.monotonic()
    while True:
        for exchange in names:
            _poll(exchange, markets[exchange])
            due += 1 / POLLS_PER_SECOND
            time.sleep(max(0.0, due - time.monotonic()))


def _poll(exchange: str, markets: list[tuple[int, str]]) -> None:
    permit = lease.take(exchange, lease_seconds=60, repeat=True)
    if permit is None:
        return
    at = clock.now()
    seconds = at.timestamp()
    price = 100 + seconds % 10
    rows = [
        QuoteRow(
            number, Quote(symbol, price, price - 1, price + 1, price + 9, price - 9, 5.0, 500.0, seconds - 1, seconds)
        )
        for number, symbol in markets
    ]
    store.finish(
        permit,
        store.Cycle(
            started_at=at,
            finished_at=at,
            outcome="stored",
            error_count=0,
            strikes=0,
            retry_at=None,
            status="running",
            accepted=rows,
            rows_answered=len(rows),
        ),
    )


if __name__ == "__main__":
    main()
