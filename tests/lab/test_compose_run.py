"""The whole of docker-compose.yml, run as it stands and used as it would be: behind TLS, by people and by programs."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.lab.compose import Composition, composition
from tests.lab.conftest import Program
from tests.lab.visitors import FromAddress, certificate

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="namespaces are root's"),
]
PASSWORDS = {"POSTGRES_PASSWORD": "p@s/s?#%41:+ 'x", "VALKEY_PASSWORD": "v@l/k?#%41:+$y"}
DOT_ENV = {
    **PASSWORDS,
    "SECRET_KEY": "$k" + "0123456789abcdef" * 4,
    "ADMIN_API_KEY": "lab-7f0c9a4e-lab-51d2b8e3-lab-0a1b2c3d",
    "ADMIN_PASSWORD": "lab-password-1f2e3d",
    "METRICS_WEBHOOK_TOKEN": "$lab-token",
    "BACKUP_PASSPHRASE": "lab of pass and phrase",
    "USE_TLS": "1",
    "ALLOWED_HOSTS": "your.host",
    "TRUSTED_PROXIES": "127.0.0.1/32",
    "ALLOW_PRIVATE_EXCHANGE_URLS": "on",  # for the sandbox, in place of the exchanges
    "RAW_RETENTION_HOURS": "72",
    "PORT": "8001",  # outside of the container
}
SERVICES = ("web", "worker", "beat", "pulse", "stream", "backup")
NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:443 ssl;
        ssl_certificate {folder}/certificate.pem; ssl_certificate_key {folder}/key.pem;
        location / {{
            proxy_pass http://127.0.0.1:8000;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""


@pytest.fixture(scope="module")
def site(debian: Program) -> Iterator[Composition]:
    """All services under their own health checks, and nginx with TLS in front."""
    nginx = debian("nginx", "nginx-light")
    folder = Path(tempfile.mkdtemp(prefix="marketmon-compose-", dir="/var/tmp"))
    folder.chmod(0o755)
    certificate(folder)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
    try:
        with composition(folder, DOT_ENV) as running:
            for server in ("postgres", "valkey"):
                running.start(server)
                running.wait_until_healthy(server)
            assert running.run("migrate") == 0, running.log_of("migrate")
            running.start_beside("nginx", [nginx, "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"])
            running.start_beside("sandbox", ["python", "-m", "sandbox", "--port", "9100"])
            for name in SERVICES:
                running.start(name)
            for name in SERVICES:
                running.wait_until_healthy(name)
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Visitor(requests.Session):
    """A browser or a program outside, which knows the site by its public name."""

    def __init__(self, site: Composition) -> None:
        super().__init__()
        self.mount("https://", FromAddress("127.0.0.5"))  # the proxy's own is trusted to speak for others
        self.trust_env = False
        self.verify = str(site.folder / "certificate.pem")
        self.headers.update({"Host": "your.host", "Referer": "https://your.host/"})

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.request(method, f"https://127.0.0.1{path}", timeout=20, allow_redirects=False, **more)

    def sign_in(self) -> requests.Response:
        page = self.ask("GET", "/admin/login/").text
        (token,) = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page))
        form = {
            "username": "admin",
            "password": DOT_ENV["ADMIN_PASSWORD"],
            "csrfmiddlewaretoken": token,
            "next": "/admin/",
        }
        return self.ask("POST", "/admin/login/", data=form)


def test_every_service_is_well_by_its_own_check(site: Composition) -> None:
    assert {name: site.is_healthy(name) for name in (*SERVICES, "postgres", "valkey")} == dict.fromkeys(
        (*SERVICES, "postgres", "valkey"), True
    )


def test_no_service_complains(site: Composition) -> None:
    complaints = re.compile(r"Traceback|CRITICAL|\"level\": ?\"(error|critical)\"|is no longer a setting")
    for name in (*SERVICES, "migrate"):
        assert not complaints.search(site.log_of(name)), site.log_of(name)[-3000:]


def test_the_settings_of_the_file_are_in_effect(site: Composition) -> None:
    words = site.output("worker", ["python", "manage.py", "settings"])

    assert re.search(r"RAW_RETENTION_HOURS\b.*\b72\b", words)
    assert not any(secret in words for secret in DOT_ENV.values() if len(secret) > 12)


def test_people_sign_in_and_come_back_by_a_link(site: Composition) -> None:
    def walk() -> list[Any]:
        visitor = Visitor(site)
        answer = visitor.sign_in()
        cookies = answer.headers["Set-Cookie"]
        board = visitor.ask("GET", "/admin/")
        from_a_chat = visitor.ask(
            "GET", "/board/", headers={"Referer": "https://chat.example/", "Sec-Fetch-Site": "cross-site"}
        )
        stranger = Visitor(site).ask("GET", "/board/")
        return [
            answer.status_code, "SameSite=Lax" in cookies and "Secure" in cookies, board.status_code,
            from_a_chat.status_code, stranger.status_code, board.headers["Strict-Transport-Security"],
            "unsafe-eval" in board.headers["Content-Security-Policy"],
        ]  # fmt: skip

    assert site.inside(walk) == [302, True, 200, 200, 302, "max-age=31536000", True]


def test_pages_bring_their_files(site: Composition) -> None:
    def walk() -> dict[str, int]:
        visitor = Visitor(site)
        page = visitor.ask("GET", "/admin/login/").text + visitor.ask("GET", "/status").text
        files = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page))
        return {path: visitor.ask("GET", path).status_code for path in files}

    answered = site.inside(walk)
    assert len(answered) > 4
    assert set(answered.values()) == {200}


def test_an_exchange_is_added_by_program_and_collected(site: Composition) -> None:
    def walk() -> Any:
        visitor, key = Visitor(site), {"X-Admin-Key": DOT_ENV["ADMIN_API_KEY"]}
        wanted = {"base_url": "http://127.0.0.1:9100", "transport": "poll", "poll_interval_seconds": 1}
        added = visitor.ask("POST", "/api/v1/exchanges/add/kraken", json=wanted, headers=key)
        refused = Visitor(site).ask("POST", "/api/v1/exchanges/add/kraken")
        for _ in range(60):
            workers = visitor.ask("GET", "/api/v1/exchanges/workers/status").json()["workers"]
            if workers.get("kraken", {}).get("last_update"):
                break
            time.sleep(0.5)
        return (
            added.status_code,
            refused.status_code,
            workers["kraken"]["status"],
            workers["kraken"]["symbols_tracked"] > 0,
        )

    assert site.inside(walk) == (200, 401, "running", True)


def test_the_webhooks_routes_want_the_token_outside_and_none_inside(site: Composition) -> None:
    def walk() -> Any:
        visitor = Visitor(site)
        token = {"Authorization": f"Bearer {DOT_ENV['METRICS_WEBHOOK_TOKEN']}"}
        routes = ("/metrics", "/metrics/history", "/regime/current", "/grids/status")
        outside = {visitor.ask("GET", path).status_code for path in routes}
        with_token = {visitor.ask("GET", path, headers=token).status_code for path in routes}
        plain = requests.Session()
        plain.trust_env = False
        inside = {
            plain.get(f"http://127.0.0.1:8001{path}", headers={"Host": "web:8001"}).status_code for path in routes
        }
        collected = plain.post("http://127.0.0.1:8001/metrics/collect", headers={"Host": "web:8001"}, timeout=60)
        board = plain.get("http://127.0.0.1:8001/board/", headers={"Host": "web:8001"}).status_code
        scraped = plain.get("http://127.0.0.1:8000/metrics", headers={"Host": "web:8000", **token})
        return outside, with_token, inside, collected.status_code, board, b"marketmon_component_up" in scraped.content

    assert site.inside(walk) == ({401}, {200}, {200}, 200, 404, True)


def test_a_caller_behind_the_proxy_is_who_the_proxy_saw(site: Composition) -> None:
    def walk() -> list[int]:
        wrong = {"X-Admin-Key": "w" * 40}
        visitor = Visitor(site)
        path = "/api/v1/exchanges/blacklist/kraken"
        return [
            visitor.ask("DELETE", path, headers={**wrong, "X-Forwarded-For": f"203.0.113.{n}"}).status_code
            for n in range(7)
        ]

    assert site.inside(walk) == [401] * 5 + [429] * 2


def test_http_is_led_to_https_and_strangers_names_are_refused(site: Composition) -> None:
    def walk() -> Any:
        plain = requests.Session()
        plain.trust_env = False
        led = plain.get("http://127.0.0.1:8000/status", headers={"Host": "your.host"}, allow_redirects=False)
        refused = Visitor(site).ask("GET", "/status", headers={"Host": "evil.example"})
        return led.status_code, led.headers["Location"], refused.status_code

    assert site.inside(walk) == (301, "https://your.host/status", 400)


def test_secrets_are_in_no_log(site: Composition) -> None:
    kept = [
        DOT_ENV[name] for name in ("SECRET_KEY", "ADMIN_API_KEY", "ADMIN_PASSWORD", "METRICS_WEBHOOK_TOKEN", *PASSWORDS)
    ]
    for name in (*SERVICES, "migrate"):
        assert not [secret for secret in kept if secret in site.log_of(name)]


def test_services_end_in_the_time_they_are_given(site: Composition) -> None:
    """The last test: it stops them."""
    for name in SERVICES:
        grace = float(site.services[name].get("stop_grace_period", "10s").rstrip("s"))
        assert site.end(name) < grace


def test_a_file_without_a_secret_starts_nothing() -> None:
    with pytest.raises(AssertionError, match="VALKEY_PASSWORD: put it into"):
        Composition(Path("/nonexistent"), {name: text for name, text in DOT_ENV.items() if name != "VALKEY_PASSWORD"})
