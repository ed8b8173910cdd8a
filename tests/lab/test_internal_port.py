"""The second listener of the real web: what needs no token is there, and nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from embedded.settings import web_command
from lib.home import PROJECT_DIR
from tests.api.test_gateway import ask, exchange
from tests.sandbox_client import free_port, wait_for_http
from tests.status.running import web
from tests.world import beat_was_seen

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
TOKEN = "let-me-in"


@pytest.fixture(scope="module")
def ports(django_db_setup: None) -> Iterator[tuple[int, int]]:
    """The public port and the internal one of a web as in production."""
    inside = free_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "INTERNAL_PORT": str(inside),
            "METRICS_WEBHOOK_OPEN": "off",
            "METRICS_WEBHOOK_TOKEN": TOKEN,
            "USE_TLS": "1",
            "ALLOWED_HOSTS": "your.host",
        }.items():
            patch.setenv(name, value)
        with web() as running:
            yield running.port, inside


def get(port: int, path: str, *headers: str, host: str = "web:8001") -> tuple[int, bytes]:
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]
    status, _, body = exchange(port, "\r\n".join(lines).encode())
    return status, body


@pytest.mark.parametrize(
    "path", ["/metrics", "/metrics/", "/metrics/history", "/regime/current", "/grids/status", "/live", "/health"]
)
def test_what_is_for_the_inside_needs_no_token_there(ports: tuple[int, int], path: str) -> None:
    public, inside = ports
    beat_was_seen()

    assert get(inside, path)[0] == 200
    assert get(public, path)[0] == (200 if path in ("/live", "/health") else 401)


@pytest.mark.parametrize(
    "path",
    ["/", "/admin/", "/board/", "/status", "/v1/status", "/api/v1/exchanges", "/metricsx", "//metrics", "/static/x"],
)
def test_nothing_else_is_there(ports: tuple[int, int], path: str) -> None:
    status, body = get(ports[1], path)

    assert status == 404
    assert b"INTERNAL_PORT serves" in body


def test_no_header_makes_a_public_request_an_internal_one(ports: tuple[int, int]) -> None:
    for header in ("marketmon.internal: 1", "Marketmon-Internal: 1", "X-Forwarded-Port: 8001"):
        assert get(ports[0], "/metrics", header)[0] == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", 200), ("[::1]:8001", 200), ("web", 200), ("your.host", 200), ("rebound.example", 400)],
)
def test_a_page_cannot_let_its_name_lead_there(ports: tuple[int, int], host: str, status: int) -> None:
    assert get(ports[1], "/metrics/history", host=host)[0] == status


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-site", 403), ("none", 422)])
def test_a_page_cannot_change_anything_there(ports: tuple[int, int], site: str, status: int) -> None:
    body = b'{"market": 1}'
    headers = (f"Sec-Fetch-Site: {site}", f"Content-Length: {len(body)}", "Content-Type: application/json")

    assert ask(ports[1], *headers, path="/grids/create", method="POST", body=body)[0] == status


def test_balances_want_the_token_there_too(ports: tuple[int, int]) -> None:
    collected, told = ask(ports[1], "Content-Length: 0", path="/metrics/collect", method="POST")
    assert (collected, told["status"]) == (200, "success")

    hidden = get(ports[1], "/metrics/history?include=snapshot")[1]
    shown = get(ports[1], "/metrics/history?include=snapshot", f"X-Webhook-Token: {TOKEN}")[1]

    assert (b"account_balance_hidden" in hidden, b"account_balance_hidden" in shown) == (True, False)


def test_headers_and_bodies_are_read_as_on_the_public_port(ports: tuple[int, int]) -> None:
    assert get(ports[1], "/metrics", "X_Forwarded_For: 1.1.1.1")[0] == 400
    assert ask(ports[1], "Content-Length: 3000000", path="/metrics/collect", method="POST")[0] == 422


@pytest.mark.smoke
def test_it_ends_with_the_web_whoever_is_still_connected() -> None:
    """Its threads kept the process, which was killed with its last answers four seconds later."""
    port, inside = free_port(), free_port()
    command = web_command(port)
    at = command.index("--workers-kill-timeout")
    running = subprocess.Popen(
        command[:at] + command[at + 2 :], cwd=PROJECT_DIR, env={**os.environ, "INTERNAL_PORT": str(inside)}
    )
    try:
        wait_for_http(f"http://127.0.0.1:{inside}/live", seconds=60)
        with socket.create_connection(("127.0.0.1", inside), 10) as kept:
            kept.sendall(b"GET /live HTTP/1.1\r\nHost: web\r\n\r\n")
            assert b"200" in kept.recv(100)
            running.terminate()
            running.wait(10)
    finally:
        running.kill()


def test_a_web_does_not_start_without_the_port_that_it_shall_listen_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        taken = held.getsockname()[1]
        done = subprocess.run(
            web_command(free_port()), cwd=PROJECT_DIR, env={**os.environ, "INTERNAL_PORT": str(taken)},
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

    assert done.returncode != 0
    assert f"INTERNAL_PORT={taken} on 127.0.0.1 is taken" in done.stdout + done.stderr
