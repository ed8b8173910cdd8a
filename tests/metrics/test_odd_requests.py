"""Requests that no client of the metrics webhook API would send: answered as documented, never as a 5xx."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from exchanges.models import Exchange, Market
from lib import clock
from metrics.models import Collection

pytestmark = pytest.mark.django_db

MILLISECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
ROUTES = ["/metrics/collect", "/regime/analyze", "/grids/create"]


@pytest.fixture
def caller() -> Client:
    return Client(raise_request_exception=False)


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("size", [70_000, 2_000_000], ids=["over our limit", "over Django's limit"])
def test_a_body_that_is_too_large_is_the_callers_fault(caller: Client, path: str, size: int) -> None:
    """Beyond Django's own limit it was a 500 of ours."""
    answer = caller.post(path, b'{"source":"' + b"x" * size + b'"}', content_type="application/json")

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["type"] == "json_invalid"
    assert not Collection.objects.exists()


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "body", [b'{"source":"\\u0000"}', b'{"source":"\xff"}', b'{"source":"\\ud800"}', b"[" * 2000, b'{"source":NaN}'],
    ids=["a NUL", "no UTF-8", "half a letter", "deep", "no number"],
)  # fmt: skip
def test_json_that_nobody_writes_is_422(caller: Client, path: str, body: bytes) -> None:
    assert caller.post(path, body, content_type="application/json").status_code == 422


def test_an_exchanges_name_is_taken_in_any_case(caller: Client) -> None:
    """The regimes' routes did so, the grids' did not."""
    exchange = Exchange.objects.create(id="kraken")
    Market.objects.create(
        exchange=exchange, symbol="BTC/USD", base="BTC", quote="USD", kind="spot", venue_id="x", source="kraken",
        listed_at=clock.now(),
    )  # fmt: skip
    wanted = {
        "market": "BTC/USD",
        "exchange": "Kraken",
        "price_range": {"lower_bound": 100, "upper_bound": 200},
        "grid_structure": {"levels": 5, "spacing": "arithmetic", "amount_per_grid": 1},
    }
    assert caller.post("/grids/create", wanted, content_type="application/json").status_code == 201

    assert caller.get("/grids/status?exchange=Kraken").json()["count"] == 1


# --- what clients of the old service send, and it took -------------------------------------------------------------


@pytest.mark.parametrize("path", ROUTES)
def test_json_without_a_content_type_is_json(caller: Client, path: str) -> None:
    """What Python's `requests.post(url, data=json.dumps(...))` sends."""
    answer = caller.generic("POST", path, b'{"source": 5}', content_type="")

    assert answer.status_code == 422
    assert {"source"} == {problem["loc"][-1] for problem in answer.json()["detail"] if problem["type"] == "string_type"}


def test_an_empty_trigger_time_is_none(caller: Client) -> None:
    """n8n's expressions are empty where there is nothing to say."""
    answer = caller.post("/metrics/collect", {"trigger_time": "", "collection_id": ""}, content_type="application/json")

    assert answer.status_code == 200
    assert Collection.objects.get().trigger_time is None


def test_one_wrong_field_is_one_problem(caller: Client) -> None:
    answer = caller.post("/metrics/collect", {"trigger_time": 5}, content_type="application/json")

    assert [problem["loc"] for problem in answer.json()["detail"]] == [["body", "trigger_time"]]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/metrics/collect", 405),
        ("POST", "/metrics", 405),
        ("DELETE", "/metrics/history/", 405),
        ("POST", "/regime/current", 405),
        ("GET", "/regime/analyze", 405),
        ("PUT", "/grids/create", 405),
        ("GET", "/metrics/nothing", 404),
        ("GET", "/regime", 404),
        ("POST", "/grids/status/more", 404),
        ("OPTIONS", "/grids/nothing", 404),
    ],
)
def test_wrong_methods_and_routes_are_refused_in_the_documents_words(
    caller: Client, method: str, path: str, status: int
) -> None:
    answer = caller.generic(method, path)

    body = answer.json()
    assert answer.status_code == status
    assert list(body) == ["status", "timestamp", "error"]
    assert body["status"] == "error"
    assert MILLISECONDS.match(body["timestamp"])
    assert answer["Cache-Control"] == "no-store"
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("query", ["market=a%00b", "market=%1b", "market=a%0d%0aX-Evil:1"])
@pytest.mark.parametrize("path", ["/metrics/history", "/regime/current", "/grids/status"])
def test_control_characters_in_a_query_are_422(caller: Client, path: str, query: str) -> None:
    (problem,) = caller.get(f"{path}?{query}").json()["detail"]

    assert problem["loc"] == ["query", "market"]
    assert problem["type"] == "value_error"
