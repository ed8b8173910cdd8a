"""Access to managing exchanges: for the holder of the admin key, or signed-in staff with the right permission."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from math import ceil
from typing import Any, ClassVar

import structlog
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from access import keys, meter
from access.addresses import customer_of

LEAST_CHARACTERS = 32
WRONG_KEYS = {"per_minute": 5, "per_hour": None}  # from one address; nobody mistypes a key of 32 characters more often
KEY_HEADERS = ("X-Admin-Key", "X-API-Key")
BEARER = re.compile(r"bearer\s+(\S+)\s*\Z", re.IGNORECASE)
# Keys that stand in guides and sample files, and what people type instead of one. Compared without case and signs.
EXAMPLE_WORDS = (  # noqa: SIM905 - forty words read better so
    "your my the a an some test example sample dummy demo dev local secret super admin api key token change me this "
    "in production prod please replace with random value here insert set default password placeholder todo fixme "
    "x 0 1 1234567890 123456789 12345678 0123456789 abcdef abcdefghijklmnopqrstuvwxyz abc 123 qwerty"
).split()

log: Any = structlog.get_logger(__name__)


class AdminKeyHolder(AnonymousUser):
    """The sender of the admin key. Not a user: no permission of the admin pages comes with it."""

    username = "admin key"  # type: ignore[assignment]

    @property
    def is_authenticated(self) -> bool:  # type: ignore[override]
        return True

    @property
    def is_anonymous(self) -> bool:  # type: ignore[override]
        return False

    def __str__(self) -> str:
        return self.username


class AdminKeyRefused(exceptions.APIException):
    """The documented 401, whichever route asks for the key."""

    status_code = 401
    default_detail = "Valid admin API key required for this endpoint"
    body: ClassVar[Mapping[str, str]] = {
        "error": "Unauthorized",
        "message": default_detail,
        "code": "ADMIN_AUTH_FAILED",
    }


class AdminDisabled(exceptions.APIException):
    """The documented 503: without a key that is good enough these routes are closed to everybody."""

    status_code = 503


class TooManyWrongKeys(exceptions.APIException):
    """The documented 401's words, for a wrong key from an address that has sent too many of them."""

    status_code = 429

    def __init__(self, seconds: float) -> None:
        self.wait = max(1, ceil(seconds))  # DRF makes Retry-After of it
        message = f"Too many wrong admin keys from your address. Try again in {self.wait} s."
        super().__init__(message)
        self.body = {"error": "Too Many Requests", "message": message, "code": "ADMIN_AUTH_THROTTLED"}


class AdminKeyAuthentication(BaseAuthentication):
    """Authentication by X-Admin-Key, X-API-Key or a bearer token; never by the query string."""

    def authenticate(self, request: Request) -> tuple[AdminKeyHolder, str] | None:
        fault = find_fault(settings.ADMIN_API_KEY)
        if fault:
            raise AdminDisabled(f"Admin endpoints are disabled ({fault})")
        sent = list(_sent_keys(request))
        if not sent:
            return None
        _require_right(sent, request._request)
        request._request.key_prefix = AdminKeyHolder.username  # type: ignore[attr-defined]  # for the request's log line
        return AdminKeyHolder(), "key"


class StaffSession(SessionAuthentication):
    """Authentication of staff in the browsable API; a session without its CSRF token is refused."""


class MayManage(BasePermission):
    """Permission to manage: the key opens everything; staff need what the view names for the action."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if isinstance(request.user, AdminKeyHolder):
            return True
        if not (request.user and request.user.is_authenticated):
            raise AdminKeyRefused
        if not (request.user.is_staff and request.user.has_perm(view.permission_of(view.action))):
            raise exceptions.PermissionDenied(
                f"This needs staff with the permission {view.permission_of(view.action)}."
            )
        return True


class AdminKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = AdminKeyAuthentication
    name = ["AdminKey", "AdminKeyAsApiKey", "AdminKeyAsBearer"]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        headers = [{"type": "apiKey", "in": "header", "name": name} for name in KEY_HEADERS]
        return [*headers, {"type": "http", "scheme": "bearer"}]


class StaffSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = StaffSession
    name = "StaffSession"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}


def _require_right(sent: Iterable[bytes], request: HttpRequest) -> None:
    """Raises AdminKeyRefused or TooManyWrongKeys.

    The right key passes whatever was sent before from the same address: a key of 32 random characters is not guessed
    at any speed, and to refuse it would give every stranger a switch. A key for the data APIs is no guess.
    """
    if True in [is_admin_key(key) for key in sent]:  # all of them, in equal time
        return
    customer = customer_of(request)
    for _ in {key for key in sent if keys.parse(key.decode("latin-1")) is None}:
        window = meter.take(f"admin-key:{customer}", **WRONG_KEYS).refusing
        if window is not None:
            log.warning("admin_key_throttled", origin=customer)
            raise TooManyWrongKeys(window.left_seconds)
        log.warning("admin_key_wrong", origin=customer)
    raise AdminKeyRefused


def is_admin_key(sent: bytes) -> bool:
    """Says whether it is the admin key, in constant time and for any bytes: comparing text would raise beyond ASCII."""
    return hmac.compare_digest(hashlib.sha256(sent).digest(), hashlib.sha256(settings.ADMIN_API_KEY.encode()).digest())


def find_fault(key: str) -> str:
    """Returns why this cannot be the admin key; empty when it can."""
    if not key.strip():
        return "ADMIN_API_KEY not set"
    if len(key.strip()) < LEAST_CHARACTERS:
        return f"ADMIN_API_KEY has less than {LEAST_CHARACTERS} characters"
    letters = re.sub(r"[^a-z0-9]", "", key.lower())
    if len(set(letters)) < 8 or _is_made_of_examples(letters):
        return "ADMIN_API_KEY is a well-known example"
    return ""


def _is_made_of_examples(letters: str) -> bool:
    """Says whether the key is made of examples. Each place is looked at once: a pattern would try every combination."""
    reached = {0}
    for place in range(len(letters)):
        if place in reached:
            reached |= {place + len(word) for word in EXAMPLE_WORDS if letters.startswith(word, place)}
    return len(letters) in reached


def _sent_keys(request: Request) -> Iterator[bytes]:
    """Yields the keys as the bytes that were sent: WSGI hands headers over as Latin-1."""
    for name in KEY_HEADERS:
        value = request.headers.get(name)
        if value is not None:
            yield value.encode("latin-1", "replace")
    bearer = BEARER.match(request.headers.get("Authorization", ""))
    if bearer:
        yield bearer[1].encode("latin-1", "replace")
