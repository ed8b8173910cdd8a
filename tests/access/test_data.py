"""What is stored is read with a key by its plan, or by everybody within a limit per address."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps

from access import key_cache
from access.models import Allowance, CreditEntry, Tier
from collectors.history import exports, partitions, rollups
from collectors.models import Tick, Watermark
from lib import clock
from tests.gaps.test_api import ADMIN
from tests.status.conftest import clean_valkey, key_of, tiers
from tests.world import add_exchange, add_market

__all__ = ["clean_valkey", "key_of", "tiers"]
ROUTES = ("gaps/", "runs/", "trades/", "trades/holes/", "orderbooks/", "funding/")


@pytest.fixture
def stored(db):
    """One market with three rows of the last minutes; gives its pipeline."""
    now = clock.now()
    partitions.ensure(now)
    exchange = add_exchange("kraken", since=now - timedelta(hours=1), worker={"status": "running"})
    pipeline = add_market(exchange, "BTC", "USD", since=now - timedelta(hours=1)).pk
    Watermark.objects.create(name=rollups.CURSOR, reached_at=now - timedelta(minutes=10))
    moments = [now - timedelta(seconds=seconds) for seconds in (300, 200, 100)]
    Tick.objects.bulk_create([Tick(pipeline_id=pipeline, received_at=at, last=100.0) for at in moments])
    return pipeline


def data_routes(pipeline: int) -> list[str]:
    candles = "/api/v1/candles?exchange=kraken&symbol=BTCUSD"
    calendar = "/api/v1/quality/calendar?exchange=kraken&symbol=BTCUSD"
    return [*(f"/api/v1/{route}" for route in ROUTES), f"/api/v1/pipelines/{pipeline}/history", candles, calendar]


def test_everybody_may_read_within_a_limit_per_address(client, stored, settings):
    settings.PUBLIC_DATA_PER_MINUTE = 3
    answers = [client.get(data_routes(stored)[6]) for _ in range(4)]
    elsewhere = client.get(data_routes(stored)[0], REMOTE_ADDR="203.0.113.9")

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert (answers[3].json()["error"], int(answers[3].headers["Retry-After"]) > 0) == ("rate_limit_exceeded", True)
    assert elsewhere.status_code == 200


def test_closed_data_need_a_key_or_staff(client, admin_client, stored, settings, key_of):
    settings.PUBLIC_DATA = False
    key = key_of("pro")
    for route in data_routes(stored):
        refused = client.get(route)
        assert (refused.status_code, refused.json()["error"]) == (401, "unauthorized"), route
        assert "X-API-Key" in refused.json()["message"]
        assert client.get(route, headers={"X-API-Key": key}).status_code == 200, route
        assert client.get(route, headers={"X-API-Key": ADMIN["X-Admin-Key"]}).status_code == 200, route
        assert admin_client.get(route).status_code == 200, route
    assert client.get("/api/v1/pipelines/").status_code == 200


def test_a_key_pays_a_credit_for_each_thousand_rows_begun(client, stored, key_of):
    key = key_of("pro")
    answer = client.get(data_routes(stored)[6], headers={"X-API-Key": key})
    empty = client.get("/api/v1/trades/", headers={"X-API-Key": key})

    assert len(answer.json()["rows"]) == 3
    assert (answer.headers["X-Credits-Charged"], empty.headers["X-Credits-Charged"]) == ("1", "0")
    assert answer.headers["X-Credits-Remaining"] == "2499999"
    assert list(CreditEntry.objects.values_list("endpoint", "credits")) == [("history", 1)]
    assert Allowance.objects.get().credits_used == 1


@pytest.mark.parametrize(
    ("tier", "changes", "status", "error"),
    [
        ("free", {}, 403, "tier_locked"),
        ("pro", {"requests_per_minute": 0}, 429, "rate_limit_exceeded"),
        ("pro", {"monthly_credits": 0}, 402, "credits_exhausted"),
    ],
)
def test_a_plan_refuses_in_its_order_and_takes_nothing(client, stored, key_of, tier, changes, status, error):
    key = key_of(tier, tier_changes=changes)

    refused = client.get(data_routes(stored)[7], headers={"X-API-Key": key})
    refused = client.get(data_routes(stored)[6], headers={"X-API-Key": key})

    assert (refused.status_code, refused.json()["error"]) == (status, error)
    assert not CreditEntry.objects.exists()


def test_a_wrong_key_is_refused_although_the_data_are_open(client, stored):
    refused = client.get(data_routes(stored)[6], headers={"X-API-Key": "mm_nobody00_x"})

    assert (refused.status_code, refused.json()["error"]) == (401, "unauthorized")


def test_a_scope_narrows_a_key_to_candles(client, stored, key_of):
    key = key_of("pro", scopes=["candles"])

    assert client.get(data_routes(stored)[7], headers={"X-API-Key": key}).status_code == 200
    assert client.get(data_routes(stored)[6], headers={"X-API-Key": key}).status_code == 403


def test_a_plan_caps_rows_and_says_so(client, stored, key_of):
    key = key_of("pro", tier_changes={"max_rows": 2})

    history = client.get(data_routes(stored)[6], headers={"X-API-Key": key}).json()
    candles = client.get(data_routes(stored)[7], headers={"X-API-Key": key})

    assert (len(history["rows"]), history["is_cut"]) == (2, True)
    assert (len(candles.json()["candles"]), candles.headers["X-Rows-Capped"]) == (2, "true")
    assert candles.json()["is_capped"] is True
    assert candles.json()["next_cursor"]


def test_customers_export_and_pay_before_the_first_row(transactional_db, client, stored, key_of):
    start = (clock.now() - timedelta(hours=1)).isoformat()
    query, key = {"from": start, "exchange": "kraken"}, key_of("pro")

    answer = client.get("/api/v1/ticks/export", query, headers={"X-API-Key": key})
    rows = b"".join(answer.streaming_content).decode().splitlines()
    Tier.objects.filter(pk="pro").update(max_rows=2)
    key_cache.forget()
    refused = client.get("/api/v1/ticks/export", query, headers={"X-API-Key": key})

    assert (answer.status_code, len(rows), answer.headers["X-Credits-Charged"]) == (200, 4, "1")
    assert (refused.status_code, "your plan" in str(refused.json()["details"])) == (400, True)
    assert client.get("/api/v1/ticks/export", query).status_code == 401
    assert client.get("/api/v1/ticks/export", query, headers={"X-API-Key": key_of("free")}).status_code == 403


def test_an_export_that_is_not_paid_for_makes_room_for_the_next(transactional_db, client, stored, key_of):
    query = {"from": (clock.now() - timedelta(hours=1)).isoformat(), "exchange": "kraken"}
    key = key_of("pro", tier_changes={"monthly_credits": 0})

    for _ in range(exports.MOST_AT_ONCE + 1):
        assert client.get("/api/v1/ticks/export", query, headers={"X-API-Key": key}).status_code == 402
    assert not CreditEntry.objects.exists()


def test_the_migration_opens_data_in_pro_and_business_only(db):
    migration = import_module("access.migrations.0005_data_endpoints")
    Tier.objects.create(name="own", rank=50, max_rows=10, endpoints=["pairs"])
    migration.add_words(apps, None)
    migration.add_words(apps, None)

    words = {tier.name: set(migration.WORDS) & set(tier.endpoints) for tier in Tier.objects.all()}
    assert words == {"free": set(), "own": set(), "pro": set(migration.WORDS), "business": set(migration.WORDS)}
    assert len(set(Tier.objects.get(name="pro").endpoints)) == len(Tier.objects.get(name="pro").endpoints)
