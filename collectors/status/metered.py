"""A metered endpoint: who may call it at what price, and its answer or refusal, as bytes past DRF.

Only people's browsers and the schema see the DRF side of such a view.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

import orjson
import structlog
from django.db import Error as DatabaseFault
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access import gate, refusals
from access.authentication import Caller
from access.gate import CallTerms, Visit
from access.refusals import CallRefused, Dialect
from collectors.status import published
from collectors.status.published import Body
from collectors.status.workers import CollectorAbsent
from lib import clock
from lib.encoding import accepts_gzip

METHODS = ("GET", "HEAD")
BODY_MAX_BYTES = 64 * 1024
WHOLE_NUMBER = re.compile(r"[0-9]{1,9}\Z", re.ASCII)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AdmittedCall:
    """A call that has passed the gate."""

    request: HttpRequest
    caller: Caller
    visit: Visit
    accepts_gzip: bool

    @property
    def now(self) -> datetime:
        return self.visit.now


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    content: bytes
    is_gzip: bool = False
    headers: dict[str, str] = field(default_factory=dict)


def ready(body: Body) -> ApiAnswer:
    return ApiAnswer(body.content, body.is_gzip)


class MeteredView(APIView):
    """One endpoint: who may call it at what price, how its parameters are read, and its answer."""

    authentication_classes = ()
    permission_classes = [AllowAny]
    dialect: ClassVar[Dialect] = Dialect.PIPELINES
    terms: ClassVar[CallTerms]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if _is_browser(request) and request.method in METHODS:
            return super().dispatch(request, *args, **kwargs)
        return self.respond(request)

    def get(self, request: Request) -> Response:
        """Answers a browser: the same answer on DRF's page."""
        plain = self.respond(request._request)
        kept = {name: value for name, value in plain.headers.items() if name not in ("Content-Type", "Content-Length")}
        return Response(orjson.loads(plain.content), status=plain.status_code, headers=kept)

    def respond(self, request: HttpRequest) -> HttpResponse:
        view = self.chosen(request)
        visit = Visit(view.dialect, view.terms, clock.now())
        try:
            answer = _admitted(view, request, visit)
            return _response(answer.content, 200, visit, answer.headers, is_gzip=answer.is_gzip)
        except CallRefused as refused:
            return refusal_response(refused, visit)
        except (CollectorAbsent, DatabaseFault) as error:
            log.warning("status_unavailable", path=request.path, cause=str(error).strip())
            return refusal_response(refusals.unavailable(), visit)
        except Exception:
            log.exception("status_failed", path=request.path)
            return refusal_response(refusals.failed(_correlation_id()), visit)

    def chosen(self, request: HttpRequest) -> MeteredView:
        """Returns the view that speaks the caller's document."""
        return self

    def parse(self, request: HttpRequest) -> Any:
        """Returns the parameters. Raises CallRefused (400)."""
        return None

    def answer(self, call: AdmittedCall, wanted: Any) -> ApiAnswer:
        raise NotImplementedError


def packed(body: bytes, call: AdmittedCall, headers: dict[str, str] | None = None) -> ApiAnswer:
    if not call.accepts_gzip or len(body) < published.WORTH_COMPRESSING_BYTES:
        return ApiAnswer(body, headers=headers or {})
    return ApiAnswer(published.compressed(body), is_gzip=True, headers=headers or {})


def _admitted(view: MeteredView, request: HttpRequest, visit: Visit) -> ApiAnswer:
    if request.method not in METHODS:
        raise refusals.method_not_allowed(str(request.method)[:20])
    if _announced_bytes(request) > BODY_MAX_BYTES:
        raise refusals.too_large()
    caller = gate.enter(visit, request)
    wanted = gate.parsed(visit, lambda: view.parse(request))
    call = AdmittedCall(request, caller, visit, _accepts_gzip(request))
    answer = view.answer(call, wanted)
    gate.settle(visit)
    return answer


def _announced_bytes(request: HttpRequest) -> int:
    announced = request.META.get("CONTENT_LENGTH") or "0"
    return int(announced) if WHOLE_NUMBER.match(announced) else BODY_MAX_BYTES + 1


def _accepts_gzip(request: HttpRequest) -> bool:
    return not _is_browser(request) and accepts_gzip(request.META.get("HTTP_ACCEPT_ENCODING", ""))


def _is_browser(request: HttpRequest) -> bool:
    return "text/html" in request.META.get("HTTP_ACCEPT", "")


def _correlation_id() -> str:
    return str(structlog.contextvars.get_contextvars().get("correlation_id", ""))


def refusal_response(refused: CallRefused, visit: Visit) -> HttpResponse:
    more = {}
    if refused.retry_after_seconds is not None:
        more["Retry-After"] = str(refused.retry_after_seconds)
    if refused.status == 405:
        more["Allow"] = ", ".join(METHODS)
    visit.charged = 0
    return _response(orjson.dumps(refusals.body(refused, visit.dialect)), refused.status, visit, more)


def _response(
    content: bytes, status: int, visit: Visit, more: dict[str, str], *, is_gzip: bool = False
) -> HttpResponse:
    response = HttpResponse(content, status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    negotiated = is_gzip or len(content) >= published.WORTH_COMPRESSING_BYTES
    response.headers["Vary"] = "X-API-Key, Accept-Encoding" if negotiated else "X-API-Key"
    if is_gzip:
        response.headers["Content-Encoding"] = "gzip"
    for name, value in (_headers(visit) | more).items():
        response.headers[name] = value
    return response


def _headers(visit: Visit) -> dict[str, str]:
    """Returns the gate's headers, or none when the balance cannot be read: the answer goes out all the same."""
    try:
        return gate.headers(visit)
    except DatabaseFault:
        return {}
