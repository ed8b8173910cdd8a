"""The pairs API over HTTP, and what both APIs share: the path of two documents, limits and sources."""

from __future__ import annotations

from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from access import prices, refusals
from access.gate import CallTerms, Visit
from access.models import Endpoint
from access.refusals import Dialect
from collectors.status import openapi, published
from collectors.status import sources as sources_list
from collectors.status.metered import AdmittedCall, ApiAnswer, MeteredView, packed, ready, refusal_response
from collectors.status.pipelines_view import PIPELINES_PARAMETERS, PipelinesStatus
from collectors.status.workers import require_collection
from lib import clock


@openapi.pairs
class PairsStatus(MeteredView):
    """Collectors and the freshness of every pair."""

    dialect = Dialect.PAIRS
    terms = CallTerms(Endpoint.PAIRS, requests=1)

    def answer(self, call: AdmittedCall, wanted: Any) -> ApiAnswer:
        return ready(published.all_pairs(call.now, accepts_gzip=call.accepts_gzip))


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
        return packed(orjson.dumps(sources_list.limits(call.caller, call.visit)), call)


@openapi.sources
class Sources(MeteredView):
    """Every source with its symbols and candle intervals."""

    terms = CallTerms(Endpoint.SOURCES, credits=prices.STATUS_CALL)

    def answer(self, call: AdmittedCall, wanted: Any) -> ApiAnswer:
        require_collection()
        return packed(orjson.dumps({"data": sources_list.read()}), call)


class UnknownApiPath(MeteredView):
    """A wrong path below /v1, refused in the words of the document that the caller seems to have read."""

    schema = None
    terms = CallTerms("")

    def respond(self, request: HttpRequest) -> HttpResponse:
        dialect = Dialect.PIPELINES if PIPELINES_PARAMETERS & request.GET.keys() else Dialect.PAIRS
        return refusal_response(refusals.not_found(), Visit(dialect, self.terms, clock.now()))

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return self.respond(request)
