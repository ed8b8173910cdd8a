"""Old, frozen and halted in both documents: time, seconds and status move together, whichever way they are read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from collectors.models import Pipeline, Worker
from exchanges.models import Market
from tests.status.conftest import Venue

NOON = datetime(2026, 3, 23, 12, 0, tzinfo=UTC)
WAYS = {"everything": {}, "a source": {"source": "luno"}, "a symbol": {"symbol": "BTC"}}

Make = Callable[..., Venue]


def freeze(market: Market, *, seconds: float) -> None:
    Pipeline.objects.filter(pk=market.pk).update(frozen=True, changed_at=NOON - timedelta(seconds=seconds))


def make_old(exchange: str, *, seconds: float, kind: str = "spot") -> None:
    made_at = (NOON - timedelta(seconds=seconds)).timestamp()
    told = {"made_at": made_at, "lag_seconds": seconds, "old_since": NOON.timestamp(), "reason": "old by its own time"}
    Worker.objects.filter(pk=exchange).update(old_answers={kind: told})


def pipeline(client: Client, key: str, **query: str) -> tuple[str, int, str]:
    (row,) = client.get("/v1/status/pipelines", query, headers={"X-API-Key": key}).json()["data"]
    return row["last_ingested"], row["delay_seconds"], row["status"]


def pairs(client: Client, key: str) -> tuple[str, tuple[str, int, str]]:
    body = client.get("/v1/status/pairs", headers={"X-API-Key": key}).json()
    (row,) = body["pairs"]
    return body["status"], (row["last_update"], row["freshness_seconds"], row["status"])


@pytest.mark.parametrize("query", WAYS.values(), ids=WAYS)
def test_a_frozen_market_is_as_old_as_its_last_change(
    noon: Any, client: Client, venue: Make, key_of: Callable[..., str], query: dict[str, str]
) -> None:
    freeze(venue("luno").market("BTC", age=2), seconds=700)

    assert pipeline(client, key_of("pro"), **query) == ("2026-03-23T11:48:20Z", 700, "down")


@pytest.mark.parametrize("query", WAYS.values(), ids=WAYS)
def test_an_old_answer_is_as_old_as_the_exchange_says(
    noon: Any, client: Client, venue: Make, key_of: Callable[..., str], query: dict[str, str]
) -> None:
    venue("luno").market("BTC", age=2)
    make_old("luno", seconds=200)

    assert pipeline(client, key_of("pro"), **query) == ("2026-03-23T11:56:40Z", 200, "degraded")


@pytest.mark.parametrize("query", WAYS.values(), ids=WAYS)
def test_a_halted_market_is_never_healthy(
    noon: Any, client: Client, venue: Make, key_of: Callable[..., str], query: dict[str, str]
) -> None:
    market = venue("luno").market("BTC", age=2)
    Market.objects.filter(pk=market.pk).update(halted_at=NOON)

    assert pipeline(client, key_of("pro"), **query) == ("2026-03-23T11:59:58Z", 2, "degraded")


@pytest.mark.parametrize("query", WAYS.values(), ids=WAYS)
def test_a_row_of_several_markets_is_as_good_as_its_best(
    noon: Any, client: Client, venue: Make, key_of: Callable[..., str], query: dict[str, str]
) -> None:
    luno = venue("luno")
    halted, frozen = luno.market("BTC", "EUR", age=1), luno.market("BTC", "USD", age=2)
    luno.market("BTC", "ZAR", age=30)
    Market.objects.filter(pk=halted.pk).update(halted_at=NOON)
    freeze(frozen, seconds=700)

    assert pipeline(client, key_of("pro"), **query) == ("2026-03-23T11:59:30Z", 30, "healthy")


def test_an_old_kind_leaves_the_other_kinds_alone(
    noon: Any, client: Client, venue: Make, key_of: Callable[..., str]
) -> None:
    luno = venue("luno")
    luno.market("BTC", source="luno_spot", age=2)
    luno.market("BTC", source="luno_futures", kind="swap", age=2)
    make_old("luno", seconds=3600, kind="swap")

    rows = client.get("/v1/status/pipelines", headers={"X-API-Key": key_of("pro")}).json()["data"]

    assert [(row["source"], row["status"]) for row in rows] == [("luno_futures", "down"), ("luno_spot", "healthy")]


def test_pairs_move_together_too(noon: Any, client: Client, venue: Make, key_of: Callable[..., str]) -> None:
    market = venue("luno").market("BTC", age=2)
    key = key_of("free")

    make_old("luno", seconds=3600)
    assert pairs(client, key) == ("outage", ("2026-03-23T11:00:00Z", 3600, "unavailable"))

    Worker.objects.update(old_answers={})
    freeze(market, seconds=700)
    assert pairs(client, key) == ("degraded", ("2026-03-23T11:48:20Z", 700, "stale"))


def test_a_pair_that_is_halted_is_stale_and_degrades_nothing(
    noon: Any, client: Client, venue: Make, key_of: Callable[..., str]
) -> None:
    luno = venue("luno")
    luno.market("ETH", age=2)
    market = luno.market("BTC", age=2)
    Market.objects.filter(pk=market.pk).update(halted_at=NOON)

    body = client.get("/v1/status/pairs", headers={"X-API-Key": key_of("free")}).json()

    assert [(row["pair"], row["status"]) for row in body["pairs"]] == [("BTCUSD", "stale"), ("ETHUSD", "fresh")]
    assert body["status"] == "operational"
