"""What no client of document 5 would send: answered in the document's shapes, and never as a failure of ours."""

from __future__ import annotations

import pytest
from django.test import Client

from exchanges.models import Exchange, Market
from marketmon.lib import clock
from metrics.models import Collection

pytestmark = pytest.mark.django_db

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
