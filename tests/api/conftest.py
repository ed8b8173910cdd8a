"""Rows in bulk by SQL: what pages must stay fast with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from collectors.history import partitions
from exchanges.models import SANDBOX_PLACEHOLDER, Exchange
from lib import clock
from tests.world import add_exchange

FILL = """
INSERT INTO collectors_pipeline (market_id, received_at, last, bid, ask, expected_seconds, gaps_24h, gap_open)
SELECT id, %(now)s, 100, 99, 101, 10, id %% 3, id %% 2 = 0 FROM exchanges_market;
INSERT INTO collectors_gap (pipeline_id, started_at, ended_at, missed_count, cause, evidence, detected_at)
SELECT id, %(now)s - interval '1 hour', CASE WHEN id %% 2 = 0 THEN NULL ELSE %(now)s END, 5, 'unknown', 'quiet', %(now)s
FROM exchanges_market;
INSERT INTO collectors_run (exchange_id, started_at, duration_ms, outcome, rows_answered, rows_stored,
                            rows_quarantined, quarantine, error, excerpt, correlation_id)
SELECT exchange_id, %(now)s - id * interval '1 second', 50, 'bad_reply', 0, 0, 0, '[]', 'secret words', 'words', 'c1'
FROM exchanges_market;
INSERT INTO collectors_transition (exchange_id, happened_at, from_status, to_status, reason)
SELECT exchange_id, %(now)s - id * interval '1 second', 'running', 'error', 'secret reason' FROM exchanges_market;
"""
MARKETS = """
INSERT INTO exchanges_market ({columns})
SELECT {values} FROM generate_series(1, %(count)s) AS number
"""
MARKET_VALUES = {
    "exchange_id": "(ARRAY['binance', 'kraken'])[1 + number %% 2]",
    "symbol": "'C' || number || '/USDT'",
    "base": "'C' || number",
    "quote": "'USDT'",
    "kind": "'spot'",
    "venue_id": "'C' || number || 'USDT'",
    "source": "'binance_spot'",
    "active": "true",
    "blacklisted": "false",
    "listed_at": "%(now)s",
}
FLAGS = ("excluded",)  # columns that are false unless somebody says otherwise

Fill = Callable[[int], None]


def make_exchange(exchange_id: str, now: datetime) -> Exchange:
    worker = {
        "heartbeat_at": now,
        "stored_at": now,
        "symbols_tracked": 245,
        "status": "running",
        "last_error": "secret words",
    }
    return add_exchange(
        exchange_id, since=now, name=exchange_id.title(), base_url=SANDBOX_PLACEHOLDER, worker=worker,
    )  # fmt: skip


def fill(count: int, now: datetime) -> None:
    columns = {
        column.name
        for column in connection.introspection.get_table_description(connection.cursor(), "exchanges_market")
    }
    values = MARKET_VALUES | {flag: "false" for flag in FLAGS if flag in columns}
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # TRUNCATE waits for no deferred check
        cursor.execute("TRUNCATE exchanges_market, collectors_run, collectors_transition CASCADE")
        statement = MARKETS.format(columns=", ".join(values), values=", ".join(values.values()))
        cursor.execute(statement, {"count": count, "now": now})
        cursor.execute(FILL, {"now": now})


@pytest.fixture
def now() -> datetime:
    return clock.now()


@pytest.fixture
def world(db: None, now: datetime) -> Fill:
    """Binance and Kraken, running; call it to have so many pipelines, each with a gap, a run and a transition."""
    partitions.ensure(now)
    for exchange_id in ("binance", "kraken"):
        make_exchange(exchange_id, now)
    return lambda count: fill(count, now)


@pytest.fixture
def operator(db: None, client: Client) -> Client:
    """A signed-in superuser's browser."""
    client.force_login(User.objects.create_superuser("olga", password="correct horse battery"))
    return client
