"""Programs inside the network: their probes, scrapes and calls know no public name and speak plain HTTP."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from django.test import Client

from tests.sandbox_client import PROJECT
from tests.status.running import web
from tests.world import a_worker_lives, beat_was_seen
from web.internal import MARK, PATHS

INSIDE = {"Host": "web:8000"}
TOKEN = "let-me-in"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def public(settings: Any) -> Client:
    """A caller of a web with the settings that docker-compose.yml asks for."""
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = ["your.host"], True
    settings.METRICS_WEBHOOK_TOKEN = TOKEN
    return Client(raise_request_exception=False)


@pytest.mark.parametrize("path", ["/live", "/live/", "/health"])
@pytest.mark.parametrize("kind", ["application/json", "text/html"])
def test_probes_look_at_no_host(public: Client, path: str, kind: str) -> None:
    assert public.get(path, headers={**INSIDE, "Accept": kind}).status_code == 200


def test_whether_all_is_ready_does_not_depend_on_the_host(public: Client) -> None:
    beat_was_seen()
    a_worker_lives()

    assert public.get("/ready", headers=INSIDE).status_code == 200


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/metrics/history", "/regime/current", "/grids/status"])
def test_who_has_the_token_may_ask_inside(public: Client, path: str) -> None:
    assert public.get(path, headers={**INSIDE, "Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert public.get(path, headers=INSIDE).status_code == 401


@pytest.mark.parametrize("path", ["/metrics", "/metrics/history"])
def test_without_a_token_the_host_must_be_ours(public: Client, settings: Any, path: str) -> None:
    """Or any page could let its own name lead to this machine, and read on in a visitor's browser."""
    settings.METRICS_WEBHOOK_TOKEN, settings.METRICS_WEBHOOK_OPEN = "", True

    assert public.get(path, headers={"Host": "rebound.example"}).status_code == 400
    assert public.get(path, headers={"Host": "your.host"}).status_code == 200


# --- INTERNAL_PORT (tests/lab/test_internal_port.py asks the real one) ------------------------------------------------


@pytest.fixture
def inside(public: Client, settings: Any) -> Client:
    """A caller of the second listener, which marks what comes in there."""
    settings.METRICS_WEBHOOK_OPEN = False
    return Client(raise_request_exception=False, **{MARK: True})  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/metrics", "/metrics/history", "/regime/current", "/grids/status"])
@pytest.mark.parametrize("token", ["", TOKEN])
def test_the_internal_port_wants_no_token(inside: Client, settings: Any, path: str, token: str) -> None:
    settings.METRICS_WEBHOOK_TOKEN = token

    assert inside.get(path, headers=INSIDE).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", 200), ("[::1]:8001", 200), ("web", 200), ("your.host", 200), ("rebound.example", 400), ("a.b", 400)],
)
def test_the_internal_port_answers_to_names_inside(inside: Client, host: str, status: int) -> None:
    assert inside.get("/metrics/history", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 422), ("", 422)])
def test_a_page_of_another_site_changes_nothing_there(inside: Client, site: str, status: int) -> None:
    headers = {**INSIDE, **({"Sec-Fetch-Site": site} if site else {})}

    answer = inside.post("/grids/create", "{}", content_type="application/json", headers=headers)

    assert answer.status_code == status


@pytest.mark.parametrize("header", ["Marketmon-Internal", "marketmon.internal"])
def test_no_header_is_the_mark_of_the_internal_port(public: Client, header: str) -> None:
    assert public.get("/metrics", headers={**INSIDE, header: "1"}).status_code == 401


@pytest.mark.parametrize(
    ("path", "is_there"),
    [
        *((path, True) for path in ("/metrics", "/metrics/", "/regime/x", "/grids/status", "/live", "/ready/")),
        *((path, False) for path in ("/", "/metricsx", "//metrics", "/admin/", "/board/", "/v1/status", "/static/x")),
    ],
)
def test_what_is_on_the_internal_port(path: str, is_there: bool) -> None:
    assert (PATHS.match(path) is not None) is is_there


@pytest.mark.parametrize("path", ["/status", "/api/v1/exchanges/", "/board/", "/livery", "/healthy"])
def test_all_else_wants_tls_and_a_name(public: Client, path: str) -> None:
    assert public.get(path, headers={"Host": "your.host"}).status_code == 301
    assert public.get(path, headers={**INSIDE, "X-Forwarded-Proto": "https"}).status_code == 400


def test_the_health_checks_pass_with_tls_a_public_name_and_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"USE_TLS": "1", "ALLOWED_HOSTS": "your.host", "http_proxy": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)

    with web() as running:
        beat_was_seen()
        a_worker_lives()
        done = [_probe(words, running.port) for words in (_of_compose(), _of_the_image())]
    gone = [_probe(words, running.port) for words in (_of_compose(), _of_the_image())]

    assert done == [0, 0]
    assert 0 not in gone


def _of_compose() -> list[str]:
    services = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]
    words: list[str] = services["web"]["healthcheck"]["test"][1:]
    return words


def _of_the_image() -> list[str]:
    (found,) = re.findall(r"^HEALTHCHECK .*?CMD (\[.*?\])$", (PROJECT / "Dockerfile").read_text(), re.S | re.M)
    words: list[str] = yaml.safe_load(found.replace("\\\n", ""))  # as Docker joins lines
    return words


def _probe(words: list[str], port: int) -> int:
    assert words[0] == "python"
    asked = [sys.executable, *(word.replace("8000", str(port)) for word in words[1:])]
    return subprocess.run(asked, env=os.environ, capture_output=True, timeout=30, check=False).returncode
