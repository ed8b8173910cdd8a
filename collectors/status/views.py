"""The pairs and pipelines APIs over HTTP, each in its caller's dialect; live rates, limits and sources, too.

JSON is answered as bytes, past DRF; only people's browsers and the schema see the DRF side of a view.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

import orjson
import structlog
from django.core import signing
from django.db import Error as DatabaseFault
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access import gate, prices, refusals
from access.authentication import Caller
from access.gate import CallTerms, Visit
from access.models import Endpoint
from access.refusals import CallRefused, Dialect
from collectors.history import names as listing
from collectors.rules.pair_rates import OLDER, Rate
from collectors.status import openapi, published, rates
from collectors.status import pipelines as pipelines_status
from collectors.status import sources as sources_list
from collectors.status.dialects import pipelines
from collectors.status.published import Body
from collectors.status.workers import CollectorAbsent, require_collection
from lib import clock
from lib.encoding import accepts_gzip

METHODS = ("GET", "HEAD")
BODY_MAX_BYTES = 64 * 1024
# Any of these in the query of /v1/status, and it is the pipelines API that the caller has read.
PIPELINES_PARAMETERS = frozenset({"api-key", "api_key", "source", "symbol", "limit", "after"})
WHOLE_NUMBER = re.compile(r"[0-9]{1,9}\Z", re.ASCII)
PAIRS_MAX = 200
MAX_AGE_DEFAULT, MAX_AGE_LIMIT = 60, 1800
ALL_KINDS = "all"

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


# --- pairs ------------------------------------------------------------------------------------------


@openapi.pairs
class PairsStatus(MeteredView):
    """Collectors and the freshness of every pair."""

    dialect = Dialect.PAIRS
    terms = CallTerms(Endpoint.PAIRS, requests=1)

    def answer(self, call: AdmittedCall, wanted: Any) -> ApiAnswer:
        return ready(published.all_pairs(call.now, accepts_gzip=call.accepts_gzip))


@dataclass(frozen=True, slots=True)
class WantedRates:
    markets_of_pairs: dict[str, tuple[int, ...]]
    max_age_seconds: int
    kind: str


@openapi.rates
class LiveRates(MeteredView):
    """The volume-weighted price of each pair over its fresh sources; all pairs when none is named."""

    dialect = Dialect.PAIRS
    terms = CallTerms(Endpoint.RATES, requests=1)

    def parse(self, request: HttpRequest) -> WantedRates:
        texts = [text.strip() for text in request.GET.get("pairs", "").split(",") if text.strip()]
        if len(texts) > PAIRS_MAX:
            raise refusals.bad_request("invalid_pairs", f"At most {PAIRS_MAX} pairs can be asked for at once.")
        max_age = request.GET.get("max_age") or str(MAX_AGE_DEFAULT)
        if not WHOLE_NUMBER.match(max_age) or not 1 <= int(max_age) <= MAX_AGE_LIMIT:
            raise refusals.bad_request("invalid_max_age", f"max_age is a whole number from 1 to {MAX_AGE_LIMIT}.")
        kind = request.GET.get("kind") or ALL_KINDS
        if kind not in (*rates.KINDS.values(), ALL_KINDS):
            raise refusals.bad_request(
                "invalid_kind", f"kind is one of {', '.join(rates.KINDS.values())}, {ALL_KINDS}."
            )
        return WantedRates(_markets_of(texts), int(max_age), "" if kind == ALL_KINDS else kind)

    def answer(self, call: AdmittedCall, wanted: WantedRates) -> ApiAnswer:
        require_collection()
        asked = dict(list(wanted.markets_of_pairs.items())[: call.caller.max_rows])
        found = rates.read(asked, call.now, max_age_seconds=wanted.max_age_seconds, kind=wanted.kind)
        if not any(rate.sources for rate in found):
            raise refusals.unavailable(_why_none(found))
        capped = {"X-Rows-Capped": "true"} if len(asked) < len(wanted.markets_of_pairs) else {}
        body = orjson.dumps(rates.render(found, call.now, max_age_seconds=wanted.max_age_seconds))
        return _packed(body, call, capped)


def _why_none(found: Sequence[Rate]) -> str:
    reasons = {each.reason for rate in found for each in rate.excluded}
    if reasons <= {OLDER}:
        return "No source of these pairs is younger than 30 minutes."
    return f"No source of these pairs can be used: they are {', '.join(sorted(reasons - {OLDER}))}."


def _markets_of(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """Returns the markets by pair, in the caller's order; all pairs when none is named."""
    known = listing.current()
    if not texts:
        return dict(known.markets_of_pairs.values())
    found = {}
    for text in texts:
        pair = known.pair(text)
        if pair is None:
            raise refusals.bad_request("invalid_pair", "A pair in pairs is not recognized.")
        found[pair[0]] = pair[1]
    return found


def _packed(body: bytes, call: AdmittedCall, headers: dict[str, str] | None = None) -> ApiAnswer:
    if not call.accepts_gzip or len(body) < published.WORTH_COMPRESSING_BYTES:
        return ApiAnswer(body, headers=headers or {})
    return ApiAnswer(published.compressed(body), is_gzip=True, headers=headers or {})


# --- pipelines --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WantedPipelines:
    """The pipelines API's query, recognised. None is no filter."""

    sources: tuple[str, ...] | None
    symbols: tuple[str, ...] | None
    limit: int | None
    after: tuple[str, str] | None
    source_text: str | None
    symbol_text: str | None

    @property
    def is_everything(self) -> bool:
        return self.sources is None and self.symbols is None and self.after is None


@openapi.pipelines
class PipelinesStatus(MeteredView):
    """The health of each data ingestion pipeline, with its gaps."""

    terms = CallTerms(Endpoint.PIPELINES, credits=prices.STATUS_CALL)

    def parse(self, request: HttpRequest) -> WantedPipelines:
        query = request.GET
        source, symbol = query.get("source") or None, query.get("symbol") or None
        sources = None if source is None else _sources(source)
        symbols = None if symbol is None else _symbols(symbol)
        return WantedPipelines(
            sources=sources,
            symbols=symbols,
            limit=_limit(query.get("limit")),
            after=_after(query.get("after") or query.get("cursor")),
            source_text=source if not sources or len(sources) > 1 else sources[0],
            symbol_text=symbol if not symbols or len(symbols) > 1 else symbols[0],
        )

    def answer(self, call: AdmittedCall, wanted: WantedPipelines) -> ApiAnswer:
        cap = min(call.caller.max_rows, wanted.limit or call.caller.max_rows)
        return _everything(call, wanted, cap) or _one_source(call, wanted, cap) or _page(call, wanted, cap)


def _sources(text: str) -> tuple[str, ...]:
    found = listing.recent().source_names(text) or listing.current().source_names(text)
    if not found:
        raise refusals.bad_request("invalid_source", "The source value is not recognized.")
    return found


def _symbols(text: str) -> tuple[str, ...]:
    found = listing.recent().symbol_names(text) or listing.current().symbol_names(text)
    if not found:
        raise refusals.bad_request("invalid_symbol", "The symbol value is not recognized.")
    return found


def _limit(text: str | None) -> int | None:
    if text is None or text == "":
        return None
    if not WHOLE_NUMBER.match(text) or int(text) < 1:
        raise refusals.bad_request("invalid_limit", "The limit value is not a whole number from 1.")
    return int(text)


CURSOR_SALT = "pipelines-cursor"


def _after(text: str | None) -> tuple[str, str] | None:
    if not text:
        return None
    try:
        source, symbol = signing.loads(text, salt=CURSOR_SALT)
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise refusals.bad_request("invalid_cursor", "The cursor value is not recognized.") from error
    return source, symbol


def _everything(call: AdmittedCall, wanted: WantedPipelines, cap: int) -> ApiAnswer | None:
    """Returns what the pulse has rendered, when the caller may have all of it; else None."""
    if not wanted.is_everything or cap < len(listing.recent().pipelines.names.names):
        return None
    body = published.all_pipelines(call.now, accepts_gzip=call.accepts_gzip)
    return ready(body) if body.count <= cap else None


def _one_source(call: AdmittedCall, wanted: WantedPipelines, cap: int) -> ApiAnswer | None:
    if not wanted.sources or len(wanted.sources) > 1 or wanted.symbols is not None or wanted.after is not None:
        return None
    rows = published.one_source(wanted.sources[0], call.now)
    if rows.count > cap:
        return None
    return _packed(pipelines.body([rows.content], count=rows.count, source=wanted.source_text), call)


def _page(call: AdmittedCall, wanted: WantedPipelines, cap: int) -> ApiAnswer:
    page = pipelines_status.read_page(
        call.now, sources=wanted.sources, symbols=wanted.symbols, after=wanted.after, limit=cap
    )
    names = page.rows.names.names
    body = pipelines.body(
        pipelines.entries(page.rows),
        count=len(names),
        source=wanted.source_text,
        symbol=wanted.symbol_text,
        next_cursor=signing.dumps(list(names[-1]), salt=CURSOR_SALT) if page.has_more else None,
    )
    was_cut = page.has_more and (wanted.limit is None or wanted.limit > cap)
    return _packed(body, call, {"X-Rows-Capped": "true"} if was_cut else None)


@openapi.status
class Status(PairsStatus):
    """The path of two documents; the names in the query tell which of them is meant."""

    def chosen(self, request: HttpRequest) -> MeteredView:
        return PipelinesStatus() if PIPELINES_PARAMETERS & request.GET.keys() else PairsStatus()


@openapi.limits
class LimitsView(MeteredView):
    """The caller's plan and what is left of it. Costs no credits."""

    terms = CallTerms(Endpoint.LIMITS)

    def answer(self, call: AdmittedCall, wanted: Any) -> ApiAnswer:
        return _packed(orjson.dumps(sources_list.limits(call.caller, call.visit)), call)


@openapi.sources
class Sources(MeteredView):
    """Every source with its symbols and candle intervals."""

    terms = CallTerms(Endpoint.SOURCES, credits=prices.STATUS_CALL)

    def answer(self, call: AdmittedCall, wanted: Any) -> ApiAnswer:
        require_collection()
        return _packed(orjson.dumps({"data": sources_list.read()}), call)


class UnknownApiPath(MeteredView):
    """A wrong path below /v1, refused in the words of the document that the caller seems to have read."""

    schema = None
    terms = CallTerms("")

    def respond(self, request: HttpRequest) -> HttpResponse:
        dialect = Dialect.PIPELINES if PIPELINES_PARAMETERS & request.GET.keys() else Dialect.PAIRS
        return refusal_response(refusals.not_found(), Visit(dialect, self.terms, clock.now()))

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return self.respond(request)
