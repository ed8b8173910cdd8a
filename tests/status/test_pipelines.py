from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from collectors.status.dialects import pipelines
from exchanges.models import Exchange, Market
from lib import clock
from tests.status.conftest import Venue

DOCUMENTED = {
    "data": [
        {
            "source": "binance_futures",
            "symbol": "BTC",
            "last_ingested": "2026-03-23T11:59:57Z",
            "delay_seconds": 3,
            "status": "healthy",
            "gaps_last_24h": 0,
        },
        {
            "source": "binance_spot",
            "symbol": "BTC",
            "last_ingested": "2026-03-23T11:59:58Z",
            "delay_seconds": 2,
            "status": "healthy",
            "gaps_last_24h": 0,
        },
        {
            "source": "hyperliquid",
            "symbol": "BTC",
            "last_ingested": "2026-03-23T11:57:02Z",
            "delay_seconds": 178,
            "status": "degraded",
            "gaps_last_24h": 3,
        },
    ],
    "meta": {"symbol": "BTC", "source": None, "interval": None, "count": 3, "next_cursor": None},
}


def get(client: Client, key: str, path: str = "/v1/status", **query: Any) -> Any:
    return client.get(path, {"api-key": key, **query})


def names(answer: Any) -> list[tuple[str, str]]:
    return [(row["source"], row["symbol"]) for row in answer.json()["data"]]


@pytest.fixture
def world(noon: Any, venue: Callable[..., Venue]) -> None:
    binance, futures, hyperliquid = venue("binance"), venue("binanceusdm"), venue("hyperliquid")
    binance.market("BTC", "USDT", source="binance_spot", age=2)
    binance.market("BTC", "EUR", source="binance_spot", age=40)
    binance.market("ETH", "USDT", source="binance_spot", age=2)
    futures.market("BTC", "USDT", source="binance_futures", kind="swap", age=3)
    hyperliquid.market("BTC", "USDC", age=178, gaps_24h=3)


@pytest.mark.usefixtures("world")
def test_the_documented_answer(client: Client, key_of: Callable[..., str]) -> None:
    answer = get(client, key_of("pro"), symbol="BTC")

    assert answer.status_code == 200
    assert answer.json() == DOCUMENTED
    assert list(answer.json()["data"][0]) == list(DOCUMENTED["data"][0])
    assert list(answer.json()["meta"]) == list(DOCUMENTED["meta"])


@pytest.mark.usefixtures("world")
def test_all_pipelines_come_by_source_and_symbol(client: Client, key_of: Callable[..., str]) -> None:
    answer = get(client, key_of("pro"))

    assert names(answer) == [
        ("binance_futures", "BTC"),
        ("binance_spot", "BTC"),
        ("binance_spot", "ETH"),
        ("hyperliquid", "BTC"),
    ]
    assert answer.json()["meta"] == {"symbol": None, "source": None, "interval": None, "count": 4, "next_cursor": None}


@pytest.mark.parametrize(
    ("age", "word"),
    [(0, "healthy"), (59, "healthy"), (60, "degraded"), (300, "degraded"), (301, "down"), (100_000, "down")],
)
@pytest.mark.parametrize("query", [{}, {"source": "luno"}, {"symbol": "BTC"}, {"limit": "5"}], ids=str)
def test_health_turns_at_its_edges(
    noon: Any,
    client: Client,
    venue: Callable[..., Venue],
    key_of: Callable[..., str],
    age: int,
    word: str,
    query: dict[str, str],
) -> None:
    venue("luno").market("BTC", "NGN", age=0)
    key = key_of("pro")

    noon.shift(age)
    row = get(client, key, **query).json()["data"][0]

    assert (row["status"], row["delay_seconds"]) == (word, age)


def test_a_pipeline_without_a_row_is_down_and_null(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    venue("luno").market("BTC", "NGN", age=None, gaps_24h=4)

    assert get(client, key_of("pro")).json()["data"] == [
        {
            "source": "luno",
            "symbol": "BTC",
            "last_ingested": None,
            "delay_seconds": None,
            "status": "down",
            "gaps_last_24h": 0,
        }
    ]


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"source": "binance_spot"}, [("binance_spot", "BTC"), ("binance_spot", "ETH")]),
        ({"source": "Binance_SPOT"}, [("binance_spot", "BTC"), ("binance_spot", "ETH")]),
        ({"symbol": "eth"}, [("binance_spot", "ETH")]),
        ({"source": "hyperliquid", "symbol": "btc"}, [("hyperliquid", "BTC")]),
        ({"source": "hyperliquid", "symbol": "ETH"}, []),
        ({"source": "kalshi"}, []),
    ],
    ids=str,
)
def test_filters_ignore_case_and_may_be_empty(
    client: Client, key_of: Callable[..., str], query: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    answer = get(client, key_of("pro"), **query)

    assert answer.status_code == 200
    assert names(answer) == expected
    assert answer.json()["meta"]["count"] == len(expected)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ({"source": "mtgox"}, "invalid_source", "The source value is not recognized."),
        ({"symbol": "NOPE"}, "invalid_symbol", "The symbol value is not recognized."),
        ({"source": "binance_spot", "symbol": "NOPE"}, "invalid_symbol", "The symbol value is not recognized."),
        ({"limit": "0"}, "invalid_limit", "The limit value is not a whole number from 1."),
        ({"limit": "-1"}, "invalid_limit", "The limit value is not a whole number from 1."),
        ({"limit": "1e9"}, "invalid_limit", "The limit value is not a whole number from 1."),
        ({"limit": "9999999999"}, "invalid_limit", "The limit value is not a whole number from 1."),
        ({"after": "WyJhIiwiYiJd:forged"}, "invalid_cursor", "The cursor value is not recognized."),
    ],
    ids=str,
)
def test_unknown_values_are_400_and_cost_nothing(
    client: Client, key_of: Callable[..., str], query: dict[str, str], code: str, message: str
) -> None:
    answer = get(client, key_of("pro", tier_changes={"monthly_credits": 100}), **query)

    assert answer.status_code == 400
    assert answer.json() == {"error": code, "message": message}
    assert answer.headers["X-Credits-Charged"] == "0"
    assert answer.headers["X-Credits-Remaining"] == "100"


@pytest.mark.usefixtures("world")
def test_cursors_reach_every_row_once(client: Client, key_of: Callable[..., str]) -> None:
    key, seen, cursor = key_of("pro"), [], None
    for _ in range(10):
        answer = get(client, key, limit="1", **({"after": cursor} if cursor else {}))
        seen += names(answer)
        cursor = answer.json()["meta"]["next_cursor"]
        if cursor is None:
            break

    assert seen == names(get(client, key))


@pytest.mark.usefixtures("world")
def test_cursor_is_another_word_for_after(client: Client, key_of: Callable[..., str]) -> None:
    key = key_of("pro")
    cursor = get(client, key, limit="2").json()["meta"]["next_cursor"]

    assert names(get(client, key, cursor=cursor)) == names(get(client, key, after=cursor))


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("query", [{}, {"limit": "100"}, {"source": "binance_spot"}], ids=str)
def test_the_plan_caps_the_rows_and_says_so(client: Client, key_of: Callable[..., str], query: dict[str, str]) -> None:
    answer = get(client, key_of("pro", tier_changes={"max_rows": 1}), **query)

    assert answer.json()["meta"]["count"] == 1
    assert answer.json()["meta"]["next_cursor"]
    assert answer.headers["X-Rows-Capped"] == "true"
    assert answer.json()["meta"]["capped"] is True


@pytest.mark.usefixtures("world")
def test_a_page_that_was_asked_for_is_not_called_capped(client: Client, key_of: Callable[..., str]) -> None:
    assert "X-Rows-Capped" not in get(client, key_of("pro"), limit="2").headers


def test_gaps_of_an_outage_are_not_counted_for_each_quote(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    luno = venue("luno")
    luno.market("BTC", "NGN", age=5, gaps_24h=1)
    luno.market("BTC", "ZAR", age=5, gaps_24h=1)
    key = key_of("pro")

    assert get(client, key).json()["data"][0]["gaps_last_24h"] == 1
    assert get(client, key, source="luno").json()["data"][0]["gaps_last_24h"] == 1


@pytest.mark.usefixtures("world")
def test_an_edited_source_is_seen_at_once(client: Client, key_of: Callable[..., str]) -> None:
    key = key_of("pro")
    get(client, key)

    Market.objects.filter(source="hyperliquid").update(source="hyper")

    assert ("hyper", "BTC") in names(get(client, key))
    assert names(get(client, key, source="hyper")) == [("hyper", "BTC")]


def test_symbols_need_no_escaping_by_luck(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    venue("luno").market('B"\\é<', "NGN", age=5)

    assert names(get(client, key_of("pro"))) == [("luno", 'B"\\é<')]


def test_the_rule_alone_at_its_edges() -> None:
    assert [pipelines.status(delay) for delay in (0, 59, 60, 300, 301, None)] == [
        "healthy",
        "healthy",
        "degraded",
        "degraded",
        "down",
        "down",
    ]


def test_one_sources_rows_follow_its_markets_at_once(client: Client, key_of: Callable[..., str], world: None) -> None:
    def of_binance() -> list[str]:
        return [symbol for _, symbol in names(get(client, key, source="binance_spot"))]

    key = key_of()
    assert of_binance() == ["BTC", "ETH"]
    Market.objects.filter(source="binance_spot", base="ETH").update(blacklisted=True)
    assert of_binance() == ["BTC"]
    Market.objects.filter(source="binance_spot", base="ETH").update(blacklisted=False, base="AVAX")
    assert of_binance() == ["AVAX", "BTC"]
    Exchange.objects.filter(pk="binance").update(enabled=False, removed_at=clock.now())
    assert of_binance() == []


def test_one_sources_newest_row_counts_over_its_markets_of_a_base(
    client: Client, key_of: Callable[..., str], world: None
) -> None:
    rows = get(client, key_of(), source="BINANCE_spot").json()["data"]
    assert [(row["symbol"], row["delay_seconds"]) for row in rows] == [("BTC", 2), ("ETH", 2)]
