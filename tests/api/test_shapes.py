"""What is really answered has exactly the shape that the OpenAPI schema declares: no field more, none less."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml
from django.conf import settings
from django.test import Client

from tests.api.conftest import Fill

ADMIN = {"X-Admin-Key": settings.ADMIN_API_KEY}
HTML = {"Accept": "text/html"}
READS = [
    ("/api/v1/market/workers/status", 200),
    ("/api/v1/exchanges/workers/status", 200),
    ("/api/v1/exchanges/config", 200),
    ("/api/v1/exchanges/supported", 200),
    ("/api/v1/exchanges", 200),
    ("/api/v1/exchanges/kraken", 200),
    ("/api/v1/exchanges/kraken/settings", 200),
    ("/api/v1/exchanges/kraken/checks", 200),
    ("/api/v1/exchanges/nobody/settings", 404),
    ("/api/v1/workers", 200),
    ("/api/v1/workers/kraken", 200),
    ("/api/v1/workers/nobody", 404),
    ("/api/v1/markets", 200),
    ("/api/v1/pipelines", 200),
    ("/api/v1/pipelines?limit=0", 400),
    ("/api/v1/gaps", 200),
    ("/api/v1/gaps/99", 404),
    ("/api/v1/gaps/export", 400),
    ("/api/v1/runs?outcome=none", 400),
    ("/api/v1/runs", 200),
    ("/api/v1/transitions", 200),
    ("/api/v1/orderbooks", 200),
    ("/api/v1/orderbooks?limit=1001", 400),
    ("/health", 200),
    ("/live", 200),
    ("/ready", 503),
    ("/metrics/history", 200),
    ("/metrics/history?limit=0", 422),
    ("/regime/current", 200),
    ("/regime/current?market=X", 404),
    ("/grids/status", 200),
    ("/grids/status?grid_id=x", 404),
    ("/v1/status", 401),
    ("/v1/status?source=x", 401),
    ("/v1/rates/live", 401),
    ("/v1/limits", 401),
]


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return yaml.safe_load(Client().get("/api/schema/").content)


def exact(shape: Any, schema: dict[str, Any]) -> Any:
    """OpenAPI 3.0's words in JSON Schema's, with references resolved; objects with named fields have no others."""
    if isinstance(shape, list):
        return [exact(each, schema) for each in shape]
    if not isinstance(shape, dict):
        return shape
    if "$ref" in shape:
        return exact(schema["components"]["schemas"][shape["$ref"].split("/")[-1]], schema)
    found = {name: exact(each, schema) for name, each in shape.items() if name != "nullable"}
    if "properties" in found:
        found.setdefault("additionalProperties", False)
    return {"anyOf": [found, {"type": "null"}]} if shape.get("nullable") else found


def declared(schema: dict[str, Any], path: str, status: int) -> Any:
    """The declared body of the answer; fixed words come before parameters."""
    parts = path.split("?")[0].strip("/").split("/")
    fitting = [
        place
        for place in schema["paths"]
        if len(names := place.strip("/").split("/")) == len(parts)
        and all(name.startswith("{") or name == part for name, part in zip(names, parts, strict=True))
    ]
    operation = schema["paths"][min(fitting, key=lambda place: place.count("{"))]["get"]
    return exact(operation["responses"][str(status)]["content"]["application/json"]["schema"], schema)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("path", "status"), READS)
def test_an_answer_has_the_shape_that_is_declared(
    client: Client, world: Fill, schema: dict[str, Any], path: str, status: int
) -> None:
    world(3)

    answer = client.get(path, headers=ADMIN)

    assert answer.status_code == status, answer.content
    jsonschema.validate(answer.json(), declared(schema, path, status))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("path", "status"), READS)
def test_each_opens_in_a_browser(client: Client, world: Fill, path: str, status: int) -> None:
    world(3)

    page = client.get(path, headers=ADMIN | HTML)

    assert page.status_code == status
    # A probe that fails answers without a page: a page may need what has failed.
    expected = "application/json" if path == "/ready" else "text/html"
    assert page["Content-Type"].split(";")[0] == expected
    assert " Views" not in page.content.decode()
