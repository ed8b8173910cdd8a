"""The web behind nginx, as docs/running.md advises: whose address is believed, and that answers come as they left."""

from __future__ import annotations

import gzip
import socket
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from django.conf import settings
from django.db import connection
from requests.adapters import HTTPAdapter

from collectors.history import partitions
from lib import clock
from tests.lab.conftest import Program
from tests.sandbox_client import free_port, wait_for_http
from tests.status.conftest import make_venue
from tests.status.running import web

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.smoke]
CUSTOMER, ANOTHER, STRANGER = "127.0.0.5", "127.0.0.6", "203.0.113.9"
CONFIGURATION = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {behind};
            proxy_max_temp_file_size 0;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""


@pytest.fixture
def front(debian: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an nginx in front of a web process that trusts it."""
    nginx, port = debian("nginx", "nginx-light"), free_port()
    monkeypatch.setenv("TRUSTED_PROXIES", "127.0.0.1/32")
    with web() as behind:
        file = tmp_path / "nginx.conf"
        file.write_text(CONFIGURATION.format(folder=tmp_path, port=port, behind=behind.url))
        running = subprocess.Popen([nginx, "-c", str(file), "-e", str(tmp_path / "error.log")])
        try:
            wait_for_http(f"http://127.0.0.1:{port}/live", seconds=10)
            yield f"http://127.0.0.1:{port}"
        finally:
            running.terminate()
            running.wait(10)


class FromAddress(HTTPAdapter):
    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: object, **more: object) -> None:
        super().init_poolmanager(*args, source_address=(self._address, 0), **more)  # type: ignore[arg-type]


def ask(front: str, key: str, *, source: str, **headers: str) -> requests.Response:
    with requests.Session() as session:
        session.mount("http://", FromAddress(source))
        session.trust_env = False
        return session.get(f"{front}/v1/status/pipelines", headers={"X-API-Key": key, **headers}, timeout=20)


def test_a_key_is_bound_to_the_address_that_nginx_saw(front: str, key_of: Callable[..., str]) -> None:
    make_venue("luno").market("BTC", "NGN", age=5)
    key = key_of("pro", allowed_ips=[f"{CUSTOMER}/32"])

    assert ask(front, key, source=CUSTOMER).status_code == 200
    assert ask(front, key, source=ANOTHER).status_code in (401, 403)


def test_nobody_becomes_another_by_a_header(front: str, key_of: Callable[..., str]) -> None:
    make_venue("luno").market("BTC", "NGN", age=5)
    key = key_of("pro", allowed_ips=[f"{STRANGER}/32"])

    forged = {"X-Forwarded-For": STRANGER}
    assert ask(front, key, source=CUSTOMER, **forged).status_code in (401, 403)


def test_compressed_answers_pass_as_they_are(front: str, key_of: Callable[..., str]) -> None:
    luno = make_venue("luno")
    for number in range(30):
        luno.market(f"C{number:02}", "NGN", age=5)
    key = key_of("pro")
    host, _, port = front.removeprefix("http://").partition(":")
    request = f"GET /v1/status/pipelines HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {key}\r\nAccept-Encoding: gzip\r\n"

    with socket.create_connection((host, int(port)), timeout=20) as line:
        line.sendall(f"{request}Connection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: line.recv(65536), b""))

    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\ncontent-encoding: gzip" in head.lower()
    assert b'"symbol":"C29"' in gzip.decompress(body)


def test_a_download_that_breaks_behind_the_proxy_is_broken_before_it_too(
    front: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    luno = make_venue("luno")
    pipeline = luno.market("BTC", "NGN", age=5).pk
    start = clock.now().replace(microsecond=0) - timedelta(minutes=30)
    partitions.ensure_since(start, clock.now())
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO collectors_tick (pipeline_id, received_at, last) "
            "SELECT %s, %s + n * interval '1 millisecond', n FROM generate_series(1, 1000000) AS n",
            [pipeline, start],
        )
    query = {"from": start.isoformat(), "to": (start + timedelta(minutes=20)).isoformat(), "exchange": "luno"}
    headers = {"X-Admin-Key": settings.ADMIN_API_KEY}

    answer = requests.get(f"{front}/api/v1/ticks/export", query, headers=headers, timeout=20, stream=True)
    assert answer.status_code == 200
    parts = answer.iter_content(65_536)
    next(parts)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND query LIKE 'COPY (%' AND state = 'active'"
        )
        assert cursor.fetchone() == (1,)

    with pytest.raises(requests.RequestException):
        list(parts)
