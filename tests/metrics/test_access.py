"""Who may call the metrics webhook API: anybody while it is an internal service, else whoever has the token."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.http import HttpResponse
from django.test import Client

from exchanges.models import Exchange
from metrics.checks import check_webhook_token
from metrics.models import Balance, Collection
from tests.metrics.conftest import Place
from tests.sandbox_client import PROJECT

ROUTES = (
    "/metrics",
    "/metrics/collect",
    "/metrics/history",
    "/regime/current",
    "/regime/analyze",
    "/grids/status",
    "/grids/create",
    "/grids/nothing",
)
TOKEN = "let-me-in"


@pytest.fixture
def production(settings: Any) -> Any:
    """Servers that are not ours, and no token."""
    settings.METRICS_WEBHOOK_OPEN = False
    return settings


def ask(api: Client, path: str, **headers: str) -> HttpResponse:
    method = "POST" if path.rsplit("/", 1)[-1] in ("collect", "analyze", "create") else "GET"
    return partial(api.generic, method, path, headers=headers)()


@pytest.mark.parametrize("path", ROUTES)
def test_production_is_closed_while_there_is_no_token(place: Place, api: Client, production: Any, path: str) -> None:
    answers = [ask(api, path), ask(api, path + "/"), ask(api, path, Authorization="Bearer "), ask(api, path, **FORGED)]

    assert [answer.status_code for answer in answers] == [401] * 4
    assert {"METRICS_WEBHOOK_TOKEN" in answer.json()["error"] for answer in answers} == {True}
    assert answers[0]["WWW-Authenticate"] == "Bearer"


FORGED = {"X-Webhook-Token": ""}


@pytest.mark.parametrize("path", ["/metrics", "/metrics/collect", "/metrics/history", "/regime/current"])
def test_production_opens_to_the_token(place: Place, api: Client, production: Any, path: str) -> None:
    production.METRICS_WEBHOOK_TOKEN = TOKEN

    assert ask(api, path, Authorization=f"Bearer {TOKEN}").status_code == 200
    assert ask(api, path, Authorization="Bearer wrong").status_code == 401


@pytest.mark.parametrize("path", ["/health", "/live"])
def test_probes_need_no_token(transactional_db: None, api: Client, production: Any, path: str) -> None:
    assert ask(api, path).status_code == 200


def test_whether_all_is_ready_is_said_to_everybody(transactional_db: None, api: Client, production: Any) -> None:
    assert set(ask(api, "/ready").json()) == {"ready", "services"}


# --- balances -----------------------------------------------------------------------------------------------------


@pytest.fixture
def balance(place: Place) -> Balance:
    collected = Collection.objects.create(
        collection_id="one", started_at=place.now, settled_at=place.now, trigger_source="test", status="success"
    )
    exchange = Exchange.objects.get(pk="binance")
    return Balance.objects.create(collection=collected, exchange=exchange, asset="BTC", free=1, used=0, total=1)


def test_balances_are_for_nobody_without_a_token(balance: Balance, api: Client, settings: Any) -> None:
    settings.METRICS_WEBHOOK_OPEN = True

    (entry,) = api.get("/metrics/history?include=snapshot").json()["metrics"]

    assert entry["snapshot"]["account_balance"] == []
    assert entry["snapshot"]["account_balance_hidden"] is True


def test_balances_are_for_who_has_the_token(balance: Balance, api: Client, settings: Any) -> None:
    settings.METRICS_WEBHOOK_TOKEN = TOKEN

    answer = ask(api, "/metrics/history?include=snapshot", **{"X-Webhook-Token": TOKEN})

    (entry,) = answer.json()["metrics"]
    assert entry["snapshot"]["account_balance"] == [
        {"exchange": "binance", "asset": "BTC", "free": 1.0, "used": 0.0, "total": 1.0}
    ]
    assert "account_balance_hidden" not in entry["snapshot"]


# --- what operators are told ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("is_open", "words"), [(True, "open to everybody"), (False, "closed")])
def test_a_deployment_without_a_token_is_warned_of(settings: Any, is_open: bool, words: str) -> None:
    settings.METRICS_WEBHOOK_OPEN = is_open

    (warning,) = check_webhook_token()

    assert (warning.id, warning.is_serious()) == ("metrics.W001", False)
    assert words in warning.msg
    assert "METRICS_WEBHOOK_TOKEN" in str(warning.hint)


def test_a_deployment_with_a_token_is_not(settings: Any) -> None:
    settings.METRICS_WEBHOOK_TOKEN = TOKEN

    assert check_webhook_token() == []


@pytest.mark.parametrize(("is_open", "count"), [(True, 0), (False, 1)])
def test_prepare_says_what_is_closed(transactional_db: None, settings: Any, is_open: bool, count: int) -> None:
    settings.METRICS_WEBHOOK_OPEN = is_open
    said = StringIO()

    call_command("prepare", stdout=said)

    assert said.getvalue().count("METRICS_WEBHOOK_TOKEN") == count


# --- which of the two it is -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "is_open"),
    [
        ({"DATABASE_URL": "postgres://check@/check?host=/nonexistent"}, "False"),
        ({}, "True"),
        ({"METRICS_WEBHOOK_OPEN": "off"}, "False"),
        ({"DATABASE_URL": "postgres://check@/check?host=/nonexistent", "METRICS_WEBHOOK_OPEN": "on"}, "True"),
    ],
)
def test_it_is_open_only_with_servers_of_our_own(tmp_path: Any, environ: dict[str, str], is_open: str) -> None:
    """What `up` has started is in its home's runtime.env."""
    (tmp_path / "runtime.env").write_text("DATABASE_URL=postgres://check@/check?host=/nonexistent\n")
    kept = {name: os.environ[name] for name in ("PATH", "SECRET_KEY", "ADMIN_API_KEY", "REDIS_URL")}
    code = "from django.conf import settings; print(settings.METRICS_WEBHOOK_OPEN)"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True,
        env={**kept, "DJANGO_SETTINGS_MODULE": "marketmon.settings", "MARKETMON_HOME": str(tmp_path), **environ},
    )  # fmt: skip

    assert done.stdout.strip() == is_open
