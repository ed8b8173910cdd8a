"""Routes of the metrics webhook API: parse, one call, render. Errors have the documented shapes; no order is placed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import DisallowedHost, SuspiciousOperation
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from exchanges.models import Exchange, Market
from lib import clock
from metrics import analysis, collection, dialect, exposition, grids, history, schemas, sources
from metrics.collection import TimeBudget
from metrics.fields import Fields, InvalidFields
from metrics.models import PERIOD_SECONDS, Grid, Series, Verdict
from metrics.requests import (
    DEFAULT_SOURCE,
    body_of,
    has_token,
    is_from_others_page,
    read_grid,
    read_trigger,
    require_own_host,
    why_refused,
)
from web.middleware import correlation_id

log = structlog.get_logger(__name__)

NO_STORE = {"Cache-Control": "no-store"}
TIMEFRAMES = list(PERIOD_SECONDS)
REFUSALS = {401: schemas.Error, 422: schemas.Detail, 503: schemas.Error}
GRID_STATES = ("active", "disabled", "out_of_range", "stopped")


class Refusal(Exception):
    """An error answer with a status of its own; its message is for the caller."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class DocumentView(APIView):
    """A route of the metrics webhook API: behind METRICS_WEBHOOK_TOKEN, or open on INTERNAL_PORT, and everywhere where
    METRICS_WEBHOOK_OPEN says so."""

    authentication_classes = ()
    permission_classes = [AllowAny]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        reason = why_refused(request)
        if reason:
            raise Refusal(401, reason)
        if not has_token(request.headers):
            require_own_host(request)
            if is_from_others_page(request):
                raise Refusal(403, "A page of another site may change nothing here.")

    def handle_exception(self, error: Exception) -> Response:
        if isinstance(error, InvalidFields):
            return Response({"detail": error.problems}, status=422, headers=NO_STORE)
        if isinstance(error, exceptions.APIException):  # a method that the route does not have
            error = Refusal(error.status_code, str(error.detail))
        if isinstance(error, DisallowedHost):
            error = Refusal(400, "This host name is not one of ALLOWED_HOSTS.")
        if isinstance(error, SuspiciousOperation):  # more parameters than anybody means
            error = Refusal(400, "The request cannot be read.")
        if isinstance(error, Refusal):
            challenge = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
            body = dialect.refusal(str(error), now=clock.now())
            return Response(body, status=error.status, headers=NO_STORE | challenge)
        return self.handle_failure(error)

    def handle_failure(self, error: Exception) -> Response:
        log.exception("metrics_request_failed", path=self.request.path)
        status = 503 if isinstance(error, DatabaseError | InterfaceError) else 500
        return Response(dialect.refusal(in_words(error), now=clock.now()), status=status, headers=NO_STORE)


class Collect(DocumentView):
    """Collects one snapshot now: balances, market data, regimes, grids."""

    trigger_source = DEFAULT_SOURCE

    @extend_schema(
        operation_id="metrics_collect",
        tags=["metrics"],
        auth=[],
        request=schemas.CollectRequest,
        responses={200: schemas.CollectResponse, 422: schemas.Detail, 500: schemas.CollectResponse, 401: schemas.Error},
    )
    def post(self, request: Request) -> Response:
        trigger = read_trigger(Fields(body_of(request), ("body",)))
        self.trigger_source = trigger.source
        outcome = collection.collect(trigger, now=clock.now(), correlation_id=correlation_id())
        return Response(dialect.outcome(outcome), headers=NO_STORE)

    def handle_failure(self, error: Exception) -> Response:
        if not isinstance(error, collection.CollectionBusy):
            log.exception("metrics_collection_failed")
        body = dialect.failed(self.trigger_source, in_words(error), now=clock.now())
        return Response(body, status=500, headers=NO_STORE)


class CollectionHistory(DocumentView):
    """Lists what was collected, newest first."""

    @extend_schema(
        operation_id="metrics_history",
        tags=["metrics"],
        auth=[],
        parameters=[
            OpenApiParameter("from", OpenApiTypes.DATETIME, description="Inclusive."),
            OpenApiParameter("to", OpenApiTypes.DATETIME, description="Exclusive."),
            OpenApiParameter("source", str),
            OpenApiParameter("status", str, enum=["success", "error"]),
            OpenApiParameter("market", str, description="Collections that stored this market; snapshots show it only."),
            OpenApiParameter("limit", int, default=100),
            OpenApiParameter("cursor", str),
            OpenApiParameter("include", str, enum=["snapshot"]),
        ],
        responses={200: schemas.HistoryResponse, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        query = history.read_query(Fields(request.query_params.dict(), ("query",)))
        page = history.read(query, with_balances=has_token(request.headers))
        body = dialect.listed("metrics", page.entries, now=clock.now(), next_cursor=page.next_cursor)
        return Response(body, headers=NO_STORE)


class RegimeCurrent(DocumentView):
    """Returns the newest verdict on each watched market."""

    @extend_schema(
        operation_id="regime_current",
        tags=["metrics"],
        auth=[],
        parameters=[
            OpenApiParameter("market", str),
            OpenApiParameter("exchange", str),
            OpenApiParameter("timeframe", str, enum=TIMEFRAMES, default="1h"),
        ],
        responses={200: schemas.RegimesResponse, 404: schemas.Error, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        fields = Fields(request.query_params.dict(), ("query",))
        market, exchange = fields.text("market"), fields.text("exchange")
        timeframe = fields.choice("timeframe", TIMEFRAMES, "1h") or "1h"
        fields.check()
        now = clock.now()
        chosen = find_series(market=market, exchange=exchange, timeframe=timeframe)
        newest = {row.series_id: row for row in newest_of(chosen)}
        entries = [
            dialect.regime_entry(newest[each.pk], now=now)
            if each.pk in newest
            else dialect.regime_failure(each, "not analyzed yet")
            for each in chosen
        ]
        return Response(dialect.listed("regimes", entries, now=now), headers=NO_STORE)


class RegimeAnalyze(DocumentView):
    """Judges one market or all watched ones now from stored candles; missing ones are asked for."""

    @extend_schema(
        operation_id="regime_analyze",
        tags=["metrics"],
        auth=[],
        request=schemas.AnalyzeRequest,
        responses={200: schemas.AnalyzeResponse, 404: schemas.Error, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        fields = Fields(body_of(request), ("body",))
        market, exchange = fields.text("market"), fields.text("exchange")
        timeframe = fields.choice("timeframe", TIMEFRAMES, "1h") or "1h"
        lookback = fields.integer("lookback", low=60, high=1000, default=analysis.DEFAULT_LOOKBACK)
        source, analysis_id = fields.text("source") or "manual", fields.text("analysis_id")
        fields.check()
        now = clock.now()
        chosen = series_to_analyze(market=market, exchange=exchange, timeframe=timeframe)
        entries = analyze(chosen, now=now, lookback=lookback, source=source)
        name = analysis_id or f"analysis_{now:%Y%m%d_%H%M%S}"
        return Response(dialect.listed("regimes", entries, now=now, analysis_id=name), headers=NO_STORE)


class GridsStatus(DocumentView):
    """Says how every grid stands against the newest stored price."""

    @extend_schema(
        operation_id="grids_status",
        tags=["metrics"],
        auth=[],
        parameters=[
            OpenApiParameter("market", str),
            OpenApiParameter("exchange", str),
            OpenApiParameter("state", str, enum=list(GRID_STATES)),
            OpenApiParameter("grid_id", str),
        ],
        responses={200: schemas.GridsResponse, 404: schemas.Error, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        fields = Fields(request.query_params.dict(), ("query",))
        exchange = fields.text("exchange")
        names = {"market__symbol": fields.text("market"), "market__exchange": exchange and exchange.lower()}
        names["pk"] = fields.text("grid_id")
        state = fields.choice("state", GRID_STATES, None)
        fields.check()
        now = clock.now()
        wanted = {name: value for name, value in names.items() if value}
        chosen = Grid.objects.filter(**wanted).select_related("market").order_by("pk")
        standings = grids.standings(chosen, now=now)
        if names["pk"] and not standings:
            raise Refusal(404, f"grid {names['pk']} is not known")
        matching = [each for each in standings if state in (None, each.state)]
        return Response(dialect.listed("grids", dialect.grid_entries(matching), now=now), headers=NO_STORE)


class GridsCreate(DocumentView):
    """Makes a grid that is followed on paper."""

    @extend_schema(
        operation_id="grids_create",
        tags=["metrics"],
        auth=[],
        request=schemas.GridRequest,
        responses={201: schemas.GridResponse, 404: schemas.Error, 409: schemas.Error, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        fields = Fields(body_of(request), ("body",))
        market, exchange = fields.text("market", required=True), fields.text("exchange", required=True)
        wanted = read_grid(fields)
        fields.check()
        now = clock.now()
        chosen = find_market(str(market), str(exchange))
        try:
            grid = grids.create(chosen, wanted, now=now)
        except grids.GridConflict as error:
            raise Refusal(409, str(error)) from error
        standing = grids.standings([grid], now=now)[0]
        body = {
            "status": "success",
            "grid_id": grid.pk,
            "timestamp": clock.milliseconds_z(now),
            "grid": dialect.grid_entry(standing),
            "warnings": grids.warnings_of(standing),
        }
        return Response(body, status=201, headers=NO_STORE)


class Exposition(DocumentView):
    """Returns everything that Prometheus may want to know, in its text format."""

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        body, content_type = exposition.render(request.headers.get("Accept", ""))
        return HttpResponse(body, content_type=content_type, headers=NO_STORE)


class UnknownMetricsPath(DocumentView):
    """The refusal of a wrong path below this document's roots, in its words. Its route gives it no method."""

    schema = None

    @property
    def default_response_headers(self) -> dict[str, str]:
        return {}  # no Allow: no method is

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Response:
        raise Refusal(404, f"No route {request.method} {request.path[:200]}")


# --- finding what they name -------------------------------------------------------------------------------------


def find_market(symbol: str, exchange_id: str) -> Market:
    """Returns the market. Raises Refusal 404, which says which of the two is unknown."""
    exchange = Exchange.objects.known().filter(pk=exchange_id.lower()).first()
    if exchange is None:
        raise Refusal(404, f"exchange {exchange_id} is not known")
    market = Market.objects.filter(exchange=exchange, symbol=symbol).select_related("exchange").first()
    if market is None:
        raise Refusal(404, f"market {symbol} is not known on {exchange.id}")
    return market


def find_series(*, market: str | None, exchange: str | None, timeframe: str) -> list[Series]:
    """Returns the watched series or a named market's, none if never judged. Raises Refusal 404 if nobody lists it."""
    names = {"market__symbol": market, "market__exchange": exchange.lower() if exchange else None}
    wanted: dict[str, Any] = {name: value for name, value in names.items() if value}
    if not market:
        wanted["enabled"] = True
    chosen = Series.objects.filter(timeframe=timeframe, **wanted)
    found = list(chosen.select_related("market__exchange").order_by("market__exchange", "market__symbol"))
    if not found and market and not Market.objects.filter(**_market_names(wanted)).exists():
        raise Refusal(404, f"market {market} is not known" + (f" on {exchange}" if exchange else ""))
    if not found and exchange and not Exchange.objects.known().filter(pk=exchange.lower()).exists():
        raise Refusal(404, f"exchange {exchange} is not known")
    return found


def series_to_analyze(*, market: str | None, exchange: str | None, timeframe: str) -> list[Series]:
    """Returns the watched series, or the named market's, watched from now on only if they were before."""
    analysis.watch_configured()
    found = find_series(market=market, exchange=exchange, timeframe=timeframe)
    if found or not market:
        return found
    names = {"symbol": market} | ({"exchange": exchange.lower()} if exchange else {})
    markets = Market.objects.filter(**names).select_related("exchange").order_by("exchange_id")[:MARKETS_AT_ONCE]
    # Switched off: a verdict that was asked for once makes nobody collect its candles for ever.
    made = [
        Series.objects.get_or_create(market=each, timeframe=timeframe, defaults={"enabled": False}) for each in markets
    ]
    return [series for series, _ in made]


MARKETS_AT_ONCE = 20


def newest_of(chosen: Sequence[Series]) -> list[Verdict]:
    rows = Verdict.objects.filter(series__in=chosen).order_by("series_id", "-analyzed_at", "-id")
    return list(rows.distinct("series_id").select_related("series__market"))


def analyze(chosen: Sequence[Series], *, now: datetime, lookback: int, source: str) -> list[dialect.Body]:
    budget = TimeBudget(settings.METRICS_BUDGET_SECONDS, collection.EXCHANGE_SECONDS)
    errors = sources.fetch_candles(chosen, now=now, budget=budget, lookback=lookback)
    entries = []
    for series in chosen:
        verdict = analysis.analyze(series, now=now, source=source, lookback=lookback)
        error = errors.get(series.market.exchange_id, "")
        entries.append(dialect.regime_entry(verdict, now=now, error=error))
    return entries


def in_words(error: Exception) -> str:
    """Describes an error for the caller: a database's message may quote its statement, which stays private."""
    if isinstance(error, DatabaseError | InterfaceError):
        cause = type(error.__cause__ or error).__name__
        return f"The database cannot store or answer now ({cause})"
    if isinstance(error, collection.CollectionBusy):
        return str(error)
    return f"Unexpected failure ({type(error).__name__}); the log has it under correlation id {correlation_id()}"


def _market_names(wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix("market__"): value for name, value in wanted.items() if name != "enabled"}
