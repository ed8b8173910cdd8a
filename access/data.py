"""Admits readers of what is stored: keys by their plan, staff, and everybody within a limit per address.

A key pays a credit for each thousand rows begun, when the answer is ready. What is open is limited by address, and
closed by the setting PUBLIC_DATA.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpRequest
from rest_framework import exceptions
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from access import admin_key, gate, meter, refusals
from access.addresses import customer_of
from access.authentication import HEADER
from access.gate import CallTerms, Visit
from access.refusals import CallRefused, Dialect
from lib import clock

ROWS_A_CREDIT = 1000
NO_KEY = "This needs an API key, in the header X-API-Key."


class DataRefused(exceptions.APIException):
    """A refusal of the gate, on routes that DRF answers."""

    def __init__(self, refused: CallRefused, visit: Visit | None = None) -> None:
        super().__init__(refused.message)
        self.status_code = refused.status
        self.body = refusals.body(refused, Dialect.PIPELINES)
        if refused.retry_after_seconds is not None:
            self.wait = refused.retry_after_seconds  # DRF makes Retry-After of it


@dataclass(slots=True)
class Reader:
    """Who reads: a key on its `visit`, or somebody who pays nothing."""

    visit: Visit | None = None

    @property
    def max_rows(self) -> int | None:
        """Returns how many rows the plan gives in an answer; None without a plan."""
        return self.visit.caller.max_rows if self.visit is not None and self.visit.caller is not None else None


class MayReadData(BasePermission):
    """Permission to read what is stored; the view says in `data_endpoint` what its plans call it."""

    def has_permission(self, request: Request, view: Any) -> bool:
        request._request.data_reader = admit(request, view.data_endpoint)  # type: ignore[attr-defined]
        return True


def admit(request: Request, endpoint: str) -> Reader:
    """Returns the reader. Raises DataRefused: 401, 403 or 429."""
    if HEADER in request.headers:
        return _with_key(request._request, endpoint)
    user = request.user
    if user is not None and user.is_authenticated and getattr(user, "is_staff", False):
        return Reader()
    if not settings.PUBLIC_DATA:
        raise DataRefused(CallRefused(401, "unauthorized", NO_KEY))
    _limit_address(request._request)
    return Reader()


def _with_key(request: HttpRequest, endpoint: str) -> Reader:
    sent = request.headers[HEADER].encode("latin-1", "replace")
    if not admin_key.find_fault(settings.ADMIN_API_KEY) and admin_key.is_admin_key(sent):
        return Reader()
    visit = Visit(Dialect.PIPELINES, CallTerms(endpoint), clock.now())
    request.data_reader = Reader(visit)  # type: ignore[attr-defined]  # refusals tell what is left, too
    try:
        gate.enter(visit, request)
    except CallRefused as refused:
        raise DataRefused(refused) from refused
    return Reader(visit)


def _limit_address(request: HttpRequest) -> None:
    limit = settings.PUBLIC_DATA_PER_MINUTE
    window = meter.take(f"data:{customer_of(request)}", per_minute=limit, per_hour=None).refusing if limit else None
    if window is not None:
        raise DataRefused(
            refusals.rate_limited(
                tier="", limit=window.limit, unit=window.unit, used=window.used, seconds=window.left_seconds
            )
        )


def reader_of(request: Request) -> Reader:
    """Returns the reader that MayReadData has admitted."""
    found: Reader = getattr(request._request, "data_reader", None) or Reader()
    return found


def capped(request: Request, limit: int) -> int:
    """Returns how many rows an answer may have: as many as were asked for, and no more than the plan gives."""
    most = reader_of(request).max_rows
    return limit if most is None else min(limit, most)


def charge(request: Request, rows: int) -> None:
    """Takes the price of an answer that is ready. Raises DataRefused: 402, and 401 for a key revoked meanwhile."""
    visit = reader_of(request).visit
    if visit is None:
        return
    visit.terms = replace(visit.terms, credits=ceil(rows / ROWS_A_CREDIT))
    try:
        gate.settle(visit)
    except CallRefused as refused:
        raise DataRefused(refused) from refused


def headers(request: Request) -> dict[str, str]:
    """Returns what is left of the key's plan, after this answer."""
    visit = reader_of(request).visit
    return {} if visit is None else {**gate.headers(visit), "Vary": HEADER}


class DataView:
    """What views of stored data share: who may read, and the headers of a key."""

    data_endpoint: ClassVar[str]
    permission_classes: Any = [MayReadData]

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        finished = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        if isinstance(request, Request):
            for name, value in headers(request).items():
                finished.headers[name] = value
        return finished


class DataList(DataView):
    """A list of stored rows, charged by the page."""

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Returns a page of rows."""
        response: Response = super().list(request, *args, **kwargs)  # type: ignore[misc]
        charge(request, len(response.data["results"]))
        return response
