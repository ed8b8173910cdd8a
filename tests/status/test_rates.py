from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from collectors.rules.snapshot import SourcePrice
from collectors.status import rates
from tests.status.conftest import Venue

NOON = datetime(2026, 3, 23, 12, 0, tzinfo=UTC)


def price(exchange: str, value: float, *, volume: float | None = 1.0, age: float = 5) -> SourcePrice:
    return SourcePrice(exchange, value, volume, NOON - timedelta(seconds=age))


def rate(*prices: SourcePrice) -> rates.Rate:
    return rates.rate_of("BTCNGN", prices, NOON, outlier_share=0.05)


def get(client: Client, key: str, **query: str) -> Any:
    return client.get("/v1/rates/live", query, headers={"X-API-Key": key})


def test_volumes_weigh() -> None:
    assert rate(price("luno", 100, volume=3), price("quidax", 104, volume=1)).vwap == 101


@pytest.mark.parametrize("volume", [None, 0.0])
def test_without_volumes_there_is_no_weighted_price(volume: float | None) -> None:
    assert rate(price("luno", 100, volume=volume)).vwap is None


def test_an_outlier_among_three_is_left_out_and_named() -> None:
    found = rate(price("luno", 100), price("quidax", 101), price("valr", 150))

    assert [source.exchange for source in found.sources] == ["luno", "quidax"]
    assert found.excluded == ("valr",)
    assert found.vwap == 100.5


def test_of_two_that_differ_nobody_knows_which_is_wrong() -> None:
    assert rate(price("luno", 100), price("quidax", 150)).excluded == ()


@pytest.mark.parametrize(("age", "used"), [(1800, True), (1801, False)])
def test_sources_older_than_30_minutes_do_not_count(age: int, used: bool) -> None:
    assert bool(rate(price("luno", 100, age=age)).sources) is used


def test_an_old_source_neither_counts_nor_judges() -> None:
    found = rate(price("luno", 100), price("quidax", 150), price("valr", 149, age=5000))

    assert (found.excluded, len(found.sources)) == ((), 2)


def test_the_answer(noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]) -> None:
    venue("luno").market("BTC", "NGN", age=7, last=100.0, base_volume=3.0)
    venue("quidax").market("BTC", "NGN", age=9, bid=103.0, ask=105.0, base_volume=1.0)

    assert get(client, key_of("free"), pairs="btcngn").json() == {
        "rates": [
            {
                "pair": "BTCNGN",
                "vwap": 101.0,
                "timestamp": "2026-03-23T11:59:53Z",
                "sources": [
                    {"exchange": "luno", "price": 100.0, "volume": 3.0},
                    {"exchange": "quidax", "price": 104.0, "volume": 1.0},
                ],
                "freshness_seconds": 7,
            }
        ]
    }


@pytest.mark.parametrize(("age", "max_age", "stale"), [(60, "60", None), (61, "60", True), (61, "61", None)])
def test_stale_is_said_only_of_older_rates(
    noon: Any,
    client: Client,
    venue: Callable[..., Venue],
    key_of: Callable[..., str],
    age: int,
    max_age: str,
    stale: bool | None,
) -> None:
    venue("luno").market("BTC", "NGN", age=age, last=100.0, base_volume=3.0)

    answer = get(client, key_of("free"), pairs="BTCNGN", max_age=max_age).json()

    assert answer["rates"][0].get("stale") is stale


def test_one_exchange_speaks_once_and_by_its_spot_market(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    luno = venue("luno")
    luno.market("BTC", "NGN", age=9, last=100.0, base_volume=3.0)
    luno.market("BTC", "NGN", kind="swap", age=1, last=120.0, base_volume=3.0)

    answer = get(client, key_of("free"), pairs="BTCNGN").json()

    assert answer["rates"][0]["sources"] == [{"exchange": "luno", "price": 100.0, "volume": 3.0}]


def test_a_stopped_exchange_sets_no_price(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    venue("luno", enabled=False).market("BTC", "NGN", age=9, last=100.0, base_volume=3.0)

    assert get(client, key_of("free"), pairs="BTCNGN").status_code == 503


def test_only_old_sources_are_503_with_the_error_body(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    venue("luno").market("BTC", "NGN", age=1801, last=100.0, base_volume=3.0)

    answer = get(client, key_of("free"), pairs="BTCNGN")

    assert answer.status_code == 503
    assert answer.json() == {
        "error": "service_unavailable",
        "message": "No source of these pairs is younger than 30 minutes.",
        "status": 503,
    }


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"pairs": "NOPE"}, "invalid_pair"),
        ({"pairs": "BTCNGN", "max_age": "0"}, "invalid_max_age"),
        ({"pairs": "BTCNGN", "max_age": "1801"}, "invalid_max_age"),
        ({"pairs": "BTCNGN", "max_age": "soon"}, "invalid_max_age"),
        ({"pairs": ",".join(["BTCNGN"] * 201)}, "invalid_pairs"),
    ],
    ids=["pair", "0", "1801", "soon", "201 pairs"],
)
def test_wrong_parameters(
    noon: Any,
    client: Client,
    venue: Callable[..., Venue],
    key_of: Callable[..., str],
    query: dict[str, str],
    code: str,
) -> None:
    venue("luno").market("BTC", "NGN", age=5, last=100.0, base_volume=3.0)

    answer = get(client, key_of("free"), **query)

    assert (answer.status_code, answer.json()["error"], answer.json()["status"]) == (400, code, 400)


def test_without_names_all_pairs_come_up_to_the_plans_rows(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    luno = venue("luno")
    for base in ("BTC", "ETH", "SOL"):
        luno.market(base, "NGN", age=5, last=100.0, base_volume=3.0)

    answer = get(client, key_of("free", tier_changes={"max_rows": 2}))

    assert [rate["pair"] for rate in answer.json()["rates"]] == ["BTCNGN", "ETHNGN"]
    assert answer.headers["X-Rows-Capped"] == "true"
