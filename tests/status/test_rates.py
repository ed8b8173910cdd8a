from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from collectors.models import Gap, Pipeline, Worker
from collectors.rules import pair_rates
from collectors.rules.pair_rates import RatePolicy
from collectors.rules.snapshot import SourcePrice
from exchanges.models import Market
from tests.status.conftest import Venue

NOON = datetime(2026, 3, 23, 12, 0, tzinfo=UTC)


def price(exchange: str, value: float, *, volume: float | None = 1.0, age: float = 5, fault: str = "") -> SourcePrice:
    return SourcePrice(exchange, value, volume, NOON - timedelta(seconds=age), fault=fault)


def rate(*prices: SourcePrice) -> pair_rates.Rate:
    return pair_rates.rate_of("BTCNGN", prices, NOON, policy=RatePolicy())


def excluded(found: pair_rates.Rate) -> dict[str, str]:
    return {each.exchange: each.reason for each in found.excluded}


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
    assert excluded(found) == {"valr": "outlier"}
    assert found.vwap == 100.5


@pytest.mark.parametrize(("other", "is_conflict"), [(120, False), (120.1, True), (83.4, False), (83.3, True)])
def test_of_two_that_differ_nobody_knows_which_is_wrong(other: float, is_conflict: bool) -> None:
    found = rate(price("luno", 100), price("quidax", other))

    assert (found.is_conflict, found.vwap is None, found.excluded) == (is_conflict, is_conflict, ())
    assert len(found.sources) == 2


def test_of_three_that_all_differ_nobody_knows_either() -> None:
    found = rate(price("luno", 100), price("quidax", 200), price("valr", 400))

    assert (found.is_conflict, found.vwap, found.excluded) == (True, None, ())


@pytest.mark.parametrize("fault", ["old", "frozen", "halted", "unconfirmed"])
def test_what_is_not_believed_is_left_out_and_named(fault: str) -> None:
    found = rate(price("luno", 100), price("quidax", 101, age=700, fault=fault))

    assert ([source.exchange for source in found.sources], found.vwap) == (["luno"], 100)
    assert [(each.exchange, each.reason, each.age_seconds) for each in found.excluded] == [("quidax", fault, 700)]


def test_what_is_not_believed_is_no_makeshift_either() -> None:
    found = rate(price("luno", 100, fault="frozen"), price("quidax", 101, fault="old"))

    assert (found.vwap, found.sources) == (None, ())
    assert excluded(found) == {"luno": "frozen", "quidax": "old"}


def test_older_ones_are_left_out_while_there_is_a_young_one() -> None:
    found = rate(price("luno", 100, age=60), price("quidax", 101, age=61))

    assert ([source.exchange for source in found.sources], excluded(found)) == (
        ["luno"], {"quidax": "older_than_max_age"},
    )  # fmt: skip


def test_older_ones_are_a_makeshift_where_there_is_no_young_one() -> None:
    found = rate(price("luno", 100, age=61), price("quidax", 101, age=1801))

    assert ([source.exchange for source in found.sources], excluded(found)) == (
        ["luno"], {"quidax": "older_than_max_age"},
    )  # fmt: skip


@pytest.mark.parametrize(("age", "used"), [(1800, True), (1801, False)])
def test_sources_older_than_30_minutes_do_not_count(age: int, used: bool) -> None:
    assert bool(rate(price("luno", 100, age=age)).sources) is used


def test_an_old_source_neither_counts_nor_judges() -> None:
    found = rate(price("luno", 100), price("quidax", 150), price("valr", 149, age=5000))

    assert (found.is_conflict, excluded(found)) == (True, {"valr": "older_than_max_age"})


def test_the_answer(noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]) -> None:
    venue("luno").market("BTC", "NGN", age=7, last=100.0, base_volume=3.0)
    venue("quidax").market("BTC", "NGN", age=9, bid=103.0, ask=105.0, base_volume=1.0)

    answer = get(client, key_of("free"), pairs="btcngn").json()

    assert answer.pop("quality") == {
        "condition": "available", "completeness": 1.0, "expected": 2, "stored": 2, "filled": 0,
        "origins": {"live": 2, "candle": 0, "trade": 0}, "open_gap_ids": [], "worst_cause": None, "frozen": False,
        "identity_unproven": False, "as_of": None,
    }  # fmt: skip
    assert answer == {
        "rates": [
            {
                "pair": "BTCNGN",
                "vwap": 101.0,
                "timestamp": "2026-03-23T11:59:53Z",
                "sources": [
                    {
                        "exchange": "luno",
                        "price": 100.0,
                        "volume": 3.0,
                        "timestamp": "2026-03-23T11:59:53Z",
                        "age_seconds": 7,
                        "kind": "spot",
                    },
                    {
                        "exchange": "quidax",
                        "price": 104.0,
                        "volume": 1.0,
                        "timestamp": "2026-03-23T11:59:51Z",
                        "age_seconds": 9,
                        "kind": "spot",
                    },
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

    assert [(each["price"], each["kind"]) for each in answer["rates"][0]["sources"]] == [(100.0, "spot")]


@pytest.mark.parametrize(("kind", "price"), [("spot", 100.0), ("perpetual", 120.0), ("all", 100.0)])
def test_a_kind_of_market_can_be_asked_for(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str], kind: str, price: float
) -> None:
    luno = venue("luno")
    luno.market("BTC", "NGN", age=9, last=100.0, base_volume=3.0)
    luno.market("BTC", "NGN", kind="swap", age=1, last=120.0, base_volume=3.0)

    answer = get(client, key_of("free"), pairs="BTCNGN", kind=kind).json()

    assert [each["price"] for each in answer["rates"][0]["sources"]] == [price]


def test_a_perpetual_speaks_where_the_spot_market_is_halted(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    luno = venue("luno")
    spot = luno.market("BTC", "NGN", age=9, last=100.0, base_volume=3.0)
    luno.market("BTC", "NGN", kind="swap", age=1, last=120.0, base_volume=3.0)
    Market.objects.filter(pk=spot.pk).update(halted_at=NOON)

    (answer,) = get(client, key_of("free"), pairs="BTCNGN").json()["rates"]

    assert [each["kind"] for each in answer["sources"]] == ["perpetual"]


@pytest.mark.parametrize("kind", ["option", "future", "prediction"])
def test_what_has_a_price_of_its_own_makes_no_rate(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str], kind: str
) -> None:
    venue("luno").market("BTC", "NGN", age=5, kind=kind, last=0.05, base_volume=3.0)

    assert get(client, key_of("free"), pairs="BTCNGN").status_code == 503


def test_each_reason_is_named_in_the_answer(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    made = {
        name: venue(name).market("BTC", "NGN", age=5, last=100.0, base_volume=1.0)
        for name in ("frozen", "halted", "old", "sound", "unconfirmed")
    }
    Pipeline.objects.filter(pk=made["frozen"].pk).update(frozen=True, changed_at=NOON - timedelta(minutes=11))
    Market.objects.filter(pk=made["halted"].pk).update(halted_at=NOON)
    Pipeline.objects.filter(pk=made["unconfirmed"].pk).update(unconfirmed_count=1)
    an_hour_ago = (NOON - timedelta(hours=1)).timestamp()
    told = {"made_at": an_hour_ago, "lag_seconds": 3600.0, "old_since": NOON.timestamp(), "reason": "3600 s old"}
    Worker.objects.filter(pk="old").update(old_answers={"spot": told})
    venue("late").market("BTC", "NGN", age=61, last=100.0, base_volume=1.0)

    (answer,) = get(client, key_of("free"), pairs="BTCNGN").json()["rates"]

    assert [source["exchange"] for source in answer["sources"]] == ["sound"]
    assert answer["excluded"] == ["frozen", "halted", "late", "old", "unconfirmed"]
    assert answer["excluded_details"] == [
        {"exchange": "frozen", "reason": "frozen", "age_seconds": 660},
        {"exchange": "halted", "reason": "halted", "age_seconds": 5},
        {"exchange": "late", "reason": "older_than_max_age", "age_seconds": 61},
        {"exchange": "old", "reason": "old", "age_seconds": 3600},
        {"exchange": "unconfirmed", "reason": "unconfirmed", "age_seconds": 5},
    ]


def test_a_conflict_has_no_price_and_both_sources(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    venue("luno").market("BTC", "NGN", age=5, last=100.0, base_volume=3.0)
    venue("quidax").market("BTC", "NGN", age=5, last=100_000.0, base_volume=3.0)

    (answer,) = get(client, key_of("free"), pairs="BTCNGN").json()["rates"]

    assert (answer["vwap"], answer["conflict"], len(answer["sources"])) == (None, True, 2)


def test_of_several_pairs_one_without_a_source_is_null(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    luno = venue("luno")
    luno.market("BTC", "NGN", age=5, last=100.0, base_volume=3.0)
    luno.market("ETH", "NGN", age=1801, last=10.0, base_volume=3.0)

    answer = get(client, key_of("free"), pairs="BTCNGN,ETHNGN").json()["rates"]

    assert [(each["vwap"], len(each["sources"])) for each in answer] == [(100.0, 1), (None, 0)]
    assert answer[1]["excluded_details"] == [{"exchange": "luno", "reason": "older_than_max_age", "age_seconds": 1801}]


def test_a_pair_of_which_nothing_is_believed_is_503_and_says_why(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    market = venue("luno").market("BTC", "NGN", age=5, last=100.0, base_volume=3.0)
    Pipeline.objects.filter(pk=market.pk).update(frozen=True, changed_at=NOON - timedelta(minutes=11))

    answer = get(client, key_of("free"), pairs="BTCNGN")

    assert (answer.status_code, answer.json()["message"]) == (
        503, "No source of these pairs can be used: they are frozen.",
    )  # fmt: skip


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
        ({"pairs": "BTCNGN", "kind": "futures"}, "invalid_kind"),
    ],
    ids=["pair", "0", "1801", "soon", "201 pairs", "kind"],
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
    assert answer.json()["capped"] == {"pairs": 2, "asked_for": 3}


def test_the_quality_counts_the_sources_that_are_used_and_names_what_is_wrong(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    venue("luno").market("BTC", "NGN", age=5, last=100.0, base_volume=3.0)
    silent = venue("quidax").market("BTC", "NGN", age=300, last=100.0, base_volume=3.0)
    gap = Gap.objects.create(pipeline_id=silent.pk, started_at=NOON - timedelta(seconds=300), missed_count=29,
                             cause="exchange outage", detected_at=NOON)  # fmt: skip

    packet = get(client, key_of("free"), pairs="BTCNGN").json()["quality"]

    assert (packet["condition"], packet["completeness"], packet["expected"], packet["stored"]) == (
        "degraded",
        0.5,
        2,
        1,
    )
    assert (packet["open_gap_ids"], packet["worst_cause"]) == ([gap.pk], "exchange outage")


def test_spot_leaves_perpetuals_out_and_each_source_says_what_it_is(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    venue("luno").market("BTC", "NGN", age=5, last=100.0, base_volume=3.0)
    venue("quidax").market("BTC", "NGN", age=5, last=130.0, base_volume=3.0, kind="swap")
    key = key_of("pro")

    def sources(**query: str) -> list[tuple[str, str]]:
        [rate] = get(client, key, pairs="BTCNGN", **query).json()["rates"]
        return [(source["exchange"], source["kind"]) for source in rate["sources"]]

    assert sources() == [("luno", "spot"), ("quidax", "perpetual")]
    assert sources(kind="spot") == [("luno", "spot")]
    assert sources(kind="perpetual") == [("quidax", "perpetual")]
