"""Parameters that strangers try: refused in words, never answered 5xx."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from django.test import Client

from tests.api.conftest import Fill

MOMENTS = {
    "pipelines": ("received_after", "received_before"),
    "runs": ("started_after", "started_before"),
    "gaps": ("started_after", "started_before"),
    "transitions": ("happened_after", "happened_before"),
    "orderbooks": ("from", "to"),
    "trades": ("from", "to"),
    "trades/holes": ("from", "to"),
    "funding": ("from", "to"),
}
NO_MOMENT_IN_UTC = ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59")
METRICS_ROUTES = (
    "/metrics",
    "/metrics/history",
    "/metrics/collect",
    "/regime/current",
    "/grids/status",
    "/grids/nothing",
)


@pytest.fixture
def stranger(db: None) -> Client:
    return Client(raise_request_exception=False)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What our own handler writes."""
    (handler,) = (each for each in logging.getLogger().handlers if type(each) is logging.StreamHandler)
    usual = handler.setStream(lines := io.StringIO())
    yield lines
    handler.setStream(usual)


@pytest.mark.parametrize("text", NO_MOMENT_IN_UTC, ids=["before the first year", "after the last"])
@pytest.mark.parametrize(("place", "name"), [(place, name) for place, names in MOMENTS.items() for name in names])
def test_a_moment_beyond_the_calendar_is_refused_by_name(stranger: Client, place: str, name: str, text: str) -> None:
    answer = stranger.get(f"/api/v1/{place}", {name: text})

    assert answer.status_code == 400
    assert list(answer.json()["details"]) == [name]


def test_the_first_and_the_last_moment_are_moments(stranger: Client, world: Fill) -> None:
    world(2)

    for text, count in (("0001-01-01T00:00:00Z", 2), ("9999-12-31T23:59:59Z", 0)):
        assert len(stranger.get("/api/v1/gaps", {"started_after": text}).json()["results"]) == count


@pytest.mark.parametrize("path", ["/api/v1/", "/api/v1/gaps", "/api/schema", *METRICS_ROUTES])
@pytest.mark.parametrize("format_", ["0", "xml", "é"])
def test_a_form_that_is_not_there_is_refused_by_name(stranger: Client, path: str, format_: str) -> None:
    answer = stranger.get(path, {"format": format_})

    assert answer.status_code in (400, 404, 405)
    if answer.status_code == 400:
        assert "format is one of" in answer.content.decode()


@pytest.mark.parametrize("path", ["/api/v1/", "/api/v1/gaps", "/health", "/v1/status", *METRICS_ROUTES])
def test_a_thousand_parameters_are_no_failure_of_ours(stranger: Client, path: str) -> None:
    answer = stranger.get(path, {f"name{number}": "x" for number in range(1500)})

    assert answer.status_code < 500


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example" + "x" * 5000, "evil.example\xff"], ids=["plain", "long", "no ASCII"]
)
@pytest.mark.parametrize("path", ["/api/v1/", "/admin/login/"])
def test_a_host_that_is_not_ours_costs_one_line_of_warning(
    stranger: Client, logged: io.StringIO, path: str, host: str
) -> None:
    answer = stranger.get(path, headers={"Host": host})

    (line,) = (line for line in map(json.loads, logged.getvalue().splitlines()) if line["level"] != "info")
    assert answer.status_code == 400
    assert (line["level"], line["logger"]) == ("warning", "django.security.DisallowedHost")
    assert "evil.example" in line["event"]
    assert len(json.dumps(line)) < 500
    assert "Traceback" not in json.dumps(line)


@pytest.mark.parametrize(
    "path",
    [
        *("/api/v1", "/api/v1/exchanges", "/api/v1/exchanges/binance", "/api/v1/exchanges/nothing", "/api/v1/markets"),
        *(
            "/api/v1/workers",
            "/api/v1/pipelines",
            "/api/v1/runs",
            "/api/v1/gaps",
            "/api/v1/transitions",
            "/api/v1/trades",
        ),
        *("/api/v1/exchanges/config", "/api/v1/exchanges/supported", "/api/v1/exchanges/workers/status", "/v1/status"),
        *("/metrics/history", "/regime/current", "/grids/status", "/health", "/live", "/ready", "/metrics", "/api/no"),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_what_is_true_now_is_kept_by_nobody(stranger: Client, world: Fill, path: str, accept: str) -> None:
    world(2)

    assert stranger.get(path, headers={"Accept": accept})["Cache-Control"] == "no-store"
