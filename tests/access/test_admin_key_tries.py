"""Guessing the admin's API key is slow, and nobody else pays for it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import structlog
from django.test import Client

from access import meter
from lib import valkey

KEY = "t3qVb7m-operators-key-of-these-tests-0Zk9"
WRONG = "t3qVb7m-operators-key-of-these-tests-0Zk8"
ROUTE = "/api/v1/exchanges/blacklist/"  # 400 with the key: it names no exchange
HOME, ELSEWHERE = "192.0.2.7", "192.0.2.8"


@pytest.fixture(autouse=True)
def full_windows(settings: Any) -> Iterator[None]:
    settings.ADMIN_API_KEY = KEY
    valkey.client().flushdb()
    meter.forget()
    yield
    valkey.client().flushdb()
    meter.forget()


@pytest.fixture
def no_valkey(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valkey.Availability, "is_worth_a_try", lambda self: False)


def call(key: str, address: str = HOME, **headers: str) -> Any:
    return Client().post(ROUTE, headers={"X-Admin-Key": key, **headers}, REMOTE_ADDR=address)


def statuses(key: str, count: int, address: str = HOME) -> list[int]:
    return [call(key, address).status_code for _ in range(count)]


def test_the_sixth_wrong_key_of_a_minute_is_told_to_wait() -> None:
    assert statuses(WRONG, 5) == [401] * 5

    answer = call(WRONG)

    assert answer.status_code == 429
    assert 1 <= int(answer["Retry-After"]) <= 60
    assert answer["Cache-Control"] == "no-store"
    assert answer.json() == {
        "error": "Too Many Requests",
        "message": f"Too many wrong admin keys from your address. Try again in {answer['Retry-After']} s.",
        "code": "ADMIN_AUTH_THROTTLED",
    }


def test_the_right_key_passes_whatever_was_sent_before() -> None:
    statuses(WRONG, 20)

    assert (call(KEY).status_code, call(WRONG).status_code) == (400, 429)


def test_the_right_key_passes_beside_wrong_ones() -> None:
    statuses(WRONG, 20)

    assert call(KEY, **{"X-API-Key": WRONG}).status_code == 400


def test_a_customers_key_is_no_guess() -> None:
    """A read-only scan with a key for the data APIs locked the operators' own out."""
    customer = "mm_abcdefgh_" + "k" * 43
    answers = [Client().post(ROUTE, headers={"X-API-Key": customer}, REMOTE_ADDR=HOME) for _ in range(12)]

    assert {each.status_code for each in answers} == {401}
    assert call(WRONG).status_code == 401


def test_wrong_keys_are_logged_and_others_not() -> None:
    with structlog.testing.capture_logs() as lines:
        call(KEY)
        Client().post(ROUTE, REMOTE_ADDR=HOME)
        statuses(WRONG, 6)

    told = [line["event"] for line in lines if line["event"].startswith("admin_key")]
    assert told == ["admin_key_wrong"] * 5 + ["admin_key_throttled"]


def test_the_right_key_is_not_slowed_down_by_somebody_else() -> None:
    statuses(WRONG, 20)

    assert statuses(KEY, 20, ELSEWHERE) == [400] * 20


def test_right_keys_never_count_however_many_come_at_once() -> None:
    statuses(WRONG, 4)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: call(KEY).status_code, range(64)))

    assert answers == [400] * 64


def test_of_guesses_made_at_once_five_are_read() -> None:
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: call(WRONG).status_code, range(64)))

    assert (answers.count(401), answers.count(429)) == (5, 59)


def test_each_key_of_a_call_is_a_guess() -> None:
    call("first", **{"X-API-Key": "second", "Authorization": "Bearer third"})

    assert [call(f"{number}").status_code for number in range(3)] == [401, 401, 429]


def test_a_call_without_a_key_is_no_guess() -> None:
    assert {Client().post(ROUTE, REMOTE_ADDR=HOME).status_code for _ in range(8)} == {401}

    assert call(KEY).status_code == 400


def test_a_method_that_is_not_there_is_no_way_around() -> None:
    headers = {"X-Admin-Key": WRONG}
    assert {Client().put(ROUTE, headers=headers, REMOTE_ADDR=HOME).status_code for _ in range(5)} == {405}

    assert call(WRONG).status_code == 429


@pytest.mark.parametrize(
    ("address", "status"), [("2001:db8:1:2::ffff", 429), ("2001:db8:1:3::1", 401)], ids=["same /64", "another"]
)
def test_an_ipv6_customer_is_one(address: str, status: int) -> None:
    statuses(WRONG, 5, "2001:db8:1:2::1")

    assert call(WRONG, address).status_code == status


def test_where_nobody_knows_the_address_all_count_together() -> None:
    assert statuses(WRONG, 8, "") == [401] * 5 + [429] * 3

    assert call(KEY, "").status_code == 400


@pytest.mark.parametrize(
    "named", ["198.51.100.11:4711", "[2001:db8::1]:99", "198.51.100.12, unknown", "unknown", "x" * 500, ","]
)
def test_however_an_address_is_written_somebody_is_counted(settings: Any, named: str) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]

    answers = [call(WRONG, "10.0.0.1", **{"X-Forwarded-For": named}).status_code for _ in range(6)]

    assert answers == [401] * 5 + [429]


def test_a_port_makes_no_other_caller(settings: Any) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    for port in range(5):
        call(WRONG, "10.0.0.1", **{"X-Forwarded-For": f"198.51.100.11:{4000 + port}"})

    assert call(WRONG, "10.0.0.1", **{"X-Forwarded-For": "198.51.100.11"}).status_code == 429


@pytest.mark.parametrize("proxies", [[], ["10.0.0.0/8"]], ids=["unknown proxy", "our proxy"])
def test_the_address_is_the_callers_where_our_proxy_says_so(settings: Any, proxies: list[str]) -> None:
    settings.TRUSTED_PROXIES = proxies
    for _ in range(5):
        call(WRONG, "10.0.0.1", **{"X-Forwarded-For": HOME})

    answer = call(WRONG, "10.0.0.1", **{"X-Forwarded-For": ELSEWHERE})

    assert answer.status_code == (401 if proxies else 429)


def test_without_valkey_each_process_allows_a_quarter(no_valkey: None) -> None:
    assert statuses(WRONG, 3) == [401, 429, 429]
    assert statuses(KEY, 3, ELSEWHERE) == [400] * 3


def test_exports_are_guarded_alike() -> None:
    for _ in range(5):
        Client().get("/api/v1/gaps/export", headers={"X-Admin-Key": WRONG}, REMOTE_ADDR=HOME)

    assert call(WRONG).status_code == 429
