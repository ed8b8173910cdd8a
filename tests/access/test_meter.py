"""What is counted at the edges: a month's end, a limit of nothing, a key that ends during its call, Valkey away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import redis
from django.test import Client
from redis.backoff import NoBackoff
from redis.retry import Retry

from access import keys, meter
from access.models import Allowance, ApiKey
from collectors.status import pipelines_view
from lib import valkey
from tests.status.conftest import NOW, Venue

PAIRS, PIPELINES = "/v1/status/pairs", "/v1/status/pipelines"
LAST_OF_MARCH = datetime(2026, 3, 31, 23, 59, 59, 900_000, tzinfo=UTC)
FIRST_OF_APRIL = LAST_OF_MARCH + timedelta(seconds=0.2)


@pytest.fixture(autouse=True)
def world(noon: Any, venue: Callable[..., Venue]) -> None:
    venue("luno").market("BTC", "NGN", age=5)


@pytest.fixture
def no_valkey(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    gone = redis.Redis(unix_socket_path="/nonexistent/valkey.sock", retry=Retry(NoBackoff(), 0))
    monkeypatch.setattr(valkey, "client", lambda: gone)
    meter.forget()
    yield
    meter.forget()


def row_of(key: str) -> ApiKey:
    return ApiKey.objects.get(public_id=key[3:11])


def ask(client: Client, path: str, key: str, **headers: str) -> Any:
    return client.get(path, headers={"X-API-Key": key, **headers})


def charge(key: str, now: datetime, *, credits: int = 25) -> meter.CreditBalance | None:
    return meter.charge(row_of(key).pk, endpoint="pipelines", credits=credits, requests=0, now=now)


def test_a_call_of_the_old_month_does_not_make_the_new_one_forget(key_of: Callable[..., str]) -> None:
    key = key_of("pro")
    charge(key, LAST_OF_MARCH, credits=1000)

    used = [charge(key, now) for now in (FIRST_OF_APRIL, LAST_OF_MARCH, FIRST_OF_APRIL)]

    assert [balance and balance.credits_used for balance in used] == [25, 50, 75]
    assert Allowance.objects.get().month == date(2026, 4, 1)
    assert meter.balance(row_of(key).pk, LAST_OF_MARCH).credits_used == 75


def test_the_old_months_late_call_cannot_pass_the_new_months_limit(key_of: Callable[..., str]) -> None:
    key = key_of("pro", tier_changes={"monthly_credits": 25})
    charge(key, LAST_OF_MARCH)

    assert charge(key, FIRST_OF_APRIL) is not None
    assert charge(key, LAST_OF_MARCH) is None


def test_a_month_that_a_wrong_clock_wrote_ends_when_the_clock_is_right(key_of: Callable[..., str]) -> None:
    key = key_of("pro")
    charge(key, datetime(2099, 1, 1, tzinfo=UTC), credits=1000)

    right = charge(key, NOW)

    assert right is not None
    assert right.credits_used == 25


def test_december_is_followed_by_january(key_of: Callable[..., str]) -> None:
    key = key_of("pro")
    used = [charge(key, now) for now in (datetime(2027, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC))]

    assert [balance and balance.credits_used for balance in used] == [25, 50]


def test_a_key_revoked_during_its_call_is_an_invalid_key_not_a_poor_one(
    client: Client, key_of: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = key_of("pro")
    answer_of = pipelines_view.PipelinesStatus.answer

    def revoking(view: Any, call: Any, wanted: Any) -> Any:
        ApiKey.objects.update(revoked_at=NOW)
        return answer_of(view, call, wanted)

    monkeypatch.setattr(pipelines_view.PipelinesStatus, "answer", revoking)
    answer = ask(client, PIPELINES, key)

    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
    assert answer.headers["X-Credits-Charged"] == "0"


def test_a_limit_of_nothing_lets_nothing_through(client: Client, key_of: Callable[..., str]) -> None:
    key = key_of("pro", tier_changes={"requests_per_minute": 0})

    assert ask(client, PAIRS, key).status_code == 429


def test_without_valkey_a_limit_of_nothing_is_none_either(
    client: Client, key_of: Callable[..., str], no_valkey: None
) -> None:
    key = key_of("pro", tier_changes={"requests_per_minute": 0})

    assert ask(client, PAIRS, key).status_code == 429


def test_without_valkey_a_call_without_credits_leaves_the_rate_limit_alone(
    client: Client, key_of: Callable[..., str], no_valkey: None
) -> None:
    key = key_of("pro", tier_changes={"monthly_credits": 0, "requests_per_minute": 8, "requests_per_hour": None})

    answers = [ask(client, PIPELINES, key).status_code for _ in range(5)]

    assert answers == [402] * 5
    assert [ask(client, PAIRS, key).status_code for _ in range(3)] == [200, 200, 429]


def test_what_nobody_counts_is_not_said_to_be_zero(client: Client, key_of: Callable[..., str]) -> None:
    key = key_of("pro", tier_changes={"requests_per_hour": None})

    limits = ask(client, "/v1/limits", key).json()["rate_limits"]

    assert (limits["requests_per_hour"], limits["current_hour"]) == (None, None)
    assert limits["current_minute"] == 1


def test_unknown_keys_do_not_make_a_known_one_be_read_again(
    client: Client, key_of: Callable[..., str], django_assert_num_queries: Any
) -> None:
    from access import key_cache

    key = key_of("pro")
    known = key_cache.find(key[3:11])
    assert key_cache.find("zzzzzzzz") is None

    with django_assert_num_queries(0):
        assert key_cache.find(key[3:11]) == known


def test_a_rotation_without_overlap_ends_the_old_secret_at_once(client: Client, key_of: Callable[..., str]) -> None:
    old = key_of("pro")

    new = keys.rotate(row_of(old), now=NOW, overlap=timedelta(0)).text

    assert [ask(client, PAIRS, key).status_code for key in (old, new)] == [401, 200]


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_a_browser_is_told_405_in_the_documents_words_too(client: Client, method: str) -> None:
    answer = getattr(client, method)(PIPELINES, headers={"Accept": "text/html"})

    assert (answer.status_code, answer.json()["error"]) == (405, "method_not_allowed")
