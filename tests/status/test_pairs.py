from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from collectors.status.dialects import pairs
from exchanges.models import Exchange
from tests.status.conftest import NOW, Venue

DOCUMENTED = {
    "status": "operational",
    "collectors": [
        {"exchange": "luno", "status": "running", "last_heartbeat": "2026-03-23T11:59:55Z"},
        {"exchange": "quidax", "status": "running", "last_heartbeat": "2026-03-23T11:59:58Z"},
    ],
    "pairs": [
        {"pair": "BTCNGN", "last_update": "2026-03-23T11:59:53Z", "freshness_seconds": 7, "status": "fresh"},
        {"pair": "USDTNGN", "last_update": "2026-03-23T11:59:56Z", "freshness_seconds": 4, "status": "fresh"},
    ],
    "timestamp": "2026-03-23T12:00:00Z",
}


def get(client: Client, key: str, path: str = "/v1/status", **query: str) -> Any:
    return client.get(path, query, headers={"X-API-Key": key})


def test_the_documented_answer(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    luno, quidax = venue("luno", heartbeat_age=5), venue("quidax", heartbeat_age=2)
    luno.market("BTC", "NGN", age=7)
    quidax.market("BTC", "NGN", age=100)
    quidax.market("USDT", "NGN", age=4)

    answer = get(client, key_of("free"))

    assert answer.status_code == 200
    assert answer.json() == DOCUMENTED
    assert list(answer.json()) == list(DOCUMENTED)
    assert list(answer.json()["pairs"][0]) == list(DOCUMENTED["pairs"][0])


@pytest.mark.parametrize(
    ("age", "word"),
    [
        (0, "fresh"),
        (599, "fresh"),
        (600, "stale"),
        (1800, "stale"),
        (1801, "unavailable"),
    ],
)
def test_freshness_turns_at_its_edges(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str], age: int, word: str
) -> None:
    venue("luno").market("BTC", "NGN", age=0)
    key = key_of("pro")

    noon.shift(age)
    pair = get(client, key).json()["pairs"][0]

    assert (pair["status"], pair["freshness_seconds"]) == (word, age)


@pytest.mark.parametrize(("second", "word"), [(599, "fresh"), (600, "stale"), (1800, "stale"), (1801, "unavailable")])
def test_the_edge_is_seen_from_one_second_to_the_next(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str], second: int, word: str
) -> None:
    venue("luno").market("BTC", "NGN", age=0.9)
    key = key_of("pro")

    noon.shift(second - 2)
    get(client, key)
    noon.shift(1)
    pair = get(client, key).json()["pairs"][0]

    assert (pair["status"], pair["freshness_seconds"]) == (word, second)


def test_a_pair_without_a_row_is_unavailable_and_null(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    venue("luno").market("BTC", "NGN", age=None)

    body = get(client, key_of("free")).json()

    assert body["pairs"] == [
        {"pair": "BTCNGN", "last_update": None, "freshness_seconds": None, "status": "unavailable"}
    ]
    assert body["status"] == "outage"


def test_a_pair_is_as_fresh_as_its_freshest_source(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    venue("luno").market("BTC", "NGN", age=2000)
    venue("quidax").market("BTC", "NGN", age=9)

    body = get(client, key_of("free")).json()

    assert [pair["freshness_seconds"] for pair in body["pairs"]] == [9]


def test_a_stopped_exchange_does_not_make_a_pair_fresh(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    venue("luno", enabled=False).market("BTC", "NGN", age=3)
    venue("quidax").market("BTC", "NGN", age=700)

    body = get(client, key_of("free")).json()

    assert body["pairs"][0]["freshness_seconds"] == 700


def test_what_was_stopped_on_purpose_shows_its_age_and_degrades_nothing(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    venue("luno", blacklisted=True).market("ETH", "NGN", age=5000)
    venue("quidax").market("BTC", "NGN", age=3)

    body = get(client, key_of("free")).json()

    assert body["status"] == "operational"
    assert [(pair["pair"], pair["status"]) for pair in body["pairs"]] == [
        ("BTCNGN", "fresh"),
        ("ETHNGN", "unavailable"),
    ]
    assert [collector["status"] for collector in body["collectors"]] == ["stopped", "running"]


@pytest.mark.parametrize(
    ("heartbeat_age", "row_age", "word"),
    [
        pytest.param(5, 5, "operational", id="all is well"),
        pytest.param(5, 600, "degraded", id="a stale pair"),
        pytest.param(5, 1801, "outage", id="running, but no pair has data"),
        pytest.param(500, 5, "outage", id="the only collector is silent"),
        pytest.param(None, 5, "outage", id="the only collector never ran"),
    ],
)
def test_the_overall_word(
    noon: Any,
    client: Client,
    venue: Callable[..., Venue],
    key_of: Callable[..., str],
    heartbeat_age: float | None,
    row_age: float,
    word: str,
) -> None:
    venue("luno", heartbeat_age=heartbeat_age).market("BTC", "NGN", age=row_age)

    assert get(client, key_of("free")).json()["status"] == word


def test_one_silent_collector_of_two_is_degraded(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    venue("luno", heartbeat_age=500).market("BTC", "NGN", age=5)
    venue("quidax").market("ETH", "NGN", age=5)

    assert get(client, key_of("free")).json()["status"] == "degraded"


def test_nothing_collected_is_an_outage_not_operational(noon: Any, client: Client, key_of: Callable[..., str]) -> None:
    assert get(client, key_of("free")).json() == {
        "status": "outage",
        "collectors": [],
        "pairs": [],
        "timestamp": "2026-03-23T12:00:00Z",
    }


def test_a_row_from_this_very_second_is_not_younger_than_now(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    venue("luno").market("BTC", "NGN", age=-0.5)

    assert get(client, key_of("free")).json()["pairs"][0]["freshness_seconds"] == 0


def test_delisted_markets_are_no_pairs(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    gone = venue("luno").market("BTC", "NGN", age=5)
    key = key_of("free")
    assert len(get(client, key).json()["pairs"]) == 1

    type(gone).objects.filter(pk=gone.pk).update(active=False)

    assert get(client, key).json()["pairs"] == []


def test_an_exchange_stopped_a_moment_ago_counts_as_stopped(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    venue("luno").market("BTC", "NGN", age=5)
    key = key_of("free")

    Exchange.objects.filter(pk="luno").update(enabled=False)

    assert get(client, key).json()["collectors"][0]["status"] == "stopped"


def test_the_rule_alone_at_its_edges() -> None:
    assert [pairs.status(age) for age in (0, 599, 600, 1800, 1801, None)] == [
        "fresh",
        "fresh",
        "stale",
        "stale",
        "unavailable",
        "unavailable",
    ]


def test_the_moment_is_in_utc(noon: Any, client: Client, key_of: Callable[..., str]) -> None:
    noon.move_to((NOW + timedelta(seconds=0.9)).replace(tzinfo=NOW.tzinfo))

    assert get(client, key_of("free")).json()["timestamp"] == "2026-03-23T12:00:00Z"


def test_a_removed_exchange_is_in_neither_document(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    venue("luno").market("BTC", "NGN", age=5)
    key = key_of("pro")
    assert get(client, key).json()["pairs"]

    Exchange.objects.filter(pk="luno").update(enabled=False, removed_at=NOW)

    assert get(client, key).json()["pairs"] == []
    assert get(client, key, "/v1/status/pipelines").json()["data"] == []
    assert get(client, key, "/v1/status/pipelines", source="luno").json()["data"] == []
