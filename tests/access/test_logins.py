"""Guessing passwords of the admin is slow, and keeps nobody else out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client

from access import tries
from access.tries import Tries
from lib import valkey
from web.logins import FREE, FREE_OF_ADDRESS

LOGIN = "/admin/login/"
RIGHT = "correct horse battery"
HOME, ELSEWHERE = "192.0.2.7", "192.0.2.8"


@pytest.fixture(autouse=True)
def nothing_tried() -> Iterator[None]:
    valkey.client().flushdb()
    tries._held.clear()
    yield
    valkey.client().flushdb()
    tries._held.clear()


@pytest.fixture(autouse=True)
def clock() -> Iterator[Any]:
    """It stands still, so that a pause does not end because the machine is slow."""
    with time_machine.travel(1_800_000_000, tick=False) as traveller:
        yield traveller


@pytest.fixture(autouse=True)
def quick_hashes(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def olga(db: None, quick_hashes: None) -> User:
    return User.objects.create_superuser("olga", password=RIGHT)


def sign_in(password: str, address: str = HOME, *, name: str = "olga", **headers: str) -> Any:
    form = {"username": name, "password": password}
    return Client().post(LOGIN, form, headers=headers, REMOTE_ADDR=address)


def statuses(password: str, count: int, address: str = HOME, **more: Any) -> list[int]:
    return [sign_in(password, address, **more).status_code for _ in range(count)]


def test_the_sixth_wrong_try_must_wait(olga: User) -> None:
    assert statuses("wrong", FREE) == [200] * FREE

    response = sign_in("wrong")

    assert (response.status_code, response["Retry-After"], response["Cache-Control"]) == (429, "1", "no-store")
    assert "Try again in 1 s" in response.content.decode()


def test_each_further_wrong_try_doubles_the_pause(olga: User, clock: Any) -> None:
    waits = []
    statuses("wrong", FREE)
    for _ in range(4):
        waits.append(int(sign_in("wrong")["Retry-After"]))
        clock.shift(waits[-1])
        assert sign_in("wrong").status_code == 200

    assert waits == [1, 2, 4, 8]


@pytest.mark.parametrize(("count", "seconds"), [(4, 0), (5, 1), (6, 2), (14, 512), (15, 900), (10**6, 900)])
def test_a_pause_has_an_end(count: int, seconds: float) -> None:
    assert tries.pause_seconds(count, 5) == seconds


def test_of_guesses_made_at_once_a_few_are_looked_at() -> None:
    guesses = Tries("at once", 5)
    with ThreadPoolExecutor(16) as threads:
        waits = list(threads.map(lambda _: tries.take(guesses), range(64)))

    assert waits.count(0.0) == 5


def test_from_an_address_that_has_signed_in_before_the_right_password_always_passes(olga: User) -> None:
    assert sign_in(RIGHT).status_code == 302
    statuses("wrong", 40)

    assert statuses(RIGHT, 3) == [302] * 3


def test_that_holds_for_this_account_only(olga: User) -> None:
    User.objects.create_superuser("rita", password=RIGHT)
    sign_in(RIGHT)
    statuses("wrong", FREE, name="rita")

    assert sign_in(RIGHT, name="rita").status_code == 429


def test_from_elsewhere_the_right_password_waits_for_nobody(olga: User) -> None:
    statuses("wrong", 40)

    assert sign_in(RIGHT, ELSEWHERE).status_code == 302


def test_right_ones_do_not_count(olga: User) -> None:
    assert statuses(RIGHT, 15) == [302] * 15


def test_whoever_signs_in_has_a_clean_record(olga: User) -> None:
    statuses("wrong", FREE - 1)
    sign_in(RIGHT)

    assert statuses("wrong", FREE) == [200] * FREE


def test_one_password_for_many_accounts_must_wait_too(olga: User) -> None:
    spray = [sign_in("wrong", name=f"user{number}").status_code for number in range(FREE_OF_ADDRESS + 1)]

    assert spray == [200] * FREE_OF_ADDRESS + [429]


def test_an_account_of_ones_own_does_not_wipe_out_guesses_at_others(olga: User) -> None:
    sign_in(RIGHT)
    for number in range(FREE_OF_ADDRESS):
        sign_in("wrong", name=f"user{number}")
        sign_in(RIGHT)

    assert sign_in("wrong", name="victim").status_code == 429


@pytest.mark.parametrize("spelling", ["OLGA", " olga ", "\uff4f\uff4c\uff47\uff41"], ids=["case", "spaces", "wide"])
def test_another_spelling_is_the_same_account(olga: User, spelling: str) -> None:
    statuses("wrong", FREE)

    assert sign_in("wrong", name=spelling).status_code == 429


@pytest.mark.parametrize(
    ("address", "status"), [("2001:db8:1:2::ffff", 429), ("2001:db8:1:3::1", 200)], ids=["same /64", "another"]
)
def test_an_ipv6_customer_is_one(olga: User, address: str, status: int) -> None:
    statuses("wrong", FREE, "2001:db8:1:2::1")

    assert sign_in("wrong", address).status_code == status


@pytest.mark.parametrize("named", ["unknown", "198.51.100.12, unknown", "", "_hidden", "x" * 200])
def test_who_names_no_address_counts_as_the_proxy(olga: User, settings: Any, named: str) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    headers = {"X-Forwarded-For": named}
    [sign_in("wrong", "10.0.0.1", **headers) for _ in range(FREE)]

    assert sign_in("wrong", "10.0.0.1", **headers).status_code == 429


def test_where_nobody_knows_the_address_all_count_together(olga: User) -> None:
    assert statuses("wrong", FREE + 1, "") == [200] * FREE + [429]


def test_without_valkey_each_process_counts(olga: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "_take_script", _away)
    monkeypatch.setattr(tries, "_give_back_script", _away)

    assert statuses("wrong", FREE + 1) == [200] * FREE + [429]
    assert sign_in(RIGHT, ELSEWHERE).status_code == 302


def _away() -> Any:
    raise valkey.redis.ConnectionError


def test_looking_at_the_form_is_free(db: None) -> None:
    assert {Client().get(LOGIN).status_code for _ in range(15)} == {200}


def test_a_link_from_elsewhere_finds_who_has_signed_in(olga: User) -> None:
    cookies = sign_in(RIGHT).cookies

    assert cookies["sessionid"]["samesite"] == "Lax"
    assert cookies["sessionid"]["httponly"] is True


def test_what_changes_something_asks_for_the_csrf_token_all_the_same(olga: User) -> None:
    visitor = Client(enforce_csrf_checks=True)
    visitor.force_login(olga)

    assert [visitor.post(path).status_code for path in ("/board/drills/start", "/admin/logout/")] == [403] * 2
