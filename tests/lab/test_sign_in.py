"""Signing in as teams do: with a second factor, and by a company's own server. A real web on a database of its own."""

from __future__ import annotations

import base64
import os
import re
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha1
from hmac import digest
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
import requests

from tests.lab.oidc_server import CLIENT_ID, CLIENT_SECRET, OidcServer, oidc_server
from tests.sandbox_client import PROJECT
from tests.status.running import Web, web

pytestmark = [pytest.mark.timeout(300)]
PASSWORD = "correct horse battery"
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


@pytest.fixture(scope="module")
def server() -> Iterator[OidcServer]:
    with oidc_server() as running:
        yield running


@pytest.fixture(scope="module")
def site(server: OidcServer) -> Iterator[Web]:
    """A web that asks for second factors and knows the server; its tables are made by `prepare`."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    execute("CREATE DATABASE sign_in")
    environ = {
        "DATABASE_URL": urlunsplit(parts._replace(path="/sign_in")),
        "SECOND_FACTOR": "required",
        "OIDC_SERVER_URL": server.url,
        "OIDC_CLIENT_ID": CLIENT_ID,
        "OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "OIDC_NAME": "Example Ltd.",
        "OIDC_ROLES": "traders=viewer,market-ops=operator",
        "ADMIN_USERNAME": "root",
        "ADMIN_PASSWORD": PASSWORD,
    }
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            subprocess.run([sys.executable, "manage.py", "prepare"], cwd=PROJECT, check=True, capture_output=True)
            with web(database="sign_in") as running:
                yield running
    finally:
        execute("DROP DATABASE sign_in WITH (FORCE)")


def execute(statement: str) -> None:
    connection = psycopg2.connect(os.environ["DATABASE_URL"])
    connection.autocommit = True  # no transaction makes a database
    connection.cursor().execute(statement)
    connection.close()


def manage(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *words], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


class Browser(requests.Session):
    def __init__(self, site: Web) -> None:
        super().__init__()
        self.trust_env = False
        self.site = site

    def see(self, path: str, **more: Any) -> requests.Response:
        return self.get(f"{self.site.url}{path}", allow_redirects=False, timeout=20, **more)

    def fill_in(self, path: str, *, page: str = "", **form: str) -> requests.Response:
        """Fills in the form of a page and sends it."""
        form["csrfmiddlewaretoken"] = TOKEN.findall(page or self.see(path).text)[0]
        return self.post(f"{self.site.url}{path}", data=form, allow_redirects=False, timeout=20)

    def sign_in(self, name: str = "root", password: str = PASSWORD) -> requests.Response:
        return self.fill_in("/admin/login/", username=name, password=password, next="/admin/")

    def sign_in_elsewhere(self) -> requests.Response:
        answer = self.see("/accounts/oidc/oidc/login/?next=/board/")
        while answer.status_code == 302 and "/board" not in answer.headers["Location"]:
            place = answer.headers["Location"]
            answer = self.get(place if "://" in place else self.site.url + place, allow_redirects=False, timeout=20)
        return answer


def code_of(secret: str, *, steps: int = 0) -> str:
    counter = int(time.time()) // 30 + steps
    mac = digest(base64.b32decode(secret), struct.pack(">Q", counter), sha1)
    start = mac[-1] & 15
    return f"{(int.from_bytes(mac[start : start + 4]) & 0x7FFFFFFF) % 1_000_000:06}"


# --- a second factor --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def factor(site: Web) -> tuple[str, str]:
    """The administrator's secret and a recovery code, set up as the site demands it."""
    browser = Browser(site)
    assert browser.sign_in().headers["Location"] == "/admin/"
    for path in ("/admin/", "/board/", "/admin/auth/user/"):
        assert browser.see(path).headers["Location"] == "/accounts/2fa/totp/activate/", path
    assert browser.see("/api/v1/exchanges/").status_code == 403
    asked_again = browser.see("/accounts/2fa/totp/activate/").headers["Location"]
    assert browser.fill_in(asked_again, password="wrong").status_code == 200
    assert browser.fill_in(asked_again, password=PASSWORD).headers["Location"] == "/accounts/2fa/totp/activate/"
    page = browser.see("/accounts/2fa/totp/activate/").text
    secret = re.findall(r'value="([A-Z2-7]{32})"', page)[0]
    assert "data:image/svg+xml" in page
    answer = browser.fill_in("/accounts/2fa/totp/activate/", page=page, code=code_of(secret))
    assert answer.status_code == 302, answer.text
    codes = re.findall(r"\b\d{8}\b", browser.see("/accounts/2fa/recovery-codes/").text)
    assert browser.see("/admin/").status_code == 200
    return secret, codes[0]


def test_a_password_alone_opens_nothing(site: Web, factor: tuple[str, str]) -> None:
    browser = Browser(site)

    assert browser.sign_in().headers["Location"] == "/accounts/2fa/authenticate/"

    assert browser.see("/admin/").status_code == 302
    assert browser.see("/board/").status_code == 302
    assert "Authentication" in browser.see("/accounts/2fa/authenticate/").text


def test_a_code_opens_and_is_good_once(site: Web, factor: tuple[str, str]) -> None:
    secret, _ = factor
    first, second = Browser(site), Browser(site)
    code = code_of(secret, steps=1)
    for browser in (first, second):
        browser.sign_in()

    answers = [browser.fill_in("/accounts/2fa/authenticate/", code=code) for browser in (first, second)]

    assert [(answer.status_code, answer.headers.get("Location")) for answer in answers] == [
        (302, "/admin/"),
        (200, None),
    ]
    assert (first.see("/admin/").status_code, second.see("/admin/").status_code) == (200, 302)


def test_guesses_at_a_code_are_limited(site: Web, factor: tuple[str, str]) -> None:
    browser = Browser(site)
    browser.sign_in()

    words = [browser.fill_in("/accounts/2fa/authenticate/", code=f"{number:06}").text for number in range(8)]

    assert "Too many" in words[-1]
    time.sleep(0.1)


def test_its_secret_is_sealed_and_sealed_anew(site: Web, factor: tuple[str, str]) -> None:
    secret, _ = factor
    query = "SELECT data::text FROM mfa_authenticator ORDER BY id"

    with psycopg2.connect(os.environ["DATABASE_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        before = cursor.fetchall()
        told = manage("reseal")
        connection.rollback()
        cursor.execute(query)
        after = cursor.fetchall()

    assert "2 secrets are sealed" in told, told
    assert secret not in str(before + after)
    assert before != after


# --- a company's own server -------------------------------------------------------------------------------------------


def test_who_has_a_role_there_gets_the_group_here(site: Web, server: OidcServer) -> None:
    server.person = {
        "sub": "1",
        "preferred_username": "olga",
        "groups": ["staff", "market-ops"],
        "email": "o@e.example",
    }
    olga = Browser(site)

    assert "Example Ltd." in olga.see("/admin/login/").text
    assert olga.sign_in_elsewhere().headers["Location"] == "/board/"

    assert olga.see("/board/").status_code == 200  # no second factor of ours: theirs is theirs
    assert olga.see("/admin/exchanges/exchange/add/").status_code == 200
    assert olga.see("/admin/auth/user/").status_code == 403


def test_roles_are_those_of_today(site: Web, server: OidcServer) -> None:
    server.person = {"sub": "2", "preferred_username": "vera", "groups": ["market-ops"]}
    Browser(site).sign_in_elsewhere()

    server.person = {**server.person, "groups": ["traders"]}
    vera = Browser(site)
    vera.sign_in_elsewhere()

    assert (vera.see("/board/").status_code, vera.see("/admin/exchanges/exchange/add/").status_code) == (200, 403)
    server.person = {**server.person, "groups": ["others"]}
    assert Browser(site).sign_in_elsewhere().status_code == 403


@pytest.mark.parametrize("groups", [None, [], "others", ["root", "administrators"], [None, 1]])
def test_who_has_no_role_is_told_so(site: Web, server: OidcServer, groups: Any) -> None:
    server.person = {"sub": f"none-{groups}", "preferred_username": "nobody", "groups": groups}

    answer = Browser(site).sign_in_elsewhere()

    assert answer.status_code == 403
    assert "gives you no role" in answer.text


def test_a_name_is_taken_from_nobody(site: Web, server: OidcServer) -> None:
    """Who is called root there is another here, without what the administrator may do."""
    server.person = {"sub": "9", "preferred_username": "root", "groups": ["traders"]}
    other = Browser(site)

    assert other.sign_in_elsewhere().headers["Location"] == "/board/"

    assert other.see("/admin/auth/user/").status_code == 403
    assert "root" in other.see("/admin/").text


@pytest.mark.parametrize(("is_verified", "found"), [(True, "erna"), (False, "another")])
def test_who_is_here_already_is_found_by_a_verified_address(
    site: Web, server: OidcServer, is_verified: bool, found: str
) -> None:
    words = (
        "from django.contrib.auth.models import User; User.objects.get_or_create(username='erna', email='e@e.example')"
    )
    manage("shell", "-c", words)
    server.person = {"sub": f"e-{found}", "preferred_username": "another", "groups": ["traders"]}
    server.person |= {"email": "e@e.example", "email_verified": is_verified}
    browser = Browser(site)

    assert browser.sign_in_elsewhere().headers["Location"] == "/board/"

    assert found in browser.see("/admin/").text


def test_a_forged_answer_signs_nobody_in(site: Web) -> None:
    browser = Browser(site)
    browser.see("/accounts/oidc/oidc/login/")

    for query in ("code=x&state=forged", "state=forged", "error=access_denied&state=forged", ""):
        assert browser.see(f"/accounts/oidc/oidc/login/callback/?{query}").status_code in (302, 502), query
    assert browser.see("/admin/").status_code == 302


def test_a_server_that_nobody_has_named_is_not_there(site: Web) -> None:
    assert Browser(site).see("/accounts/oidc/nobody/login/").status_code == 404


def test_a_server_that_is_away_is_said_in_words(site: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OIDC_SERVER_URL", "http://127.0.0.1:9")
    with web(database="sign_in") as alone:
        for path in ("login/", "login/callback/?code=x&state=y", "login/callback/"):
            answer = Browser(alone).see(f"/accounts/oidc/oidc/{path}")
            assert (answer.status_code, "did not sign you in" in answer.text) == (502, True), path
