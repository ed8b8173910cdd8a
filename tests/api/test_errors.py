"""Every way to fail: JSON on API routes, no trace of how we are built, and never a 5xx but 503."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.db.utils import InterfaceError, OperationalError
from django.test import Client, override_settings
from django.urls import path
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from marketmon import urls
from tests.api.conftest import Fill
from web import errors
from web.drf import BODY_BYTES, GuardedJSONParser, PayloadTooLarge

CANARY = "hunter2-in-an-exception"


class Echo(APIView):
    permission_classes = [AllowAny]

    def post(self, request) -> Response:
        return Response(request.data)


def raising(error: Exception):
    def view(request):
        raise error

    return view


class RaisingApi(APIView):
    permission_classes = [AllowAny]

    def get(self, request) -> Response:
        raise OperationalError(CANARY)


handler400, handler403, handler404, handler500 = (
    errors.bad_request,
    errors.permission_denied,
    errors.not_found,
    errors.server_error,
)
urlpatterns = [
    path("api/v1/echo", Echo.as_view()),
    path("api/v1/boom", raising(ValueError(CANARY))),
    path("api/v1/away", raising(OperationalError(CANARY))),
    path("api/v1/away-too", raising(InterfaceError(CANARY))),
    path("api/v1/away-drf", RaisingApi.as_view()),
    path("api/v1/denied", raising(PermissionDenied(CANARY))),
    path("api/v1/suspicious", raising(SuspiciousOperation(CANARY))),
    path("api/v1/too-big", raising(RequestDataTooBig(CANARY))),
    path("page/boom", raising(ValueError(CANARY))),
    path("page/away", raising(OperationalError(CANARY))),
    *urls.urlpatterns,
]

pytestmark = pytest.mark.urls(__name__)


@pytest.fixture
def browser() -> Client:
    """A client that sees answers instead of exceptions."""
    return Client(raise_request_exception=False)


@pytest.mark.parametrize(
    ("route", "status", "error"),
    [
        ("boom", 500, "Internal Server Error"),
        ("away", 503, "Service Unavailable"),
        ("away-too", 503, "Service Unavailable"),
        ("away-drf", 503, "Service Unavailable"),
        ("denied", 403, "Forbidden"),
        ("suspicious", 400, "Bad Request"),
        ("too-big", 413, "Request Entity Too Large"),
        ("nope", 404, "Not Found"),
    ],
)
def test_a_failure_is_json_and_gives_nothing_away(browser: Client, route: str, status: int, error: str) -> None:
    response = browser.get(f"/api/v1/{route}", headers={"Accept": "text/html, */*"} if route == "nope" else {})

    body = response.json()
    assert response.status_code == status
    assert list(body) == ["error", "message", "timestamp"]
    assert body["error"] == error
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["timestamp"])
    assert not re.search(f"{CANARY}|Traceback|/work|site-packages|File ", response.content.decode())
    assert re.fullmatch("[0-9a-f]{32}", response["X-Correlation-ID"])


def test_a_500_names_its_correlation_id(browser: Client) -> None:
    response = browser.get("/api/v1/boom", headers={"X-Correlation-ID": "order-66"})

    assert "order-66" in response.json()["message"]


def test_people_get_djangos_pages(browser: Client) -> None:
    assert browser.get("/page/boom")["Content-Type"].startswith("text/html")
    assert browser.get("/page/nope")["Content-Type"].startswith("text/html")
    assert CANARY not in browser.get("/page/boom").content.decode()


def test_a_page_without_database_is_503(browser: Client) -> None:
    assert browser.get("/page/away").status_code == 503


@pytest.fixture
def no_database(db: None, settings) -> Iterator[None]:
    """Connections go to a port where nobody listens."""
    old = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict |= {"HOST": "127.0.0.1", "PORT": "1"}
    yield
    connection.settings_dict |= old
    connection.connect()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "route", ["exchanges", "workers", "gaps", "runs/1", "market/workers/status", "exchanges/workers/status"]
)
def test_without_database_every_route_is_503(browser: Client, no_database: None, route: str) -> None:
    response = browser.get(f"/api/v1/{route}")

    assert response.status_code == 503
    assert response["Content-Type"] == "application/json"
    assert "127.0.0.1" not in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_without_database_a_signed_in_session_is_503_too(browser: Client, operator: Client, no_database: None) -> None:
    operator.raise_request_exception = False

    page = operator.get("/admin/")
    assert page.status_code == 503
    assert "Nothing listens at the database" in page.content.decode()
    assert "127.0.0.1" not in page.content.decode()
    assert operator.get("/api/v1/gaps").status_code == 503


# --- control characters -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/pipelines?symbol=%00",
        "/api/v1/pipelines?symbol=a%0d%0aX-Evil:1",
        "/api/v1/pipelines?sym%00bol=1",
        "/api/v1/pipelines?symbol=%7f",
        "/api/v1/pipelines?symbol=%c2%85",
        "/api/v1/pipelines?symbol=%ff",
        "/api/v1/exchanges/kra%00ken",
        "/api/v1/exchanges/kra%0aken",
        "/admin/%00",
        "/health?x=%1b[2J",
    ],
)
def test_control_characters_and_broken_utf8_are_400(target: str) -> None:
    response = Client().get(target)

    assert response.status_code == 400
    assert response.json()["error"] == "Bad Request"
    assert response["X-Correlation-ID"]


@pytest.mark.parametrize(
    ("query", "details"),
    [
        ("exchange=luno&symbol=a%00b", ["symbol"]),
        ("symbol=%ff&exchange=%0a", ["symbol", "exchange"]),
        ("two+words=%1b", ["two words"]),
        ("symbol=%C2%85&symbol=BTC", ["symbol"]),
    ],
)
def test_the_parameter_with_the_control_character_is_named(query: str, details: list[str]) -> None:
    body = Client().get(f"/api/v1/pipelines?{query}").json()

    assert list(body["details"]) == details
    assert body["message"] == f"Invalid: {', '.join(details)}."


def test_a_broken_name_is_not_repeated() -> None:
    body = Client().get("/api/v1/pipelines?sym%00bol=%00&symbol=BTC").json()

    assert body["message"].startswith("The names of parameters")
    assert "details" not in body


def test_bytes_that_are_no_utf8_in_the_path_are_400() -> None:
    environ = APIRequestFactory().get("/api/v1/exchanges").environ | {"PATH_INFO": "/api/v1/exchanges/\xff"}

    assert WSGIHandler().get_response(WSGIHandler().request_class(environ)).status_code == 400


def test_other_alphabets_pass(world: Fill) -> None:
    assert Client().get("/api/v1/exchanges/é").status_code == 404
    assert Client().get("/api/v1/exchanges/币安").status_code == 404
    assert Client().get("/api/v1/pipelines", {"symbol": "币安/₿"}).status_code == 200


# --- correlation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("claimed", ["abc", "A-b_c.9", "x" * 64])
def test_a_sane_correlation_id_is_kept(claimed: str) -> None:
    assert Client().get("/live", headers={"X-Correlation-ID": claimed})["X-Correlation-ID"] == claimed


@pytest.mark.parametrize("claimed", ["", "x" * 65, "a b", "é", "a\nb", "${jndi}", "a;b"])
def test_any_other_is_replaced(claimed: str) -> None:
    answered = Client().get("/live", headers={"X-Correlation-ID": claimed})["X-Correlation-ID"]

    assert re.fullmatch("[0-9a-f]{32}", answered)


def test_a_request_is_one_line_without_its_query(caplog: pytest.LogCaptureFixture, operator: Client) -> None:
    caplog.set_level(logging.INFO, logger="marketmon.request")

    operator.get("/admin/?api-key=canary-1", headers={"X-API-Key": "canary-2", "X-Correlation-ID": "abc"})

    (record,) = (each for each in caplog.records if each.name == "marketmon.request")
    line = json.loads(json.dumps(record.msg))
    assert {key: line[key] for key in ("method", "path", "status", "caller", "correlation_id")} == {
        "method": "GET",
        "path": "/admin/",
        "status": 200,
        "caller": "olga",
        "correlation_id": "abc",
    }
    assert line["duration_ms"] > 0
    assert "canary" not in str(line)


@pytest.mark.parametrize(
    "route", ["/admin/login/", "/api/v1/exchanges", "/api/docs", "/nope", "/health", "/api/v1/nope"]
)
def test_every_answer_has_a_policy(db: None, browser: Client, route: str) -> None:
    response = browser.get(route)

    assert "frame-ancestors 'none'" in response["Content-Security-Policy"]
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert "unsafe-inline" not in response["Content-Security-Policy"].partition("style-src")[0]


# --- bodies -----------------------------------------------------------------------------------------------------

DEEP = 1100


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"a": [1, "x]}{"]}', 200),
        (b"[" * 32 + b"]" * 32, 200),
        (b"[" * 33 + b"]" * 33, 400),
        (b"[" * DEEP, 400),
        (b'{"a":' * DEEP + b"1" + b"}" * DEEP, 400),
        (b"NaN", 400),
        (b'{"a": Infinity}', 400),
        (b'{"a": "\\ud800"}', 400),
        (b"\xff\xfe", 400),
        (b"{", 400),
        (b'"' + b"x" * BODY_BYTES + b'"', 413),
        (b"9" * 4301, 400),
    ],
    ids=[
        "sound",
        "32 deep",
        "33 deep",
        "1100 open",
        "1100 nested",
        "NaN",
        "Infinity",
        "surrogate",
        "no UTF-8",
        "cut",
        "too long",
        "long number",
    ],
)
def test_bodies_are_bounded(browser: Client, body: bytes, status: int) -> None:
    response = browser.post("/api/v1/echo", body, content_type="application/json")

    assert response.status_code == status
    assert response["Content-Type"] == "application/json"


def test_another_content_type_is_415_in_json(browser: Client) -> None:
    response = browser.post("/api/v1/echo", b"<a/>", content_type="application/xml")

    assert response.status_code == 415
    assert response.json()["error"] == "Unsupported Media Type"


def test_a_huge_upload_is_read_no_further_than_the_limit() -> None:
    class Stream:
        taken = 0

        def read(self, size: int) -> bytes:
            self.taken += size
            return b" " * size

    stream = Stream()

    with pytest.raises(PayloadTooLarge):
        GuardedJSONParser().parse(stream)
    assert stream.taken == BODY_BYTES + 1
    assert not issubclass(GuardedJSONParser, JSONParser)
    with pytest.raises(ParseError):
        GuardedJSONParser().parse(type("Empty", (), {"read": lambda self, size: b""})())


@override_settings(ALLOWED_HOSTS=["marketmon.example"])
def test_a_foreign_host_is_400_in_json(browser: Client) -> None:
    response = browser.get("/api/v1/exchanges", headers={"Host": "evil.example"})

    assert response.status_code == 400
    assert "evil" not in response.content.decode()


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/board/exchanges/nobody", 404, "There is no such page"),
        ("/nowhere", 404, "/nowhere"),
        ("/admin/collectors/run/add/", 403, "You may not do this"),
    ],
)
def test_people_are_told_what_is_wrong_and_where_to_go_on(operator: Client, path: str, status: int, words: str) -> None:
    answer = operator.get(path)

    assert answer.status_code == status
    assert words in answer.content.decode()
    assert 'href="/board"' in answer.content.decode()


def test_a_form_that_is_too_old_says_so() -> None:
    answer = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "x", "password": "y"})

    assert answer.status_code == 403
    assert "load its page again" in answer.content.decode()


def test_a_full_disk_is_said_in_words() -> None:
    class Full(Exception):
        pgcode = "53100"

    error = OperationalError(CANARY)
    error.__cause__ = Full("could not extend file: No space left on device")

    answer = errors.problem_response(error, {})

    assert answer is not None
    assert (answer.status_code, answer.data["message"]) == (
        503,
        "The database's disk is full: nothing can be stored until there is room.",
    )


@pytest.mark.parametrize(
    ("path", "field"), [("/api/v1/incidents/", "exchanges"), ("/api/v1/maintenance/", "exchanges")]
)
def test_a_wrong_item_of_a_list_is_named_by_its_number(db: None, path: str, field: str) -> None:
    caller = Client(headers={"X-Admin-Key": settings.ADMIN_API_KEY})

    answer = caller.post(path, {"title": "x", field: ["kraken", "0" * 65]}, content_type="application/json")

    assert answer.status_code == 400
    assert list(answer.json()["details"][field]) == ["1"]
