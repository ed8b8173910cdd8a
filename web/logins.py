"""The admin's sign-in, with so many tries for each address: passwords are not for guessing."""

from __future__ import annotations

from math import ceil
from typing import Any

import structlog
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from access import meter
from access.addresses import customer_of

WRONG = {"per_minute": 10, "per_hour": 60}  # slips of the hand are well within; 1,440 guesses a day are few

log: Any = structlog.get_logger(__name__)


def login(request: HttpRequest) -> HttpResponseBase:
    """Only wrong tries count: a right one gives its own back."""
    key = _key(request) if request.method == "POST" else None
    if key is None:
        return admin.site.login(request)
    windows = meter.take(key, **WRONG)
    if windows.refusing is not None:
        log.warning("sign_in_throttled", origin=key)
        return _too_many(ceil(windows.refusing.left_seconds))
    response = admin.site.login(request)
    if response.status_code == 302:
        meter.give_back(key, windows, **WRONG)
    return response


def _key(request: HttpRequest) -> str | None:
    customer = customer_of(request)
    return f"sign-in:{customer}" if customer is not None else None


def _too_many(seconds: int) -> HttpResponse:
    text = f"Too many wrong sign-ins from your address. Try again in {max(1, seconds)} s.\n"
    response = HttpResponse(text, status=429, content_type="text/plain; charset=utf-8")
    response.headers["Retry-After"] = str(max(1, seconds))
    response.headers["Cache-Control"] = "no-store"
    return response
