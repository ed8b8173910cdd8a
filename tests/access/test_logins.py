"""Guessing passwords of the admin is slow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client

from access import meter
from lib import valkey

LOGIN = "/admin/login/"
RIGHT = "correct horse battery"


@pytest.fixture(autouse=True)
def full_windows() -> Iterator[None]:
    valkey.client().flushdb()
    meter.forget()
    yield
    valkey.client().flushdb()
    meter.forget()


@pytest.fixture
def olga(db: None) -> User:
    return User.objects.create_superuser("olga", password=RIGHT)


def sign_in(client: Client, password: str, address: str = "192.0.2.7") -> int:
    return client.post(LOGIN, {"username": "olga", "password": password}, REMOTE_ADDR=address).status_code


def test_the_eleventh_wrong_try_of_a_minute_is_refused_unread(client, olga):
    assert [sign_in(client, "wrong") for _ in range(10)] == [200] * 10

    response = client.post(LOGIN, {"username": "olga", "password": RIGHT}, REMOTE_ADDR="192.0.2.7")

    assert response.status_code == 429
    assert 1 <= int(response["Retry-After"]) <= 60
    assert "Try again in" in response.content.decode()
    assert "sessionid" not in client.cookies


def test_right_ones_do_not_count(olga):
    assert [sign_in(Client(), RIGHT) for _ in range(15)] == [302] * 15


def test_a_right_one_does_not_wipe_out_wrong_ones(olga):
    for _ in range(9):
        sign_in(Client(), "wrong")
    assert sign_in(Client(), RIGHT) == 302
    assert sign_in(Client(), "wrong") == 200

    assert sign_in(Client(), "wrong") == 429


def test_others_are_not_locked_out(client, olga):
    for _ in range(11):
        sign_in(client, "wrong")

    assert sign_in(client, RIGHT, address="192.0.2.8") == 302


@pytest.mark.parametrize(
    ("address", "status"), [("2001:db8:1:2::ffff", 429), ("2001:db8:1:3::1", 200)], ids=["same /64", "another"]
)
def test_an_ipv6_customer_is_one(client, olga, address, status):
    for _ in range(10):
        sign_in(client, "wrong", address="2001:db8:1:2::1")

    assert sign_in(client, "wrong", address=address) == status


def test_where_nobody_knows_the_address_nobody_is_locked_out(client, olga):
    assert {sign_in(client, "wrong", address="") for _ in range(12)} == {200}


def test_looking_at_the_form_is_free(client, db):
    assert {client.get(LOGIN).status_code for _ in range(15)} == {200}
