"""401, 403, 429, 402, 400: each in its caller's dialect, in this order, and never at a price."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from access import keys
from access.models import ApiKey, CreditEntry, Endpoint, Tier, UsageDay
from collectors.status import published
from tests.status.conftest import NOW, Venue

PAIRS, PIPELINES, RATES = "/v1/status/pairs", "/v1/status/pipelines", "/v1/rates/live"
BAD_KEY_3 = {
    "error": "unauthorized",
    "message": "Invalid or missing API key. Include a valid key in the X-API-Key header.",
    "status": 401,
}
BAD_KEY_4 = {"error": "unauthorized", "message": "Missing or invalid api-key."}


@pytest.fixture(autouse=True)
def world(noon: Any, venue: Callable[..., Venue]) -> None:
    venue("luno").market("BTC", "NGN", age=5)


def key_row(text: str) -> ApiKey:
    return ApiKey.objects.get(public_id=text[3:11])


def ask(client: Client, path: str, key: str | None, **query: str) -> Any:
    return client.get(path, query, headers={"X-API-Key": key} if key is not None else {})


# --- which document is spoken -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["api-key", "api_key", "source", "symbol", "limit", "after"])
def test_the_names_in_the_query_choose_the_pipelines_api(client: Client, name: str) -> None:
    assert client.get("/v1/status", {name: "1"}).json() == BAD_KEY_4


@pytest.mark.parametrize("query", [{}, {"foo": "1"}, {"cursor": "x"}], ids=str)
def test_every_other_query_is_for_the_pairs_api(client: Client, query: dict[str, str]) -> None:
    assert client.get("/v1/status", query).json() == BAD_KEY_3


@pytest.mark.parametrize("place", ["header", "api-key", "api_key"])
@pytest.mark.parametrize(("path", "field"), [(PAIRS, "pairs"), (PIPELINES, "data")])
@pytest.mark.parametrize("slash", ["", "/"])
def test_the_plain_paths_speak_theirs_wherever_the_key_is(
    client: Client, key_of: Callable[..., str], place: str, path: str, field: str, slash: str
) -> None:
    key = key_of("pro")
    query, headers = ({}, {"X-API-Key": key}) if place == "header" else ({place: key}, {})

    assert field in client.get(path + slash, query, headers=headers).json()


def test_the_header_wins_over_the_query(client: Client, key_of: Callable[..., str]) -> None:
    key = key_of("pro")

    assert client.get("/v1/status", {"api-key": key}, headers={"X-API-Key": "mm_wrong"}).status_code == 401
    assert client.get("/v1/status", {"api-key": "mm_wrong"}, headers={"X-API-Key": key}).status_code == 200


# --- 401 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [None, "", "x", "mm_", "mm_abcdefgh_", "mm_abcdefgh_" + "x" * 32, "caf\xe9", "x" * 100_000, "mm_" + "\xff" * 40],
    ids=lambda key: repr(key)[:20],
)
@pytest.mark.parametrize(("path", "body"), [(PAIRS, BAD_KEY_3), (PIPELINES, BAD_KEY_4), (RATES, BAD_KEY_3)])
def test_no_valid_key(client: Client, path: str, body: dict[str, Any], key: str | None) -> None:
    answer = ask(client, path, key)

    assert (answer.status_code, answer.json()) == (401, body)
    assert "X-API-Key" in answer.headers["Vary"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-RateLimit-Remaining"] == "0"


def test_a_right_id_with_a_wrong_secret(client: Client, key_of: Callable[..., str]) -> None:
    key = key_of("pro")

    assert ask(client, PAIRS, key[:-1] + ("A" if key[-1] != "A" else "B")).status_code == 401


def test_paused_revoked_and_expired_keys_are_invalid_keys(
    noon: Any, client: Client, key_of: Callable[..., str]
) -> None:
    paused, revoked = key_of("pro"), key_of("pro")
    expiring = key_of("pro", expires_at=NOW + timedelta(seconds=10))
    assert {ask(client, PAIRS, key).status_code for key in (paused, revoked, expiring)} == {200}

    keys.pause(key_row(paused), now=NOW)
    keys.revoke(key_row(revoked), now=NOW)
    noon.shift(10)

    assert [ask(client, PAIRS, key).json() for key in (paused, revoked, expiring)] == [BAD_KEY_3] * 3
    keys.resume(key_row(paused))
    assert ask(client, PAIRS, paused).status_code == 200


def test_rotation_overlaps_and_then_ends(noon: Any, client: Client, key_of: Callable[..., str]) -> None:
    old = key_of("pro")
    new = keys.rotate(key_row(old), now=NOW, overlap=timedelta(minutes=5)).text
    assert old[:12] == new[:12]

    during = [ask(client, PAIRS, key).status_code for key in (old, new)]
    noon.shift(300)
    afterwards = [ask(client, PAIRS, key).status_code for key in (old, new)]

    assert (during, afterwards) == ([200, 200], [401, 200])


# --- 403 --------------------------------------------------------------------------------------------------------


def test_free_keys_are_locked_out_of_pipelines(client: Client, key_of: Callable[..., str]) -> None:
    answer = client.get("/v1/status", {"api-key": key_of("free")})

    assert answer.status_code == 403
    assert answer.json() == {
        "error": "tier_locked",
        "message": "Your plan does not have access to this endpoint.",
        "required_tier": "pro",
    }
    assert answer.headers["X-Credits-Charged"] == "0"


@pytest.mark.parametrize(("path", "refused"), [(PIPELINES, "free"), (PAIRS, "out of scope"), (RATES, "out of scope")])
def test_a_403_tells_what_is_left_and_takes_none_of_it(
    client: Client, key_of: Callable[..., str], path: str, refused: str
) -> None:
    """The pairs API wants the headers on every answer; they were missing here."""
    key = key_of("free") if refused == "free" else key_of("free", scopes=["limits"])
    before = ask(client, "/v1/limits", key).headers
    answers = [ask(client, path, key) for _ in range(3)]

    assert {answer.status_code for answer in answers} == {403}
    for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining"):
        assert {answer.headers[name] for answer in answers} == {before[name]}
    reset = answers[0].headers["X-RateLimit-Reset"]
    assert reset.endswith("Z") if path == PIPELINES else reset.isdigit()


def test_a_key_is_good_for_its_scopes_only(client: Client, key_of: Callable[..., str]) -> None:
    key = key_of("pro", scopes=["pairs"])

    assert ask(client, PAIRS, key).status_code == 200
    assert ask(client, PIPELINES, key).json()["error"] == "forbidden"


@pytest.mark.parametrize(
    ("proxies", "remote", "forwarded", "status"),
    [
        pytest.param([], "203.0.113.7", "", 200, id="listed"),
        pytest.param([], "203.0.114.7", "", 403, id="not listed"),
        pytest.param([], "198.51.100.1", "203.0.113.7", 403, id="a stranger's claim"),
        pytest.param(["10.0.0.0/8"], "10.0.0.1", "203.0.113.7", 200, id="our proxy's word"),
        pytest.param(["10.0.0.0/8"], "10.0.0.1", "203.0.113.7, 198.51.100.1", 403, id="a claim through our proxy"),
        pytest.param(["10.0.0.0/8"], "10.0.0.1", "198.51.100.1, 203.0.113.7, 10.9.9.9", 200, id="two proxies"),
        pytest.param(["10.0.0.0/8"], "10.0.0.1", "rubbish", 403, id="rubbish"),
        pytest.param([], "", "", 403, id="a unix socket"),
        pytest.param([], "::ffff:203.0.113.7", "", 200, id="IPv4 in IPv6"),
    ],
)
def test_a_key_with_addresses_is_good_from_there_only(
    settings: Any,
    client: Client,
    key_of: Callable[..., str],
    proxies: list[str],
    remote: str,
    forwarded: str,
    status: int,
) -> None:
    settings.TRUSTED_PROXIES = proxies
    key = key_of("pro", allowed_ips=["203.0.113.0/24"])

    answer = client.get(PAIRS, headers={"X-API-Key": key, "X-Forwarded-For": forwarded}, REMOTE_ADDR=remote)

    assert answer.status_code == status


# --- 429 --------------------------------------------------------------------------------------------------------


def test_the_minute_is_full(client: Client, key_of: Callable[..., str]) -> None:
    key = key_of("free")
    remaining = [ask(client, PAIRS, key).headers["X-RateLimit-Remaining"] for _ in range(10)]
    refused = ask(client, PAIRS, key)
    body = refused.json()
    wait = body["retry_after_seconds"]

    assert remaining == [str(left) for left in range(9, -1, -1)]
    assert refused.status_code == 429
    assert 1 <= wait <= 60
    assert body == {
        "error": "rate_limit_exceeded",
        "message": f"Rate limit exceeded. Retry after {wait} seconds.",
        "status": 429,
        "detail": "You have used 10/10 requests this minute",
        "retry_after_seconds": wait,
        "tier": "free",
        "tier_limit": "10 req/min",
    }
    assert refused.headers["Retry-After"] == str(wait)
    assert refused.headers["X-RateLimit-Limit"] == "10"
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert 0 < int(refused.headers["X-RateLimit-Reset"]) - NOW.timestamp() <= 61


def test_the_pipelines_api_says_it_flat_and_in_iso(client: Client, key_of: Callable[..., str]) -> None:
    key = key_of("pro", tier_changes={"requests_per_minute": 1})
    ask(client, PIPELINES, key)
    refused = ask(client, PIPELINES, key)
    wait = refused.headers["Retry-After"]

    assert refused.status_code == 429
    assert refused.json() == {
        "error": "rate_limit_exceeded",
        "message": f"Rate limit exceeded. Retry after {wait} seconds.",
    }
    reset = datetime.strptime(refused.headers["X-RateLimit-Reset"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert timedelta(0) < reset - NOW <= timedelta(seconds=61)


def test_a_refusal_by_the_hour_takes_nothing_from_the_minute(client: Client, key_of: Callable[..., str]) -> None:
    key = key_of("pro", tier_changes={"requests_per_minute": 5, "requests_per_hour": 2})
    answers = [ask(client, PAIRS, key) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429, 429, 429]
    assert answers[-1].json()["tier_limit"] == "2 req/hour"
    assert answers[-1].json()["detail"] == "You have used 2/2 requests this hour"

    Tier.objects.filter(pk="pro").update(requests_per_hour=1000)
    fresh_limits = ask(client, "/v1/limits", _reread(key)).json()["rate_limits"]

    assert fresh_limits["current_minute"] == 3


def _reread(key: str) -> str:
    keys.key_cache.forget()
    return key


def test_a_month_of_requests_is_used_up(noon: Any, client: Client, key_of: Callable[..., str]) -> None:
    key = key_of("free", tier_changes={"monthly_requests": 2})
    assert [ask(client, PAIRS, key).status_code for _ in range(2)] == [200, 200]

    refused = ask(client, PAIRS, key)

    assert refused.status_code == 429
    assert refused.json()["error"] == "monthly_quota_exceeded"
    assert refused.json()["detail"] == "You have used 2/2 requests this month"
    assert refused.headers["X-RateLimit-Remaining"] == "8"
    noon.move_to(datetime(2026, 4, 1, tzinfo=UTC))
    assert ask(client, PAIRS, key).status_code == 200


# --- 402, and what is charged -----------------------------------------------------------------------------------


def test_each_call_costs_25_and_the_ledger_agrees(noon: Any, client: Client, key_of: Callable[..., str]) -> None:
    key = key_of("pro", tier_changes={"monthly_credits": 60})
    answers = [ask(client, PIPELINES, key) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 402, 402]
    assert [answer.headers["X-Credits-Charged"] for answer in answers] == ["25", "25", "0", "0"]
    assert [answer.headers["X-Credits-Remaining"] for answer in answers] == ["35", "10", "10", "10"]
    assert answers[-1].json()["error"] == "credits_exhausted"
    assert list(CreditEntry.objects.values_list("credits", "endpoint")) == [(25, "pipelines")] * 2
    assert UsageDay.objects.values_list("calls", "credits").get() == (2, 50)
    noon.move_to(datetime(2026, 4, 1, tzinfo=UTC))
    assert ask(client, PIPELINES, key).headers["X-Credits-Remaining"] == "35"


def test_a_call_without_credits_leaves_the_rate_limit_alone(client: Client, key_of: Callable[..., str]) -> None:
    key = key_of("pro", tier_changes={"monthly_credits": 0})
    remaining = [ask(client, PIPELINES, key).headers["X-RateLimit-Remaining"] for _ in range(3)]

    assert remaining == ["120"] * 3


def test_limits_are_free_and_sources_cost_25(client: Client, key_of: Callable[..., str]) -> None:
    key = key_of("pro")
    sources = ask(client, "/v1/sources", key)
    limits = ask(client, "/v1/limits", key)

    assert sources.headers["X-Credits-Charged"] == "25"
    assert sources.json() == {"data": [{"source": "luno", "display_name": "Luno", "symbols": ["BTC"], "intervals": []}]}
    assert limits.headers["X-Credits-Charged"] == "0"
    assert limits.json() == {
        "plan": "pro",
        "credits": {"used": 25, "limit": 2_500_000, "remaining": 2_499_975},
        "rate_limits": {
            "requests_per_minute": 120,
            "requests_per_hour": 3600,
            "current_minute": 2,
            "current_hour": 2,
        },
        "features": dict.fromkeys(Endpoint.values, True),
        "max_rows_per_request": 10_000,
    }


def test_pairs_cost_no_credits(client: Client, key_of: Callable[..., str]) -> None:
    key = key_of("pro")
    ask(client, PAIRS, key)

    assert ask(client, "/v1/limits", key).json()["credits"]["used"] == 0


# --- the order --------------------------------------------------------------------------------------------------


def test_the_order_of_checks(client: Client, key_of: Callable[..., str]) -> None:
    bad = {"source": "mtgox"}
    free = key_of("free", tier_changes={"requests_per_minute": 0, "monthly_credits": 0})
    limited = key_of("pro", tier_changes={"requests_per_minute": 0, "monthly_credits": 0})

    assert ask(client, PIPELINES, "mm_nobody", **bad).status_code == 401
    assert ask(client, PIPELINES, free, **bad).status_code == 403
    assert ask(client, PIPELINES, limited, **bad).status_code == 429
    Tier.objects.filter(pk="pro").update(requests_per_minute=10)
    assert ask(client, PIPELINES, _reread(limited), **bad).status_code == 402
    Tier.objects.filter(pk="pro").update(monthly_credits=25)
    assert ask(client, PIPELINES, _reread(limited), **bad).status_code == 400
    assert ask(client, PIPELINES, limited).status_code == 200
    assert CreditEntry.objects.count() == 1


# --- what is not the caller's fault, and wrong doors ------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "query", "body"),
    [
        ("/v1/nothing", {}, {"error": "not_found", "message": "There is no such route.", "status": 404}),
        ("/v1", {}, {"error": "not_found", "message": "There is no such route.", "status": 404}),
        ("/v1/nothing/", {"api-key": "x"}, {"error": "not_found", "message": "There is no such route."}),
    ],
)
def test_404_in_the_callers_words(client: Client, path: str, query: dict[str, str], body: dict[str, Any]) -> None:
    answer = client.get(path, query)

    assert (answer.status_code, answer.json()) == (404, body)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_405_in_the_callers_words(client: Client, method: str) -> None:
    third, fourth = getattr(client, method)(PAIRS), getattr(client, method)(PIPELINES)

    assert (third.status_code, fourth.status_code) == (405, 405)
    assert third.json()["status"] == 405
    assert fourth.json() == {
        "error": "method_not_allowed",
        "message": f"{method.upper()} is not allowed here; use GET.",
    }
    assert third.headers["Allow"] == "GET, HEAD"


def test_413_in_the_callers_words(client: Client, key_of: Callable[..., str]) -> None:
    answer = client.generic("GET", PIPELINES, b"x" * 70_000, headers={"X-API-Key": key_of("pro")})

    assert answer.status_code == 413
    assert set(answer.json()) == {"error", "message"}


@pytest.mark.parametrize(
    ("failure", "status"), [(OperationalError("server closed, host=10.1.2.3"), 503), (KeyError("secret_table"), 500)]
)
def test_failures_say_nothing_and_cost_nothing(
    monkeypatch: pytest.MonkeyPatch, client: Client, key_of: Callable[..., str], failure: Exception, status: int
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(published, "all_pipelines", broken)
    answer = ask(client, PIPELINES, key_of("pro"))

    assert answer.status_code == status
    assert set(answer.json()) == {"error", "message"}
    assert "10.1.2.3" not in answer.content.decode()
    assert "secret_table" not in answer.content.decode()
    assert answer.headers["X-Credits-Charged"] == "0"
    assert CreditEntry.objects.count() == 0


@pytest.mark.parametrize("path", [PAIRS, PIPELINES, "/v1/sources", RATES])
def test_collection_switched_off_is_503(settings: Any, client: Client, key_of: Callable[..., str], path: str) -> None:
    settings.COLLECTION_ENABLED = False

    answer = ask(client, path, key_of("pro"))

    assert (answer.status_code, answer.json()["error"]) == (503, "service_unavailable")


def test_head_is_get_without_a_body(client: Client, key_of: Callable[..., str]) -> None:
    answer = client.head(PAIRS, headers={"X-API-Key": key_of("free")})

    assert (answer.status_code, answer.content) == (200, b"")


def test_a_browser_sees_the_answer_on_a_page(client: Client, key_of: Callable[..., str]) -> None:
    answer = client.get(PAIRS, headers={"X-API-Key": key_of("free"), "Accept": "text/html"})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert b"BTCNGN" in answer.content


# --- last used --------------------------------------------------------------------------------------------------


def test_last_used_is_written_once_a_minute(noon: Any, client: Client, key_of: Callable[..., str]) -> None:
    key = key_of("pro")
    ask(client, PAIRS, key)
    noon.shift(59)
    ask(client, PAIRS, _reread(key))
    assert key_row(key).last_used_at == NOW

    noon.shift(1)
    ask(client, PAIRS, _reread(key))

    assert key_row(key).last_used_at == NOW + timedelta(seconds=60)


def test_unmetered_callers_leave_no_trace_but_are_served(client: Client, key_of: Callable[..., str]) -> None:
    Tier.objects.create(name="internal", rank=90, max_rows=1000, endpoints=["pipelines"], is_metered=False)
    answer = ask(client, PIPELINES, key_of("internal"))

    assert answer.status_code == 200
    assert "X-RateLimit-Limit" not in answer.headers
    assert answer.headers["X-Credits-Charged"] == "0"
    assert not UsageDay.objects.exists()
