"""Who is signed in where, and the end of it."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.test import Client

from lib import valkey

LIST = "/admin/usersessions/usersession/"
PASSWORD = "correct horse battery"
HOME, ELSEWHERE = "192.0.2.7", "192.0.2.8"


@pytest.fixture(autouse=True)
def nothing_tried(settings: Any) -> None:
    settings.TRUSTED_PROXIES = ["127.0.0.1/32"]
    valkey.client().flushdb()


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root", password=PASSWORD)


def sign_in(address: str, *, name: str = "root", browser: str = "Firefox") -> Client:
    client = Client(headers={"X-Forwarded-For": address, "User-Agent": browser})
    answer = client.post("/admin/login/", {"username": name, "password": PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    return client


def end(client: Client, *sessions: UserSession) -> int:
    form = {"action": "end_selected", "_selected_action": [session.pk for session in sessions]}
    return client.post(LIST, form).status_code


def test_each_sign_in_is_listed_with_its_address_and_browser(root: User) -> None:
    sign_in(ELSEWHERE, browser="x" * 500)
    page = sign_in(HOME).get(LIST).content.decode()

    assert HOME in page
    assert ELSEWHERE in page
    assert "Firefox" in page
    assert "x" * 300 not in page


def test_a_session_that_is_ended_is_signed_out_at_once(root: User) -> None:
    lost, here = sign_in(ELSEWHERE), sign_in(HOME)
    assert lost.get("/admin/").status_code == 200

    assert end(here, UserSession.objects.get(ip=ELSEWHERE)) == 302

    assert (lost.get("/admin/").status_code, here.get("/admin/").status_code) == (302, 200)
    assert not UserSession.objects.filter(ip=ELSEWHERE).exists()


def test_an_expired_session_is_listed_no_more(root: User) -> None:
    sign_in(ELSEWHERE)
    Session.objects.all().delete()

    assert ELSEWHERE not in sign_in(HOME).get(LIST).content.decode()


@pytest.mark.parametrize("group", ["viewer", "operator"])
def test_sessions_are_administrators_business(db: None, group: str) -> None:
    user = User.objects.create_user("olga", password=PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get_or_create(name=group)[0])
    olga = sign_in(HOME, name="olga")

    assert olga.get(LIST).status_code == 403
    assert end(olga, UserSession.objects.get()) == 403
    assert "Sessions" not in olga.get("/admin/").content.decode()


@pytest.mark.parametrize("path", ["add/", "1/change/"])
def test_nothing_of_it_is_written_by_hand(root: User, path: str) -> None:
    assert sign_in(HOME).post(LIST + path, {}).status_code in (302, 403)
    assert UserSession.objects.count() == 1


@pytest.mark.parametrize(
    "path", ["signup/", "email/", "password/reset/", "2fa/", "oidc/oidc/login/", "3rdparty/", "social/signup/"]
)
def test_what_no_setting_has_switched_on_is_not_there(root: User, path: str) -> None:
    assert sign_in(HOME).get(f"/accounts/{path}").status_code == 404
    assert "/accounts/oidc" not in Client().get("/admin/login/").content.decode()
