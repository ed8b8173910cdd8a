from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from collectors.models import Worker
from exchanges.models import Exchange
from lib import clock
from tests.api.conftest import Fill

ROUTES = ("/api/v1/market/workers/status", "/api/v1/exchanges/workers/status")


@pytest.mark.parametrize("route", [*ROUTES, *(f"{route}/" for route in ROUTES)])
def test_the_body_is_as_documented(client: Client, world: Fill, now: datetime, route: str) -> None:
    response = client.get(route)

    body = response.json()
    assert response.status_code == 200
    assert list(body) == ["workers", "timestamp"]
    assert list(body["workers"]) == ["binance", "kraken"]
    assert list(body["workers"]["kraken"].items()) == [
        ("exchange", "kraken"),
        ("status", "running"),
        ("last_update", clock.seconds_z(now)),
        ("error_count", 0),
        ("symbols_tracked", 245),
    ]
    assert response["Cache-Control"] == "no-store"


def test_each_status_is_told_by_what_was_stored(client: Client, world: Fill, now: datetime) -> None:
    Exchange.objects.filter(pk="binance").update(blacklisted=True)
    Worker.objects.filter(pk="kraken").update(error_count=3)

    workers = client.get(ROUTES[0]).json()["workers"]

    assert workers["binance"]["status"] == "stopped"
    assert workers["kraken"]["status"] == "error"


def test_a_worker_that_never_stored_has_no_last_update(client: Client, world: Fill, now: datetime) -> None:
    Worker.objects.filter(pk="kraken").update(stored_at=None)

    assert client.get(ROUTES[0]).json()["workers"]["kraken"]["last_update"] is None


def test_silence_turns_a_worker_to_error_though_nothing_writes_it(client: Client, world: Fill, now: datetime) -> None:
    long_ago = now - timedelta(minutes=10)
    Worker.objects.filter(pk="kraken").update(heartbeat_at=long_ago, resumed_at=long_ago)

    assert client.get(ROUTES[0]).json()["workers"]["kraken"]["status"] == "error"


def test_collection_switched_off_is_503_in_each_documents_words(client: Client, world: Fill, settings) -> None:
    settings.COLLECTION_ENABLED = False

    market, exchanges = (client.get(route) for route in ROUTES)

    assert market.status_code == exchanges.status_code == 503
    assert list(market.json()) == ["error", "timestamp"]
    assert market.json()["error"] == "Collector service is not available"
    assert exchanges.json() == {"error": "Collector service not available"}
    assert exchanges["Cache-Control"] == "no-store"


def test_a_strangers_session_and_accept_header_change_nothing(client: Client, world: Fill) -> None:
    response = client.get(ROUTES[0], headers={"Accept": "application/xml", "Cookie": "sessionid=forged"})

    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"


def test_ten_times_the_pipelines_cost_no_more_queries(client: Client, world: Fill) -> None:
    counts = []
    for pipelines in (10, 1000):
        world(pipelines)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            client.get(ROUTES[0])
        counts.append(len(queries))

    assert counts[0] == counts[1] <= 2


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_other_methods_are_405_in_json(client: Client, db: None, method: str) -> None:
    response = getattr(client, method)(ROUTES[0])

    assert response.status_code == 405
    assert response.json()["error"] == "Method Not Allowed"
    assert "GET" in response["Allow"]
