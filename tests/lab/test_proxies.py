"""The web behind nginx, Caddy and HAProxy from Debian, set as docs/running.md says: whose address is believed, that a
path of a host works, and that answers come as they left."""

from __future__ import annotations

import gzip
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from lib.home import PROJECT_DIR
from tests.lab.conftest import Program
from tests.lab.visitors import FromAddress, certificate
from tests.sandbox_client import free_port
from tests.status.conftest import make_venue
from tests.status.running import web

pytestmark = pytest.mark.django_db(transaction=True)
CUSTOMER, ANOTHER, STRANGER = "127.0.0.5", "127.0.0.6", "203.0.113.9"
BASE = "/marketmon"
PAGE = (PROJECT_DIR / "docs/running.md").read_text()


def advised(proxy: str) -> list[str]:
    """What the page's table says is to be set for a proxy."""
    (cell,) = re.findall(rf"^\| {proxy} \| (.*) \|$", PAGE, re.M)
    return re.findall(r"`([^`]+)`", cell)


NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/certificate.pem; ssl_certificate_key {folder}/key.pem;
        {advised}
        location / {{ proxy_pass {behind}; }}
        location {base}/taken/ {{ proxy_pass {behind}/; }}
    }}
}}
"""
CADDY = """
{{
    admin off
    auto_https off
    storage file_system {folder}
    default_sni your.host
}}
https://127.0.0.1:{port}, https://your.host:{port} {{
    tls {folder}/certificate.pem {folder}/key.pem
    handle_path {base}/taken/* {{
        reverse_proxy {behind}
    }}
    handle {{
        reverse_proxy {behind}
    }}
}}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend front
    bind 127.0.0.1:{port} ssl crt {folder}/both.pem
    {advised}
    http-request replace-path {base}/taken/(.*) /\\1
    default_backend web
backend web
    server web {address}
"""


@dataclass(frozen=True, slots=True)
class Front:
    """A running proxy with TLS; `folder` has its certificate."""

    url: str
    folder: Path

    def ask(self, path: str, *, source: str = CUSTOMER, method: str = "GET", **headers: str) -> requests.Response:
        with requests.Session() as session:
            session.mount("https://", FromAddress(source))
            session.trust_env = False
            session.verify = str(self.folder / "certificate.pem")
            given = {"Host": "your.host", **headers}
            return session.request(method, self.url + path, headers=given, timeout=20, allow_redirects=False)

    def raw(self, request: str) -> bytes:
        host, _, port = self.url.removeprefix("https://").partition(":")
        trusting = ssl.create_default_context(cafile=str(self.folder / "certificate.pem"))
        plain = socket.create_connection((host, int(port)), timeout=20)
        with trusting.wrap_socket(plain, server_hostname="your.host") as line:
            line.sendall(request.encode())
            return b"".join(iter(lambda: line.recv(65536), b""))


def command_of(kind: str, debian: Program, folder: Path, port: int, behind: str) -> list[str]:
    values = {"folder": folder, "port": port, "behind": behind, "base": BASE, "address": behind.removeprefix("http://")}
    if kind == "nginx":
        (folder / "nginx.conf").write_text(NGINX.format(advised="\n".join(advised("nginx")), **values))
        words = ["-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"]
        return [debian("nginx", "nginx-light"), *words]
    if kind == "caddy":
        (folder / "Caddyfile").write_text(CADDY.format(**values))
        return [debian("caddy", "caddy"), "run", "--config", f"{folder}/Caddyfile", "--adapter", "caddyfile"]
    (folder / "haproxy.cfg").write_text(HAPROXY.format(advised="\n    ".join(advised("HAProxy")), **values))
    return [debian("haproxy", "haproxy"), "-db", "-f", f"{folder}/haproxy.cfg"]


@contextmanager
def front_of(kind: str, debian: Program, folder: Path, behind: str) -> Iterator[Front]:
    folder.mkdir()
    certificate(folder)
    port = free_port()
    running = subprocess.Popen(
        command_of(kind, debian, folder, port, behind),
        stdout=subprocess.DEVNULL, stderr=(folder / "stderr").open("wb"), env={"HOME": str(folder)},
    )  # fmt: skip
    made = Front(f"https://127.0.0.1:{port}", folder)
    try:
        _wait(made, running)
        yield made
    finally:
        running.terminate()
        running.wait(10)


def _wait(made: Front, running: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + 30
    while True:
        try:
            if made.ask("/live").status_code == 200:
                return
        except requests.ConnectionError:
            pass
        assert running.poll() is None, (made.folder / "stderr").read_text()
        assert time.monotonic() < give_up_at, (made.folder / "stderr").read_text()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def behind(django_db_setup: None) -> Iterator[str]:
    """The address of a web that trusts proxies on 127.0.0.1, has TLS in front and lies under a path."""
    settings = {
        "TRUSTED_PROXIES": "127.0.0.1/32",
        "USE_TLS": "1",
        "ALLOWED_HOSTS": "your.host,127.0.0.1",
        "BASE_PATH": BASE,
        "ADMIN_API_KEY": "lab-7f0c9a4e-lab-51d2b8e3-lab-0a1b2c3d",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        with web() as running:
            yield running.url


@pytest.fixture(scope="module", params=[pytest.param("nginx", marks=pytest.mark.smoke), "caddy", "haproxy"])
def front(
    request: pytest.FixtureRequest, debian: Program, behind: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    with front_of(request.param, debian, tmp_path_factory.mktemp("proxy") / request.param, behind) as made:
        yield made


def test_a_key_is_bound_to_the_address_that_the_proxy_saw(front: Front, key_of: Callable[..., str]) -> None:
    make_venue("luno").market("BTC", "NGN", age=5)
    key = key_of("pro", allowed_ips=[f"{CUSTOMER}/32"])

    answers = [front.ask("/v1/status/pipelines", source=source, **{"X-API-Key": key}) for source in (CUSTOMER, ANOTHER)]

    assert [answer.status_code for answer in answers] == [200, 403]


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For",
        "X_Forwarded_For",
        "X-Forwarded_For",
        "Forwarded",
        "X-Real-IP",
        "True-Client-IP",
        "X-Client-IP",
    ],
)
def test_nobody_becomes_another_by_a_header(front: Front, key_of: Callable[..., str], header: str) -> None:
    make_venue("luno").market("BTC", "NGN", age=5)
    key = key_of("pro", allowed_ips=[f"{STRANGER}/32"])

    for value in (STRANGER, f"{STRANGER}, {STRANGER}", f"for={STRANGER}", f"{STRANGER}:80", f"{STRANGER}, 127.0.0.1"):
        answer = front.ask("/v1/status/pipelines", **{"X-API-Key": key, header: value})
        assert answer.status_code in (400, 403), (value, answer.text)


def test_guesses_are_counted_by_whom_the_proxy_saw(front: Front) -> None:
    source = f"127.0.1.{hash(front.url) % 200 + 10}"  # each proxy's own: one minute is not over with the next
    path = "/api/v1/exchanges/blacklist/kraken"

    tried = [
        front.ask(
            path, method="DELETE", source=source, **{"X-Admin-Key": "w" * 40, "X-Forwarded-For": f"203.0.113.{n}"}
        )
        for n in range(7)
    ]

    assert [answer.status_code for answer in tried] == [401] * 5 + [429] * 2
    assert front.ask(path, method="DELETE", source=ANOTHER, **{"X-Admin-Key": "w" * 40}).status_code == 401


def test_what_the_proxy_says_of_tls_is_believed_and_nobody_else(front: Front, behind: str) -> None:
    direct = requests.get(f"{behind}/status", headers={"Host": "your.host"}, allow_redirects=False)

    assert front.ask("/status", **{"X-Forwarded-Proto": "http"}).status_code == 200
    assert (direct.status_code, direct.headers["Location"]) == (301, f"https://your.host{BASE}/status")


@pytest.mark.parametrize("place", ["", BASE, f"{BASE}/taken"], ids=["none", "passed on", "taken away"])
def test_a_path_of_the_host_works_passed_on_and_taken_away(front: Front, place: str) -> None:
    page = front.ask(f"{place}/admin/login/")
    links = re.findall(r'(?:href|src|action)="(/[^"?]*)', page.text)

    assert page.status_code == 200
    assert links
    assert {link for link in links if not link.startswith(f"{BASE}/")} == set()
    assert {front.ask(link).status_code for link in links if "/static/" in link} == {200}
    assert front.ask(f"{place}/board/").headers["Location"].startswith(f"{BASE}/admin/login/")


def test_compressed_answers_pass_as_they_are(front: Front, key_of: Callable[..., str]) -> None:
    luno = make_venue("luno")
    for number in range(30):
        luno.market(f"C{number:02}", "NGN", age=5)
    key = key_of("pro")
    headers = f"Host: your.host\r\nX-API-Key: {key}\r\nAccept-Encoding: gzip\r\nConnection: close"

    answer = front.raw(f"GET /v1/status/pipelines HTTP/1.1\r\n{headers}\r\n\r\n")

    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\ncontent-encoding: gzip" in head.lower()
    assert b'"symbol":"C29"' in gzip.decompress(body)


def test_of_several_proxies_in_a_row_each_is_trusted_and_none_else(
    debian: Program, behind: str, tmp_path: Path, key_of: Callable[..., str]
) -> None:
    """A CDN, nginx here, and HAProxy of one's own: both speak from 127.0.0.1, which is trusted."""
    make_venue("luno").market("BTC", "NGN", age=5)
    key = key_of("pro", allowed_ips=[f"{CUSTOMER}/32"])
    with (
        front_of("nginx", debian, tmp_path / "inner", behind) as inner,
        front_of("haproxy", debian, tmp_path / "outer", behind) as outer,
    ):
        text = (outer.folder / "haproxy.cfg").read_text()
        port = free_port()
        address = inner.url.removeprefix("https://")
        text = text.replace(outer.url.removeprefix("https://"), f"127.0.0.1:{port}")
        text = re.sub(r"server web \S+", f"server web {address} ssl verify none sni str(your.host)", text)
        (outer.folder / "row.cfg").write_text(text)
        row = subprocess.Popen([debian("haproxy", "haproxy"), "-db", "-f", f"{outer.folder}/row.cfg"])
        try:
            chained = Front(f"https://127.0.0.1:{port}", outer.folder)
            _wait(chained, row)
            asked = [
                chained.ask("/v1/status/pipelines", source=source, **{"X-API-Key": key, "X-Forwarded-For": CUSTOMER})
                for source in (CUSTOMER, ANOTHER)
            ]
        finally:
            row.terminate()
            row.wait(10)

    assert [answer.status_code for answer in asked] == [200, 403]
