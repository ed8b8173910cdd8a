"""The exchange management API's routes, each with its success, its errors, and the order of checks."""

from __future__ import annotations

import base64
import re
import time
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from collectors.models import Worker
from exchanges.models import AuditEntry, Exchange, Market
from tests.operations.conftest import KEY, JsonClient, Make
from tests.sandbox_client import Sandbox

pytestmark = pytest.mark.django_db(transaction=True)

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
ROUTES = [
    ("post", "/api/v1/exchanges/add/kraken"),
    ("post", "/api/v1/exchanges/refresh"),
    ("post", "/api/v1/exchanges/blacklist/kraken"),
    ("delete", "/api/v1/exchanges/blacklist/kraken"),
    ("post", "/api/v1/exchanges/workers/kraken/restart"),
    ("get", "/api/v1/exchanges/kraken/settings"),
    ("patch", "/api/v1/exchanges/kraken/settings"),
    ("get", "/api/v1/exchanges/kraken/checks"),
    ("post", "/api/v1/exchanges/kraken/checks"),
]
UNAUTHORIZED = {
    "error": "Unauthorized",
    "message": "Valid admin API key required for this endpoint",
    "code": "ADMIN_AUTH_FAILED",
}
BAD_IDS = {
    "traversal": "..%2f..%2fetc%2fpasswd",
    "a dot": "kraken.",
    "unicode": "kräken",
    "an emoji": "🦑",
    "a space": "kra%20ken",
    "a plus": "kra+ken",
    "markup": "%3Cscript%3E",
    "a dunder with a dot": "__class__.x",
    "65 letters": "a" * 65,
    "10 kB": "a" * 10_240,
    "a market without a name": "kraken:",
}
NO_KEYS: dict[str, dict[str, str]] = {
    "none": {},
    "wrong": {"X-Admin-Key": "x" * 40},
    "empty": {"X-Admin-Key": ""},
    "half": {"X-Admin-Key": KEY[:-1]},
    "not ASCII": {"X-Admin-Key": "caf\xe9"},
    "not Latin-1": {"X-Admin-Key": "ключ"},
    "basic": {"Authorization": "Basic " + base64.b64encode(f"admin:{KEY}".encode()).decode()},
    "bearer of nothing": {"Authorization": "Bearer"},
    "twice": {"X-Admin-Key": f"{KEY}, {KEY}"},
    "1 MB": {"X-API-Key": "x" * 1_000_000},
}


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("headers", NO_KEYS.values(), ids=NO_KEYS)
def test_without_the_key_nothing_opens(stranger: Client, method: str, path: str, headers: dict[str, str]) -> None:
    answer = getattr(stranger, method)(path, headers=headers)

    assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_the_key_in_the_query_opens_nothing(stranger: Client, method: str, path: str) -> None:
    answer = getattr(stranger, method)(f"{path}?X-Admin-Key={KEY}&api-key={KEY}&api_key={KEY}")

    assert answer.status_code == 401


@pytest.mark.parametrize(
    "headers",
    [{"X-Admin-Key": KEY}, {"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}],
    ids=["X-Admin-Key", "X-API-Key", "Bearer", "bearer"],
)
@pytest.mark.parametrize("slash", ["", "/"], ids=["no slash", "slash"])
def test_the_key_opens_in_each_header(stranger: Client, make: Make, headers: dict[str, str], slash: str) -> None:
    make("kraken")

    answer = stranger.post(f"/api/v1/exchanges/workers/kraken/restart{slash}", headers=headers)

    assert answer.status_code == 200
    assert answer.json() == {"message": "Worker restarted successfully", "exchange": "kraken"}


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "key",
    [
        "",
        "   ",
        "short",
        "x" * 31,
        "x" * 40,
        "change-me-change-me-change-me-change-me",
        "your-admin-api-key-here-0123456789abcdef",
    ],
)
def test_without_a_configured_key_all_is_closed(
    stranger: Client, settings: Any, method: str, path: str, key: str
) -> None:
    settings.ADMIN_API_KEY = key

    answer = getattr(stranger, method)(path, headers={"X-Admin-Key": key} if key.strip() else {})

    assert answer.status_code == 503
    assert answer.json()["error"] == "Service Unavailable"
    assert answer.json()["message"].startswith("Admin endpoints are disabled (ADMIN_API_KEY ")
    assert set(answer.json()) == {"error", "message", "timestamp"}


def test_an_unset_key_is_named(stranger: Client, settings: Any) -> None:
    settings.ADMIN_API_KEY = ""

    body = stranger.post("/api/v1/exchanges/refresh").json()

    assert body["message"] == "Admin endpoints are disabled (ADMIN_API_KEY not set)"


@pytest.mark.parametrize("text", BAD_IDS.values(), ids=BAD_IDS)
@pytest.mark.parametrize(
    ("method", "path"),
    [("post", "add/{}"), ("post", "blacklist/{}"), ("delete", "blacklist/{}"), ("post", "workers/{}/restart")],
)
def test_what_is_no_id_is_400_and_401_comes_first(
    stranger: Client, operator: Client, method: str, path: str, text: str
) -> None:
    place = "/api/v1/exchanges/" + path.format(text)

    assert getattr(stranger, method)(place).status_code == 401
    answer = getattr(operator, method)(place)
    assert answer.status_code == 400
    assert {"error", "message"} <= set(answer.json())
    assert not Exchange.objects.exists()


@pytest.mark.parametrize("path", ["add/kra%00ken", "blacklist/kra%0d%0aken", "workers/a%00/restart"])
def test_control_characters_are_400(operator: Client, path: str) -> None:
    assert operator.post(f"/api/v1/exchanges/{path}").status_code == 400


@pytest.mark.parametrize("path", ["add", "add/", "add//", "blacklist/", "workers//restart", "workers/restart"])
def test_a_missing_exchange_is_400(stranger: Client, operator: Client, path: str) -> None:
    assert stranger.post(f"/api/v1/exchanges/{path}").status_code == 401
    answer = operator.post(f"/api/v1/exchanges/{path}")
    assert (answer.status_code, answer.json()) == (400, {"error": "Exchange parameter is required"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "add/kraken"),
        ("delete", "add/kraken"),
        ("get", "refresh"),
        ("get", "blacklist/kraken"),
        ("put", "blacklist/kraken"),
        ("get", "workers/kraken/restart"),
        ("post", "config"),
        ("post", "supported"),
    ],
)
def test_a_wrong_method_is_405_as_json(stranger: Client, method: str, path: str) -> None:
    answer = getattr(stranger, method)(f"/api/v1/exchanges/{path}")

    assert answer.status_code == 405
    assert answer.json()["error"] == "Method Not Allowed"
    assert STAMP.match(answer.json()["timestamp"])


# --- staff ------------------------------------------------------------------------------------------------------


@pytest.fixture
def staff(make: Make) -> User:
    make("kraken")
    return User.objects.create_user("olga", password="a long password", is_staff=True)


def test_staff_with_the_permission_pass_with_their_csrf_token(staff: User) -> None:
    staff.user_permissions.add(Permission.objects.get(codename="change_exchange"))
    browser = JsonClient(enforce_csrf_checks=True, raise_request_exception=False)
    browser.force_login(staff)
    browser.cookies["csrftoken"] = token = "a" * 32

    without = browser.post("/api/v1/exchanges/workers/kraken/restart")
    with_token = browser.post("/api/v1/exchanges/workers/kraken/restart", headers={"X-CSRFToken": token})

    assert (without.status_code, with_token.status_code) == (403, 200)
    assert AuditEntry.objects.get(verb="restart").who == "olga"


def test_staff_without_the_permission_are_refused(staff: User) -> None:
    browser = JsonClient(raise_request_exception=False)
    browser.force_login(staff)

    answer = browser.post("/api/v1/exchanges/workers/kraken/restart")

    assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")


def test_a_wrong_key_is_not_saved_by_a_session(staff: User) -> None:
    browser = JsonClient(raise_request_exception=False, headers={"X-Admin-Key": "x" * 40})
    browser.force_login(staff)

    assert browser.post("/api/v1/exchanges/workers/kraken/restart").status_code == 401


# --- add --------------------------------------------------------------------------------------------------------


def test_adding_an_exchange_that_nobody_named_before(sandbox: Sandbox, operator: Client) -> None:
    answer = operator.post(
        "/api/v1/exchanges/add/KRAKEN",
        {"base_url": "{SANDBOX_URL}", "market_filter": {"quotes": ["USD"]}},
        content_type="application/json",
    )

    body = answer.json()
    assert answer.status_code == 200, body
    assert list(body) == ["message", "activeExchanges", "connectivity", "timestamp"]
    assert body["message"] == "Exchange kraken added successfully"
    assert body["activeExchanges"] == ["kraken"]
    assert body["connectivity"] == {"health": "ok", "capabilities": "ok", "rate_limit": "ok", "worker": "started"}
    assert STAMP.match(body["timestamp"])
    assert Worker.objects.filter(exchange="kraken").exists()


def test_adding_an_active_one_again_is_200_and_changes_nothing(sandbox: Sandbox, make: Make, operator: Client) -> None:
    make("kraken")
    before, begun = Worker.objects.get(pk="kraken").generation, time.time()

    answers = [operator.post("/api/v1/exchanges/add/kraken") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert Worker.objects.get(pk="kraken").generation == before
    assert len(sandbox.requests_of("kraken", since=begun)) == 1  # the second is answered from the first one's checks


def test_an_unknown_exchange_is_400_with_what_there_is(operator: Client) -> None:
    answer = operator.post("/api/v1/exchanges/add/krakn")

    body = answer.json()
    assert answer.status_code == 400
    assert body["error"] == "Failed to add exchange"
    assert body["message"] == "Unknown exchange: krakn"
    assert "kraken" in body["availableExchanges"]


@pytest.mark.parametrize("name", ["os", "base", "exchanges", "exchange", "pro", "__init__", "async_support"])
def test_names_inside_ccxt_are_no_exchanges(operator: Client, name: str) -> None:
    assert operator.post(f"/api/v1/exchanges/add/{name}").status_code == 400


def test_a_blacklisted_exchange_cannot_be_added(operator: Client) -> None:
    operator.post("/api/v1/exchanges/blacklist/kraken")

    answer = operator.post("/api/v1/exchanges/add/kraken")

    assert answer.status_code == 400
    assert answer.json()["message"] == "Exchange kraken is blacklisted. Remove from blacklist first."


def test_an_exchange_that_is_down_is_still_added(sandbox: Sandbox, operator: Client) -> None:
    sandbox.fault("kraken", "status", params={"code": 503})

    answer = operator.post("/api/v1/exchanges/add/kraken", {"base_url": "{SANDBOX_URL}"})

    assert answer.status_code == 200
    assert answer.json()["connectivity"]["health"] == "failed"


def test_one_that_lacks_what_we_need_is_400(monkeypatch: pytest.MonkeyPatch, operator: Client) -> None:
    from exchanges import connectivity
    from feeds.base import Capabilities

    class Blind:
        capabilities = Capabilities("Blind", {"fetchTickers": True}, (), 100.0)

        def ping(self, *, deadline_seconds: float, may_call: object = None) -> None:
            """It answers."""

    monkeypatch.setattr(connectivity, "open_feed", lambda spec: Blind())

    answer = operator.post("/api/v1/exchanges/add/kraken")

    assert answer.status_code == 400
    assert answer.json()["message"] == "Exchange kraken cannot be collected: it has no fetchOrderBook"
    assert not Exchange.objects.exists()


def test_one_that_cannot_be_opened_is_500(monkeypatch: pytest.MonkeyPatch, operator: Client) -> None:
    from exchanges import connectivity

    def refuse(spec: object) -> None:
        raise KeyError("urls")

    monkeypatch.setattr(connectivity, "open_feed", refuse)

    answer = operator.post("/api/v1/exchanges/add/kraken")

    assert answer.status_code == 500
    assert answer.json()["error"] == "Failed to add exchange"
    assert not Exchange.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        {"id": "binance"},
        {"blacklisted": True},
        {"generation": 9},
        {"ca_file": "/etc/passwd"},
        {"poll_interval_seconds": 0.1},
        {"poll_interval_seconds": "fast"},
        {"transport": "pigeon"},
        {"priority": 10},
        {"market_filter": {"bases": ["BTC"]}},
        {"market_filter": {"top": 0}},
        {"market_filter": []},
        {"credentials": {"urls": "http://evil.example"}},
        {"credentials": "secret"},
        {"base_url": "ftp://example.com"},
        {"base_url": "http://user:pw@example.com"},
        [],
        "text",
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_400(operator: Client, body: Any) -> None:
    answer = operator.post("/api/v1/exchanges/add/kraken", body, content_type="application/json")

    assert answer.status_code == 400, answer.content
    assert not Exchange.objects.exists()


@pytest.mark.parametrize("body", [b"{", b'{"name": NaN}', b"\xff\xfe", b"[" * 1000])
def test_a_body_that_is_no_json_is_400(operator: Client, body: bytes) -> None:
    answer = operator.generic("POST", "/api/v1/exchanges/add/kraken", body, content_type="application/json")

    assert answer.status_code == 400


# --- blacklist and lift -----------------------------------------------------------------------------------------


def test_blacklisting_answers_as_documented_and_twice_the_same(make: Make, operator: Client) -> None:
    make("kraken")
    make("luno")

    first, second = (operator.post("/api/v1/exchanges/blacklist/Kraken") for _ in range(2))

    for answer in (first, second):
        assert answer.status_code == 200
        assert list(answer.json()) == ["message", "blacklistedExchanges", "timestamp"]
        assert answer.json()["message"] == "Exchange kraken blacklisted successfully"
        assert answer.json()["blacklistedExchanges"] == ["kraken"]
        assert "X-Worker-Restart-Warning" not in answer.headers
    assert operator.get("/api/v1/exchanges/supported").json() == {"exchanges": ["luno"], "count": 1}


def test_a_stop_that_was_not_seen_is_a_warning(make: Make, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from collectors import lease
    from operations import transitions

    make("kraken")
    monkeypatch.setattr(transitions, "STOP_WAIT_SECONDS", 0.05)
    assert lease.take("kraken", lease_seconds=30)  # a cycle that does not end

    answer = operator.post("/api/v1/exchanges/blacklist/kraken")

    assert answer.status_code == 200
    assert answer.headers["X-Worker-Restart-Warning"] == "Failed to restart worker"


def test_the_reason_and_the_end_are_kept(make: Make, operator: Client) -> None:
    exchange = make("kraken")

    operator.post(
        "/api/v1/exchanges/blacklist/kraken",
        {"reason": "maintenance", "expires_at": "2099-01-01T00:00:00Z"},
        content_type="application/json",
    )

    entry = exchange.blacklist_entries.get()
    assert (entry.reason, entry.expires_at.year, entry.listed_by) == ("maintenance", 2099, "admin key")


@pytest.mark.parametrize("body", [{"expires_at": "2001-01-01T00:00:00Z"}, {"expires_at": "soon"}, {"why": "no"}])
def test_a_blacklist_that_cannot_be_is_400(make: Make, operator: Client, body: dict[str, str]) -> None:
    make("kraken")

    answer = operator.post("/api/v1/exchanges/blacklist/kraken", body, content_type="application/json")

    assert answer.status_code == 400
    assert not Exchange.objects.get(pk="kraken").blacklisted


@pytest.mark.parametrize("method", ["post", "delete"])
def test_blacklisting_an_unknown_exchange_is_400(operator: Client, method: str) -> None:
    answer = getattr(operator, method)("/api/v1/exchanges/blacklist/krakn")

    assert answer.status_code == 400
    assert "kraken" in answer.json()["availableExchanges"]


def test_lifting_answers_as_documented(sandbox: Sandbox, make: Make, operator: Client) -> None:
    make("kraken")
    operator.post("/api/v1/exchanges/blacklist/kraken")

    answer = operator.delete("/api/v1/exchanges/blacklist/kraken")

    body = answer.json()
    assert answer.status_code == 200
    assert list(body) == ["message", "blacklistedExchanges", "activeExchanges", "connectivity", "timestamp"]
    assert body["message"] == "Exchange kraken removed from blacklist"
    assert (body["blacklistedExchanges"], body["activeExchanges"]) == ([], ["kraken"])
    assert answer.headers["X-Worker-Restart-Info"] == "Worker restarted"


def test_lifting_what_is_not_listed_is_the_same_200(operator: Client) -> None:
    answer = operator.delete("/api/v1/exchanges/blacklist/kraken")

    assert answer.status_code == 200
    assert answer.headers["X-Worker-Restart-Info"] == "Worker restart attempted"


# --- restart and refresh ----------------------------------------------------------------------------------------


def test_restarting_what_is_not_there_is_500_and_says_so(operator: Client) -> None:
    answer = operator.post("/api/v1/exchanges/workers/foo/restart")

    assert answer.status_code == 500
    assert answer.json()["error"] == "Failed to restart worker"
    assert answer.json()["message"] == "worker for exchange foo not found"


def test_restarting_a_blacklisted_one_is_500_and_says_so(make: Make, operator: Client) -> None:
    make("kraken")
    operator.post("/api/v1/exchanges/blacklist/kraken")

    answer = operator.post("/api/v1/exchanges/workers/kraken/restart")

    assert answer.status_code == 500
    assert "blacklisted" in answer.json()["message"]


def test_without_a_collector_a_restart_is_503(make: Make, operator: Client, stranger: Client, settings: Any) -> None:
    make("kraken")
    settings.COLLECTION_ENABLED = False

    assert stranger.post("/api/v1/exchanges/workers/kraken/restart").status_code == 401
    assert operator.post("/api/v1/exchanges/workers/k.raken/restart").status_code == 400
    answer = operator.post("/api/v1/exchanges/workers/kraken/restart")
    assert (answer.status_code, answer.json()) == (503, {"error": "Collector service not available"})


def test_a_restart_forgets_errors_and_fences_the_old_loop(make: Make, operator: Client) -> None:
    make("kraken")
    Worker.objects.filter(pk="kraken").update(error_count=7, strikes=2)
    before = Worker.objects.get(pk="kraken").generation

    operator.post("/api/v1/exchanges/workers/kraken/restart")

    worker = Worker.objects.get(pk="kraken")
    assert (worker.error_count, worker.strikes, worker.generation) == (0, 0, before + 1)


def test_restarts_in_a_row_are_one(make: Make, operator: Client) -> None:
    make("kraken")
    before = Worker.objects.get(pk="kraken").generation

    for _ in range(5):
        assert operator.post("/api/v1/exchanges/workers/kraken/restart").status_code == 200

    assert Worker.objects.get(pk="kraken").generation == before + 1
    assert AuditEntry.objects.filter(verb="restart").count() == 5  # every call is in the audit


def test_a_refresh_reloads_every_exchange_and_names_those_that_failed(
    sandbox: Sandbox, make: Make, operator: Client
) -> None:
    make("kraken")
    make("luno")
    sandbox.fault("luno", "status", params={"code": 503})

    answer = operator.post("/api/v1/exchanges/refresh")

    body = answer.json()
    assert answer.status_code == 200
    assert list(body) == ["message", "activeExchanges", "failedExchanges", "connectivity", "timestamp"]
    assert body["activeExchanges"] == ["kraken", "luno"]
    assert [failed["exchange"] for failed in body["failedExchanges"]] == ["luno"]
    assert Worker.objects.get(pk="kraken").symbols_tracked > 0


# --- settings and checks ----------------------------------------------------------------------------------------


def test_credentials_are_taken_and_never_shown(make: Make, operator: Client) -> None:
    make("kraken")
    secret = "s3cr3t-of-the-exchange"

    written = operator.patch(
        "/api/v1/exchanges/kraken/settings",
        {"credentials": {"apiKey": "public-part", "secret": secret}},
        content_type="application/json",
    )
    shown = operator.get("/api/v1/exchanges/kraken/settings")

    assert written.json()["changed"] == ["credentials"]
    assert shown.json()["credentials_set"] == ["apiKey", "secret"]
    stored = Exchange.objects.get(pk="kraken")
    assert secret not in stored.credentials
    assert stored.feed_spec().credentials == {"apiKey": "public-part", "secret": secret}
    everything = written.content + shown.content + repr(list(AuditEntry.objects.values())).encode()
    assert secret.encode() not in everything


def test_an_interval_under_the_rate_limit_is_400(make: Make, operator: Client) -> None:
    make("kraken", rate_limit_ms=1500.0, capabilities={"fetchTickers": True})

    refused = operator.patch("/api/v1/exchanges/kraken/settings", {"poll_interval_seconds": 1.4})
    allowed = operator.patch("/api/v1/exchanges/kraken/settings", {"poll_interval_seconds": 1.5})

    assert (refused.status_code, allowed.status_code) == (400, 200)
    assert "1.5 s" in refused.json()["message"]


def test_checks_run_on_demand_and_are_kept_with_their_durations(sandbox: Sandbox, make: Make, operator: Client) -> None:
    make("kraken")

    ran = operator.post("/api/v1/exchanges/kraken/checks").json()
    read = operator.get("/api/v1/exchanges/kraken/checks").json()

    assert ran == read
    assert [check["name"] for check in ran["checks"]] == ["health", "capabilities", "rate_limit", "worker"]
    assert ran["checks"][0]["duration_ms"] > 0


# --- what clients send instead of nothing, and what people see -----------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"null", b"{}"])
def test_a_body_of_nothing_is_no_body(sandbox: Sandbox, make: Make, operator: Client, body: bytes) -> None:
    make("kraken")

    for verb in ("add", "blacklist"):
        assert operator.post(f"/api/v1/exchanges/{verb}/kraken", body).status_code == 200, verb


def test_a_reason_may_be_null(make: Make, operator: Client) -> None:
    make("kraken")

    answer = operator.post("/api/v1/exchanges/blacklist/kraken", {"reason": None, "expires_at": None})

    assert answer.status_code == 200


@pytest.mark.parametrize("verb", ["add", "blacklist"])
def test_a_body_that_is_no_object_is_named_as_that(make: Make, operator: Client, verb: str) -> None:
    make("kraken")

    answer = operator.post(f"/api/v1/exchanges/{verb}/kraken", b"[1]")

    assert (answer.status_code, answer.json()["message"]) == (400, "The body is no JSON object.")


WRITES = 'data-method="(POST|PATCH|DELETE)"|<form[^>]* method="POST"'


@pytest.mark.parametrize(
    "path", ["add/kraken", "blacklist/kraken", "refresh", "workers/kraken/restart", "kraken/settings"]
)
def test_staff_find_a_form_for_every_verb(staff: User, path: str) -> None:
    """The pages were bare JSON."""
    staff.is_superuser = True
    staff.save()
    browser = Client(headers={"Accept": "text/html"})
    anonymous = browser.get(f"/api/v1/exchanges/{path}")
    browser.force_login(staff)

    page = browser.get(f"/api/v1/exchanges/{path}")

    assert page["Content-Type"].startswith("text/html")
    assert re.search(WRITES, page.content.decode())
    assert anonymous["Content-Type"].startswith("text/html")
    assert not re.search(WRITES, anonymous.content.decode())
    assert "Operator Views" not in page.content.decode()


def test_without_a_configured_key_a_page_says_so(stranger: Client, settings: Any) -> None:
    settings.ADMIN_API_KEY = ""

    for path, status in (("kraken/settings", 503), ("refresh", 405)):
        page = stranger.get(f"/api/v1/exchanges/{path}", headers={"Accept": "text/html"})
        assert (page.status_code, page["Content-Type"].split(";")[0]) == (status, "text/html")


@pytest.mark.parametrize("path", ["settings", "checks"])
def test_ids_are_lower_cased_here_too(make: Make, operator: Client, path: str) -> None:
    make("kraken")

    assert operator.get(f"/api/v1/exchanges/Kraken/{path}").json()["exchange"] == "kraken"


def test_an_operator_asks_again_and_accepts_a_list(
    operator: Client, stranger: Client, sandbox: Sandbox, make: Make
) -> None:
    make("luno")
    for verb in ("ask-again", "accept-list"):
        assert stranger.post(f"/api/v1/exchanges/luno/{verb}").status_code == 401
        assert operator.post(f"/api/v1/exchanges/kraken/{verb}").status_code == 400

    asked = operator.post("/api/v1/exchanges/luno/ask-again")
    accepted = operator.post("/api/v1/exchanges/luno/accept-list")

    assert asked.json() == {"message": "luno was not paused", "exchange": "luno", "wasPaused": False}
    assert accepted.json()["activeMarkets"] == Market.objects.filter(exchange="luno", active=True).count() > 0
    assert set(AuditEntry.objects.values_list("verb", flat=True)) >= {"ask again", "accept list"}
