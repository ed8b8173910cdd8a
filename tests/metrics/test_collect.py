"""POST /metrics/collect: the metrics webhook API's bodies, one run per id, and what happens when parts are away."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client

from collectors.models import Worker
from exchanges.models import Exchange
from lib import clock, valkey
from metrics import collection, sources
from metrics.models import Collection, MarketPoint
from metrics.sources import CollectedData, Failure
from tests.metrics.conftest import Place
from tests.metrics.series import ranging

SUCCESS_KEYS = [
    "status",
    "collection_id",
    "timestamp",
    "data_points_collected",
    "storage_status",
    "dashboard_updated",
    "trigger_source",
]
MILLISECONDS = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"


def collect(client: Client, body: Any = None, **headers: str) -> Any:
    return client.post(
        "/metrics/collect", json.dumps({} if body is None else body), "application/json", headers=headers
    )


def test_the_body_of_a_success_is_the_documents_key_by_key(place: Place, api: Client) -> None:
    answer = collect(api, {"source": "n8n_schedule", "trigger_time": "2026-01-06T10:00:00Z", "collection_id": "custom"})

    body = answer.json()
    assert answer.status_code == 200
    assert list(body) == SUCCESS_KEYS
    assert body | {"timestamp": ""} == {
        "status": "success",
        "collection_id": "custom",
        "timestamp": "",
        "data_points_collected": 6,
        "storage_status": "committed",
        "dashboard_updated": True,
        "trigger_source": "n8n_schedule",
    }
    assert re.match(MILLISECONDS, body["timestamp"])
    assert MarketPoint.objects.count() == 6


def test_everything_is_optional_even_the_body(place: Place, api: Client) -> None:
    began = clock.now()
    answer = api.generic("POST", "/metrics/collect")

    assert answer.status_code == 200
    assert answer.json()["trigger_source"] == "n8n_schedule"
    named = answer.json()["collection_id"]  # by the second in which the call came
    assert f"metrics_{began:%Y%m%d_%H%M%S}" <= named <= f"metrics_{clock.now():%Y%m%d_%H%M%S}"
    assert Collection.objects.get().collection_id == named
    assert answer.headers["X-Correlation-ID"]


def test_the_callers_correlation_id_comes_back_and_is_kept(place: Place, api: Client) -> None:
    answer = collect(api, **{"X-Correlation-ID": "n8n-4711"})

    assert answer.headers["X-Correlation-ID"] == "n8n-4711"
    assert Collection.objects.get().correlation_id == "n8n-4711"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            '{"source": 5}',
            {"type": "string_type", "loc": ["body", "source"], "msg": "Input should be a valid string", "input": 5},
        ),
        (
            '{"collection_id": ["a"]}',
            {
                "type": "string_type",
                "loc": ["body", "collection_id"],
                "msg": "Input should be a valid string",
                "input": ["a"],
            },
        ),
        (
            '{"trigger_time": "soon"}',
            {
                "type": "datetime_parsing",
                "loc": ["body", "trigger_time"],
                "msg": "Input should be a valid datetime, in ISO 8601",
                "input": "soon",
            },
        ),
        (
            "[1]",
            {
                "type": "model_attributes_type",
                "loc": ["body"],
                "msg": "Input should be a valid dictionary or object to extract fields from",
                "input": [1],
            },
        ),
    ],
)
def test_bad_input_is_refused_in_fastapis_shape(place: Place, api: Client, body: str, problem: dict[str, Any]) -> None:
    answer = api.post("/metrics/collect", body, "application/json")

    assert answer.status_code == 422
    assert answer.json() == {"detail": [problem]}
    assert not Collection.objects.exists()


@pytest.mark.parametrize("body", ["{", '{"source": NaN}', "[" * 5000, '{"collection_id": "a\\u0000b"}', "\\xff"])
def test_what_is_no_json_or_cannot_be_stored_is_refused(place: Place, api: Client, body: str) -> None:
    answer = api.post("/metrics/collect", body, "application/json")

    assert answer.status_code == 422
    assert set(answer.json()["detail"][0]) >= {"type", "loc", "msg", "input"}


def test_twenty_calls_with_one_id_make_one_run_and_twenty_equal_answers(place: Place, monkeypatch: Any) -> None:
    runs = []
    real = collection.run
    monkeypatch.setattr(collection, "run", lambda *args, **named: runs.append(1) or real(*args, **named))

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: in_thread(), range(20)))

    assert len(runs) == 1
    assert {status for status, _ in answers} == {200}
    assert len({body for _, body in answers}) == 1


def in_thread(collection_id: str = "same") -> tuple[int, bytes]:
    try:
        answer = collect(Client(), {"collection_id": collection_id})
        return answer.status_code, answer.content
    finally:
        connection.close()


def test_different_ids_run_one_after_the_other(place: Place, monkeypatch: Any) -> None:
    at_once, most = [], []
    real = collection.run

    def watched(*args: Any, **named: Any) -> Any:
        at_once.append(1)
        most.append(len(at_once))
        try:
            return real(*args, **named)
        finally:
            at_once.pop()

    monkeypatch.setattr(collection, "run", watched)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(in_thread, [f"id{n}" for n in range(6)]))

    assert [status for status, _ in answers] == [200] * 6
    assert most == [1] * 6


def test_who_has_waited_long_enough_gets_a_500_that_is_not_stored(
    place: Place, api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "WAIT_SECONDS", 0.2)

    with another_collection():
        answer = collect(api, {"collection_id": "late"})

    assert answer.status_code == 500
    assert answer.json() | {"timestamp": "", "error": ""} == FAILED
    assert "another collection is running" in answer.json()["error"]
    assert collect(api, {"collection_id": "late"}).status_code == 200


FAILED = {
    "status": "error",
    "collection_id": "failed",
    "timestamp": "",
    "data_points_collected": 0,
    "storage_status": "failed",
    "dashboard_updated": False,
    "trigger_source": "n8n_schedule",
    "error": "",
}


@contextmanager
def another_collection() -> Iterator[None]:
    """One that runs in another process, as far as the database can tell."""
    ready, done = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with collection.turn(1.0):
                ready.set()
                done.wait(20)
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        done.set()
        holder.join()


def test_the_lock_of_a_process_that_died_goes_with_its_connection(place: Place, api: Client) -> None:
    dying = connections.create_connection("default")
    dying.set_autocommit(False)
    with dying.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", collection.LOCK)
        assert cursor.fetchone() == (True,)
    with pytest.raises(collection.CollectionBusy), collection.turn(0.1):
        raise AssertionError("two at once")

    dying.close()  # as the kernel does it for a killed process

    assert collect(api).status_code == 200


def test_the_lock_stays_with_nobody_s_session(place: Place, api: Client) -> None:
    """A pooler would hand the session on, and the lock with it."""
    assert [collect(api, {"collection_id": name}).status_code for name in "abc"] == [200] * 3

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s", collection.LOCK[1:])
        assert cursor.fetchone() == (0,)


def test_a_run_that_died_after_its_commit_is_answered_from_its_row(place: Place, api: Client) -> None:
    collect(api, {"collection_id": "x"})
    Collection.objects.update(settled_at=None, dashboard_updated=False)

    answer = collect(api, {"collection_id": "x"})

    assert answer.json()["data_points_collected"] == 6
    assert answer.json()["dashboard_updated"] is False
    assert Collection.objects.count() == 1


def test_a_source_that_fails_is_counted_and_costs_only_itself(place: Place, api: Client, monkeypatch: Any) -> None:
    def broken(found: CollectedData, **_: Any) -> list[Failure]:
        raise KeyError("surprise")

    monkeypatch.setattr(sources, "SOURCES", {**sources.SOURCES, "regime_analysis": broken})

    answer = collect(api)

    assert answer.json()["data_points_collected"] == 6
    assert Collection.objects.get().failures == [
        {"source": "regime_analysis", "exchange": "", "reason": "KeyError: 'surprise'"}
    ]


def test_one_exchange_down_is_counted_and_its_old_quotes_are_no_data_points(place: Place, api: Client) -> None:
    place.age("kraken", 600)

    answer = collect(api)

    assert answer.status_code == 200
    assert answer.json()["data_points_collected"] == 3
    assert [failure["exchange"] for failure in Collection.objects.get().failures] == ["kraken"]
    assert set(MarketPoint.objects.values_list("market__exchange", flat=True)) == {"binance"}


def test_why_an_exchange_was_not_asked_is_said(place: Place, api: Client) -> None:
    place.age("kraken", 600)
    until = place.now + timedelta(minutes=5)
    Worker.objects.filter(pk="kraken").update(retry_at=until, last_error="answered 500")

    collect(api)

    (failure,) = Collection.objects.get().failures
    assert failure["reason"] == f"kraken is not called until {until:%H:%M:%S} UTC: answered 500"


def test_all_exchanges_down_is_an_honest_snapshot_of_nothing(place: Place, api: Client) -> None:
    place.age("kraken", 600)
    place.age("binance", 600)

    answer = collect(api)

    assert answer.status_code == 200
    assert answer.json()["data_points_collected"] == 0
    assert {failure["exchange"] for failure in Collection.objects.get().failures} == {"binance", "kraken"}


def test_a_stopped_exchange_is_not_asked_and_not_a_failure(place: Place, api: Client) -> None:
    Exchange.objects.filter(pk="kraken").update(enabled=False)

    answer = collect(api)

    assert answer.json()["data_points_collected"] == 3
    assert Collection.objects.get().failures == []


def test_regimes_and_grids_are_part_of_the_snapshot(place: Place, api: Client) -> None:
    place.candles(ranging(250))
    place.series()
    make_grid(api)

    answer = collect(api, {"collection_id": "full"})
    entry = api.get("/metrics/history?include=snapshot").json()["metrics"][0]

    assert answer.json()["data_points_collected"] == 8
    assert list(entry["snapshot"]) == [
        "account_balance", "account_balance_hidden", "market_data", "grids", "regimes"
    ]  # fmt: skip
    assert len(entry["snapshot"]["market_data"]) == 6
    assert entry["snapshot"]["grids"][0]["grid_id"] == "g1"
    assert entry["snapshot"]["regimes"][0]["verdict"] == "RANGE_OK"
    assert list(entry["snapshot"]["market_data"][0]) == [
        "exchange",
        "market",
        "last",
        "bid",
        "ask",
        "volume_24h",
        "timestamp",
    ]


def make_grid(client: Client) -> None:
    structure = {"levels": 11, "spacing": "arithmetic", "amount_per_grid": 1}
    body = {
        "market": "BTC/USDT",
        "exchange": "binance",
        "price_range": {"lower_bound": 90, "upper_bound": 110},
        "grid_structure": structure,
        "grid_id": "g1",
        "enabled": True,
    }
    assert client.post("/grids/create", json.dumps(body), "application/json").status_code == 201


def test_valkey_down_leaves_only_the_dashboard_behind(
    place: Place, api: Client, monkeypatch: Any, settings: Any
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    valkey._client.cache_clear()
    try:
        answer = collect(api)
    finally:
        valkey._client.cache_clear()

    assert answer.status_code == 200
    assert answer.json()["storage_status"] == "committed"
    assert answer.json()["dashboard_updated"] is False


def test_a_read_only_database_is_a_500_that_says_so(place: Place, api: Client) -> None:
    with read_only_database():
        answer = collect(api, {"source": "me"})

    assert answer.status_code == 500
    assert list(answer.json()) == [*SUCCESS_KEYS, "error"]
    assert answer.json() | {"timestamp": "", "error": ""} == FAILED | {"trigger_source": "me"}
    assert "ReadOnly" in answer.json()["error"]
    assert not Collection.objects.exists()


@pytest.mark.parametrize("path", ["/metrics", "/metrics/history", "/regime/current", "/grids/status"])
def test_a_read_only_database_is_still_read_from(place: Place, api: Client, settings: Any, path: str) -> None:
    settings.METRICS_MARKETS = ["binance:BTC/USDT"]
    with read_only_database():
        answer = api.get(path)

    assert answer.status_code == 200


@contextmanager
def read_only_database() -> Iterator[None]:
    """As far as this thread's connection is concerned."""
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")


@pytest.mark.parametrize(
    "path", ["/metrics", "/metrics/history", "/regime/current", "/grids/status", "/metrics/collect"]
)
def test_a_configured_token_is_asked_for_everywhere(place: Place, api: Client, settings: Any, path: str) -> None:
    settings.METRICS_WEBHOOK_TOKEN = "let-me-in"
    ask = partial(api.generic, "POST" if path.endswith("collect") else "GET")

    refused = [ask(path), ask(path, headers={"X-Webhook-Token": "wrong"}), ask(f"{path}?token=let-me-in")]
    let_in = [
        ask(path, headers={"X-Webhook-Token": "let-me-in"}),
        ask(path, headers={"Authorization": "Bearer let-me-in"}),
    ]

    assert [answer.status_code for answer in refused] == [401] * 3
    assert list(refused[0].json()) == ["status", "timestamp", "error"]
    assert [answer.status_code for answer in let_in] == [200] * 2


@pytest.mark.parametrize("path", ["/metrics/history/", "/regime/current/", "/grids/status/", "/metrics/"])
def test_a_trailing_slash_changes_nothing(place: Place, api: Client, path: str) -> None:
    assert api.get(path).status_code == 200


# --- history ----------------------------------------------------------------------------------------------------


def test_history_is_paged_newest_first_without_a_row_twice(place: Place, api: Client) -> None:
    for n in range(5):
        collect(api, {"collection_id": f"c{n}", "source": "odd" if n % 2 else "even"})

    first = api.get("/metrics/history?limit=2").json()
    second = api.get("/metrics/history", {"limit": 2, "cursor": first["next_cursor"]}).json()
    third = api.get("/metrics/history", {"limit": 2, "cursor": second["next_cursor"]}).json()

    pages = [[entry["collection_id"] for entry in page["metrics"]] for page in (first, second, third)]
    assert pages == [["c4", "c3"], ["c2", "c1"], ["c0"]]
    assert third["next_cursor"] is None
    assert list(first) == ["status", "timestamp", "count", "next_cursor", "metrics"]
    assert list(first["metrics"][0]) == [
        "collection_id",
        "timestamp",
        "trigger_source",
        "trigger_time",
        "status",
        "storage_status",
        "data_points_collected",
        "dashboard_updated",
        "duration_ms",
        "error",
    ]


def test_history_can_be_narrowed(place: Place, api: Client) -> None:
    collect(api, {"collection_id": "a", "source": "odd"})
    collect(api, {"collection_id": "b", "source": "even"})
    started = Collection.objects.get(collection_id="b").started_at

    def ids(**query: Any) -> list[str]:
        return [entry["collection_id"] for entry in api.get("/metrics/history", query).json()["metrics"]]

    assert ids(source="odd") == ["a"]
    assert ids(**{"from": started.isoformat()}) == ["b"]
    assert ids(to=started.isoformat()) == ["a"]
    assert ids(status="error") == []
    assert ids(market="BTC/USD") == ["b", "a"]
    assert ids(market="NO/NE") == []


@pytest.mark.parametrize(
    "query",
    [{"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"from": "then"}, {"cursor": "made-up"}, {"include": "all"}],
)
def test_a_bad_query_is_refused_in_fastapis_shape(place: Place, api: Client, query: dict[str, Any]) -> None:
    answer = api.get("/metrics/history", query)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", next(iter(query))]


def test_old_snapshots_are_forgotten(place: Place, api: Client, settings: Any) -> None:
    collect(api, {"collection_id": "old"})
    collect(api, {"collection_id": "new"})
    old = place.now - timedelta(days=settings.METRICS_RETENTION_DAYS, seconds=1)
    Collection.objects.filter(collection_id="old").update(started_at=old)

    collection.forget(place.now)

    assert list(Collection.objects.values_list("collection_id", flat=True)) == ["new"]
    assert MarketPoint.objects.count() == 6
