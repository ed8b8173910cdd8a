"""What every request passes: a correlation id and one log line, refusal of control characters, security headers."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_plus, unquote_to_bytes

import structlog
from auditlog.middleware import AuditlogMiddleware
from django.conf import settings
from django.http import HttpRequest, HttpResponsePermanentRedirect
from django.http.response import HttpResponseBase
from django.middleware.common import CommonMiddleware

from lib.problems import problem

Next = Callable[[HttpRequest], HttpResponseBase]

SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
BROKEN_BYTE = re.compile(r"%[89A-Fa-f][0-9A-Fa-f]")
log: Any = structlog.get_logger("marketmon.request")


class CorrelationMiddleware:
    """Binds one id to everything a request causes, tasks included, and logs the request once without its query."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.monotonic()
        correlation_id = _sane_id(request.headers.get("X-Correlation-ID", ""))
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(correlation_id=correlation_id)
        response = self.get_response(request)
        response.headers["X-Correlation-ID"] = correlation_id
        _log_request(request, response.status_code, started)
        return response  # the id stays bound until this thread's next request: Django logs errors after us


def correlation_id() -> str:
    """Returns the running request's or task's id; empty outside of both."""
    return str(structlog.contextvars.get_contextvars().get("correlation_id", ""))


def _sane_id(claimed: str) -> str:
    return claimed if SANE_ID.match(claimed) else uuid.uuid4().hex


def _log_request(request: HttpRequest, status: int, started: float) -> None:
    log.info(
        "request",
        method=request.method,
        path=request.path,
        status=status,
        duration_ms=round((time.monotonic() - started) * 1000, 1),
        caller=_caller(request),
    )


def _caller(request: HttpRequest) -> str | None:
    """Returns who was recognised while the request ran; asking `request.user` here would cost queries of its own."""
    user = getattr(request, "_cached_user", None)
    if user is not None and user.is_authenticated:
        return str(user.get_username())
    return getattr(request, "key_prefix", None)


# The APIs that we stand in for refuse parameters in their own words, and after the key where there is one.
OWN_WORDS = ("/v1/", "/metrics", "/regime", "/grids")


class RefuseControlCharacters:
    """Refuses control characters with a 400: NUL was an error 500 in PostgreSQL, and line breaks forge log lines."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not _is_clean_path(request.path_info):
            return problem(400, "The path may hold no control characters and must be UTF-8.")
        query = request.META.get("QUERY_STRING", "")
        if request.path_info.startswith(OWN_WORDS) or _is_clean(unquote_to_bytes(query)):
            return self.get_response(request)
        return _query_problem(query)


def _query_problem(query: str) -> HttpResponseBase:
    """Returns a response that names the parameter, unless its name is what is broken."""
    pairs = (part.partition("=")[::2] for part in query.split("&"))
    names = [name for name, value in pairs if not _is_clean(unquote_to_bytes(value))]
    words = "may hold no control characters and must be UTF-8."
    if not names or not all(_is_clean(unquote_to_bytes(name)) for name in names):
        return problem(400, f"The names of parameters {words}")
    details = {unquote_plus(name): [f"It {words}"] for name in names}
    return problem(400, f"Invalid: {', '.join(details)}.", details=details)


def _is_clean_path(path: str) -> bool:
    """Says whether a path is clean; Django has decoded it, and left bytes that are no UTF-8 as percent codes."""
    return CONTROL.search(path) is None and BROKEN_BYTE.search(path) is None


def _is_clean(raw: bytes) -> bool:
    try:
        return CONTROL.search(raw.decode("utf-8")) is None
    except UnicodeDecodeError:
        return False


class KnownHosts(CommonMiddleware):
    """Django's refusal of hosts that are not ours, except for programs inside the network: see the setting."""

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        path = request.path.lstrip("/")  # as Django's own redirect reads them
        if any(re.search(inside, path) for inside in settings.SECURE_REDIRECT_EXEMPT):
            return None
        return super().process_request(request)


# Alpine, which the admin's pages use, evaluates expressions; nothing there runs inline scripts.
ADMIN_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
# Swagger UI and the browsable API set inline styles; their scripts are files.
PAGES_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"


class SecurityPolicy:
    """The Content-Security-Policy for every answer, as strict as its kind allows, and no powers for any page."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", _policy(request, response))
        response.headers.setdefault(
            "Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
        )
        return response


API_PATH = re.compile(r"/(api|v1|health|live|ready|metrics|regime|grids)(/|$)")


class LiveData:
    """Forbids caches to keep what an API says is true now, unless the view itself says for how long."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        if is_json or API_PATH.match(request.path_info):
            response.headers.setdefault("Cache-Control", "no-store")
        return response


class Audit(AuditlogMiddleware):
    """Asks who changed something only when something has changed: reading needs no session and no database."""

    @staticmethod
    def _get_actor(request: HttpRequest) -> Any:
        return getattr(request, "user", None)  # still unread; auditlog looks who it is before it writes


def _policy(request: HttpRequest, response: HttpResponseBase) -> str:
    if not response.headers.get("Content-Type", "").startswith("text/html"):
        return DATA_POLICY
    return ADMIN_POLICY if request.path_info.startswith(("/admin", "/board")) else PAGES_POLICY
