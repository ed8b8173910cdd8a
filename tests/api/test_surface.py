"""What is public, what is described, and that reading changes nothing."""

from __future__ import annotations

import re

import pytest
import yaml
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern

from marketmon import urls
from tests.api.conftest import Fill

NOT_DESCRIBED = {"metrics", "schema", "docs", "api-root"}


def described_routes() -> list[URLPattern]:
    return [
        each
        for each in urls.urlpatterns
        if isinstance(each, URLPattern)
        and re.match(r"\^?((api/)?v1|metrics/|regime/|grids/|health|live|ready)", str(each.pattern))
    ]


def is_refusal(route: URLPattern) -> bool:
    """Routes whose only answer is an error: a parameter is missing, or nothing is there."""
    return str(route.name).endswith("-nothing") or ".*" in str(route.pattern)


@pytest.fixture(scope="module")
def schema() -> dict:
    return yaml.safe_load(Client().get("/api/schema/").content)


def test_every_api_route_is_in_the_schema(schema: dict) -> None:
    described = {re.sub(r"\{[^}]*\}", "{}", path).rstrip("/") for path in schema["paths"]}
    routes = {
        "/"
        + re.sub(r"\(\?P<\w+>(?:[^()])*\)", "{}", str(route.pattern))
        .strip("^$")
        .removesuffix("/?")
        .rstrip("/")
        .replace("\\.", ".")
        for route in described_routes()
        if route.name not in NOT_DESCRIBED and not is_refusal(route)
    }

    assert routes == described


def test_worker_status_is_described_with_its_examples(schema: dict) -> None:
    for path, absent in (
        ("market", "Collector service is not available"),
        ("exchanges", "Collector service not available"),
    ):
        (operation,) = (
            each["get"]
            for place, each in schema["paths"].items()
            if place.rstrip("/").endswith(f"{path}/workers/status")
        )
        examples = operation["responses"]["503"]["content"]["application/json"]["examples"]

        assert examples["Absent"]["value"]["error"] == absent
        assert "200" in operation["responses"]
        assert "security" not in operation or operation["security"] == [{}]


def test_the_schema_has_no_warning(capsys: pytest.CaptureFixture[str]) -> None:
    from drf_spectacular.drainage import GENERATOR_STATS

    with GENERATOR_STATS.silence():
        GENERATOR_STATS.reset()
        Client().get("/api/schema/")

        assert not GENERATOR_STATS._warn_cache
        assert not GENERATOR_STATS._error_cache


def test_docs_need_nothing_from_elsewhere() -> None:
    page = Client().get("/api/docs/").content.decode()

    assert 'src="/static/' in page
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//[^"']+""", page)


@pytest.mark.parametrize("route", ["/api/v1/", "/api/v1/exchanges", "/api/v1/gaps?limit=1"])
def test_the_api_can_be_explored_in_a_browser(world: Fill, client: Client, route: str) -> None:
    world(3)

    response = client.get(route, headers={"Accept": "text/html"})

    assert response.status_code == 200
    assert "marketmon" in response.content.decode()
    assert response["Content-Type"].startswith("text/html")


def test_the_browsable_api_costs_no_more_queries(world: Fill, client: Client) -> None:
    world(1000)

    with CaptureQueriesContext(connection) as queries:
        client.get("/api/v1/gaps", headers={"Accept": "text/html"})

    assert len(queries) == 2  # the rows, and the limit of their time


def test_admin_pages_are_closed_to_strangers(client: Client, db: None) -> None:
    client.force_login(User.objects.create_user("paul"))

    assert client.get("/admin/exchanges/exchange/").status_code == 302
    assert Client().get("/admin/collectors/worker/")["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("path", ["/", "/admin"])
def test_the_front_door_leads_to_the_admin(client: Client, path: str) -> None:
    assert client.get(path)["Location"] == "/admin/"
