"""Document 2: managing exchanges while everything runs. Views translate; `exchanges.management` does the work."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import orjson
from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiRequest,
    OpenApiResponse,
    extend_schema,
    inline_serializer,
)
from rest_framework import exceptions, serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from access.addresses import caller_address
from exchanges import catalogue, connectivity, management, secrets
from exchanges.authentication import AdminKeyAuthentication, AdminKeyRefused, MayManage, StaffSession
from exchanges.market_filter import validate as validate_market_filter
from exchanges.models import ID_FAULT, Exchange, Transport, is_exchange_id
from marketmon.lib import clock
from marketmon.redaction import hide_secrets

EXAMPLE_TIME = "2026-03-03T10:30:47Z"
MARKET = re.compile(r"([a-z0-9_-]{1,64}):(.{1,100})\Z", re.IGNORECASE)
RESTARTED, ATTEMPTED = "Worker restarted", "Worker restart attempted"


# --- what operators send ----------------------------------------------------------------------------------------


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses names that it does not know: a typing error must not look like success."""

    def to_internal_value(self, data: Any) -> Any:
        strangers = sorted(set(map(str, data)) - set(self.fields)) if isinstance(data, Mapping) else []
        if strangers:
            raise serializers.ValidationError({name[:50]: ["There is no such field."] for name in strangers[:10]})
        return super().to_internal_value(data)


class SettingsSerializer(StrictSerializer):
    """How an exchange is collected. What is left out stays as it is."""

    name = serializers.CharField(max_length=100, required=False)
    poll_interval_seconds = serializers.FloatField(
        min_value=0.5, max_value=86_400, required=False, help_text="Not under what the exchange's rate limit allows."
    )
    transport = serializers.ChoiceField(choices=Transport.choices, required=False)
    priority = serializers.IntegerField(min_value=0, max_value=9, required=False)
    market_filter = serializers.JSONField(
        required=False,
        validators=[validate_market_filter],
        help_text='{"quotes": ["USDT"], "symbols": ["BTC/EUR"], "top": 50}; {} collects all.',
    )
    base_url = serializers.CharField(max_length=300, allow_blank=True, required=False)
    proxy = serializers.CharField(max_length=300, allow_blank=True, required=False)
    credentials = serializers.DictField(
        child=serializers.CharField(max_length=secrets.VALUE_CHARACTERS, allow_blank=True),
        required=False,
        write_only=True,
        help_text=f"Some of {', '.join(secrets.NAMES)}. Public data needs none. Stored encrypted and never shown.",
    )


class BlacklistSerializer(StrictSerializer):
    reason = serializers.CharField(max_length=500, allow_blank=True, required=False)
    expires_at = serializers.DateTimeField(allow_null=True, required=False, help_text="Lifts itself then.")

    def validate_expires_at(self, moment: datetime | None) -> datetime | None:
        if moment is not None and moment <= clock.now():
            raise serializers.ValidationError("This moment has passed.")
        return moment


# --- how it is described ----------------------------------------------------------------------------------------

CONNECTIVITY_EXAMPLE = {"health": "ok", "capabilities": "ok", "rate_limit": "ok", "worker": "started"}
UNAUTHORIZED = {
    "error": "Unauthorized",
    "message": "Valid admin API key required for this endpoint",
    "code": "ADMIN_AUTH_FAILED",
}
DISABLED = {
    "error": "Service Unavailable",
    "message": "Admin endpoints are disabled (ADMIN_API_KEY not set)",
    "timestamp": EXAMPLE_TIME,
}
PARAMETER_MISSING = {"error": "Exchange parameter is required"}
COLLECTOR_MISSING = {"error": "Collector service not available"}


class ProblemSerializer(serializers.Serializer[Any]):
    error = serializers.CharField()
    message = serializers.CharField(required=False)
    code = serializers.CharField(required=False)
    details = serializers.DictField(required=False)
    availableExchanges = serializers.ListField(child=serializers.CharField(), required=False)  # noqa: N815
    timestamp = serializers.DateTimeField(required=False)


def _failure(title: str, message: str, *, now: str = EXAMPLE_TIME, **more: Any) -> dict[str, Any]:
    return {"error": title, "message": message, "timestamp": now, **more}


def _answers(name: str, success: Mapping[str, Any], **failures: Sequence[Mapping[str, Any]]) -> dict[int, Any]:
    """OpenAPI responses: 200 with its example, and every failure with its own."""
    fields = {key: _field(value) for key, value in success.items()}
    found: dict[int, Any] = {
        200: OpenApiResponse(inline_serializer(f"{name}_answer", fields), examples=[OpenApiExample("Done", success)])
    }
    for status, examples in failures.items():
        found[int(status.removeprefix("s"))] = OpenApiResponse(
            ProblemSerializer,
            examples=[OpenApiExample(str(example.get("message", example["error"])), example) for example in examples],
        )
    return found


def _field(value: Any) -> serializers.Field[Any, Any, Any, Any]:
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return serializers.ListField(child=serializers.DictField())
    if isinstance(value, list):
        return serializers.ListField(child=serializers.CharField())
    if isinstance(value, Mapping):
        return serializers.DictField()
    if isinstance(value, int | float):
        return serializers.FloatField() if isinstance(value, float) else serializers.IntegerField()
    return serializers.DateTimeField() if value == EXAMPLE_TIME else serializers.CharField()


def _operator_answers(name: str, success: Mapping[str, Any], **failures: Sequence[Mapping[str, Any]]) -> dict[int, Any]:
    failures["s503"] = [DISABLED, *failures.get("s503", ())]
    return _answers(name, success, s401=[UNAUTHORIZED], **failures)


EXCHANGE_PARAMETER = OpenApiParameter(
    "exchange", OpenApiTypes.STR, OpenApiParameter.PATH, description="1-64 of a-z, 0-9, _ and -; case does not matter."
)


def _warning_header(name: str, description: str) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.STR, OpenApiParameter.HEADER, description=description, response=[200])


# --- what anybody may read --------------------------------------------------------------------------------------


class CatalogueViews(ViewSet):
    """Which exchanges are collected, and what they can do."""

    authentication_classes = []
    permission_classes = [AllowAny]

    @extend_schema(
        operation_id="exchanges_config",
        tags=["exchanges"],
        auth=[],
        responses=_answers(
            "exchanges_config",
            {
                "exchanges": [
                    {
                        "id": "binance",
                        "name": "Binance",
                        "has": {"fetchTickers": True, "fetchOrderBook": True, "fetchOHLCV": True},
                        "timeframes": ["1m", "1h"],
                        "active_pairs": ["BTC/USDT"],
                        "status": "running",
                        "blacklisted": False,
                    }
                ],
                "config": {"blacklistedExchanges": ["coinbase"]},
                "activeExchanges": ["binance"],
                "availableExchanges": ["binance", "coinbase", "kraken"],
                "timestamp": EXAMPLE_TIME,
            },
        ),
    )
    def config(self, request: Request) -> Response | HttpResponse:
        """Every exchange that is not blacklisted. Cached for up to an hour, made anew at every change."""
        return _from_cache(request, catalogue.config(clock.now()))

    @extend_schema(
        operation_id="exchanges_supported",
        tags=["exchanges"],
        auth=[],
        responses=_answers("exchanges_supported", {"exchanges": ["binance", "kraken"], "count": 2}),
    )
    def supported(self, request: Request) -> Response | HttpResponse:
        """Ids of the exchanges that are collected, sorted."""
        return _from_cache(request, catalogue.supported())


def _from_cache(request: Request, body: bytes) -> Response | HttpResponse:
    """The cached bytes as they are, except for browsers."""
    if request.accepted_renderer.format == "json":
        return HttpResponse(body, content_type="application/json")
    return Response(orjson.loads(body))


# --- what operators do ------------------------------------------------------------------------------------------


class Answer(Exception):
    """Ends a view with this answer."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.body = body


class OperatorViews(ViewSet):
    """Add, blacklist, restart, configure. Needs the admin key or staff with the permission."""

    authentication_classes = [AdminKeyAuthentication, StaffSession]
    permission_classes = [MayManage]
    failure_title = "Failed to manage exchange"

    permissions: ClassVar[Mapping[str, str]] = {
        "add": "exchanges.add_exchange",
        "read_settings": "exchanges.view_exchange",
        "read_checks": "exchanges.view_exchange",
    }

    def permission_of(self, action: str | None) -> str:
        return self.permissions.get(action or "", "exchanges.change_exchange")

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """A method that the route does not have is 405 for everybody; then comes the key; then all the rest."""
        if self.action is None:
            raise exceptions.MethodNotAllowed(request.method or "")
        super().initial(request, *args, **kwargs)

    def handle_exception(self, error: Exception) -> Response:
        if isinstance(error, Answer):
            return Response(error.body, status=error.status, headers={"Cache-Control": "no-store"})
        if isinstance(error, AdminKeyRefused):
            return Response(UNAUTHORIZED, status=401, headers={"Cache-Control": "no-store"})
        return super().handle_exception(error)

    @extend_schema(exclude=True)
    def missing(self, request: Request) -> Response:
        """A path without its exchange."""
        raise Answer(400, PARAMETER_MISSING)

    @extend_schema(
        operation_id="exchanges_add",
        tags=["exchanges"],
        parameters=[EXCHANGE_PARAMETER],
        request=OpenApiRequest(
            SettingsSerializer,
            examples=[
                OpenApiExample("Nothing but the id", {}),
                OpenApiExample("Fewer markets", {"market_filter": {"quotes": ["USDT"]}}),
            ],
        ),
        responses=_operator_answers(
            "exchanges_add",
            {
                "message": "Exchange kraken added successfully",
                "activeExchanges": ["binance", "kraken"],
                "connectivity": CONNECTIVITY_EXAMPLE,
                "timestamp": EXAMPLE_TIME,
            },
            s400=[
                PARAMETER_MISSING,
                _failure("Failed to add exchange", "Unknown exchange: krakn", availableExchanges=["binance", "kraken"]),
                _failure("Failed to add exchange", "Exchange kraken is blacklisted. Remove from blacklist first."),
                _failure("Failed to add exchange", "Exchange x cannot be collected: it has no fetchOrderBook"),
            ],
            s500=[_failure("Failed to add exchange", "kraken cannot be opened: KeyError: 'urls'")],
        ),
    )
    def add(self, request: Request, exchange: str) -> Response:
        """Adds an exchange and starts its worker, and no other's. Adding an active one again changes nothing."""
        now, title = clock.now(), "Failed to add exchange"
        exchange_id = _exchange_id(exchange, title, now)
        wanted = _validated(SettingsSerializer(data=request.data), title, now)
        try:
            report = management.add(exchange_id, wanted=wanted, **_call(request, now))
        except management.Refused as refusal:
            raise Answer(400, _refused(title, refusal, now)) from refusal
        except connectivity.CannotOpen as fault:
            raise Answer(500, _failure(title, str(fault), now=clock.seconds_z(now))) from fault
        body = {
            "message": f"Exchange {exchange_id} added successfully",
            "activeExchanges": catalogue.active_ids(),
            "connectivity": report.words(),
            "timestamp": clock.seconds_z(now),
        }
        return Response(body)

    @extend_schema(
        operation_id="exchanges_refresh",
        tags=["exchanges"],
        request=None,
        responses=_operator_answers(
            "exchanges_refresh",
            {
                "message": "Exchanges refreshed successfully",
                "activeExchanges": ["binance", "kraken"],
                "failedExchanges": [{"exchange": "kraken", "error": "unreachable: no complete answer"}],
                "connectivity": {"binance": CONNECTIVITY_EXAMPLE},
                "timestamp": EXAMPLE_TIME,
            },
        ),
    )
    def refresh(self, request: Request) -> Response:
        """Reloads markets and capabilities of every exchange that is collected, and restarts their workers."""
        now = clock.now()
        results = management.refresh(**_call(request, now))
        body = {
            "message": "Exchanges refreshed successfully",
            "activeExchanges": catalogue.active_ids(),
            "failedExchanges": [
                {"exchange": result.exchange_id, "error": result.error} for result in results if result.error
            ],
            "connectivity": {result.exchange_id: result.report.words() for result in results},
            "timestamp": clock.seconds_z(now),
        }
        return Response(body)

    @extend_schema(
        operation_id="exchanges_blacklist",
        tags=["exchanges"],
        parameters=[
            EXCHANGE_PARAMETER,
            _warning_header("X-Worker-Restart-Warning", "The running request was not seen to end."),
        ],
        request=OpenApiRequest(
            BlacklistSerializer,
            examples=[OpenApiExample("For a while", {"reason": "maintenance", "expires_at": "2026-03-04T00:00:00Z"})],
        ),
        responses=_operator_answers(
            "exchanges_blacklist",
            {
                "message": "Exchange coinbase blacklisted successfully",
                "blacklistedExchanges": ["coinbase"],
                "timestamp": EXAMPLE_TIME,
            },
            s400=[
                PARAMETER_MISSING,
                _failure("Failed to blacklist exchange", "Unknown exchange: krakn", availableExchanges=["kraken"]),
            ],
        ),
    )
    def blacklist(self, request: Request, exchange: str) -> Response:
        """Stops all requests to an exchange, or (`exchange:SYMBOL`) the collection of one of its markets."""
        now, title = clock.now(), "Failed to blacklist exchange"
        if ":" in exchange:
            return self._blacklist_market(request, exchange, now)
        exchange_id = _known_id(exchange, title, now)
        wanted = _validated(BlacklistSerializer(data=request.data), title, now)
        try:
            stopped = management.blacklist_ahead(exchange_id, **wanted, **_call(request, now))
        except management.Refused as refusal:
            raise Answer(400, _refused(title, refusal, now)) from refusal
        body = {
            "message": f"Exchange {exchange_id} blacklisted successfully",
            "blacklistedExchanges": catalogue.blacklisted_ids(),
            "timestamp": clock.seconds_z(now),
        }
        warning = {} if stopped.was_delivered else {"X-Worker-Restart-Warning": "Failed to restart worker"}
        return Response(body, headers=warning)

    @extend_schema(
        operation_id="exchanges_lift",
        tags=["exchanges"],
        parameters=[
            EXCHANGE_PARAMETER,
            _warning_header("X-Worker-Restart-Info", f"`{RESTARTED}` or `{ATTEMPTED}`."),
        ],
        request=None,
        responses=_operator_answers(
            "exchanges_lift",
            {
                "message": "Exchange coinbase removed from blacklist",
                "blacklistedExchanges": ["kraken"],
                "activeExchanges": ["binance", "coinbase"],
                "connectivity": CONNECTIVITY_EXAMPLE,
                "timestamp": EXAMPLE_TIME,
            },
            s400=[
                PARAMETER_MISSING,
                _failure(
                    "Failed to remove exchange from blacklist",
                    "Unknown exchange: krakn",
                    availableExchanges=["kraken"],
                ),
            ],
        ),
    )
    def lift(self, request: Request, exchange: str) -> Response:
        """Takes an exchange, or one market, off the blacklist; it is collected again at once."""
        now, title = clock.now(), "Failed to remove exchange from blacklist"
        if ":" in exchange:
            return self._lift_market(request, exchange, now)
        exchange_id = _known_id(exchange, title, now)
        words: dict[str, str] = {}
        if Exchange.objects.known().filter(pk=exchange_id).exists():
            try:
                management.lift(exchange_id, **_call(request, now))
                words = management.check(exchange_id, occasion="lift", now=now).words()
            except management.NotFound:
                words = {}  # removed a moment ago
        body = {
            "message": f"Exchange {exchange_id} removed from blacklist",
            "blacklistedExchanges": catalogue.blacklisted_ids(),
            "activeExchanges": catalogue.active_ids(),
            "connectivity": words,
            "timestamp": clock.seconds_z(now),
        }
        done = RESTARTED if words.get("worker") == connectivity.STARTED else ATTEMPTED
        return Response(body, headers={"X-Worker-Restart-Info": done})

    @extend_schema(
        operation_id="exchanges_worker_restart",
        tags=["exchanges"],
        parameters=[EXCHANGE_PARAMETER],
        request=None,
        responses=_operator_answers(
            "exchanges_worker_restart",
            {"message": "Worker restarted successfully", "exchange": "binance"},
            s400=[PARAMETER_MISSING],
            s500=[
                _failure("Failed to restart worker", "worker for exchange foo not found"),
                _failure(
                    "Failed to restart worker",
                    "worker for exchange kraken is blacklisted; lift the blacklist first",
                ),
            ],
            s503=[COLLECTOR_MISSING],
        ),
    )
    def restart(self, request: Request, exchange: str) -> Response:
        """Forgets errors and pauses, and replaces the running loop; never adds a second."""
        now, title = clock.now(), "Failed to restart worker"
        exchange_id = _exchange_id(exchange, title, now)
        if not settings.COLLECTION_ENABLED:
            raise Answer(503, COLLECTOR_MISSING)
        try:
            management.restart(exchange_id, **_call(request, now))
        except management.Refused as refusal:
            raise Answer(500, _failure(title, str(refusal), now=clock.seconds_z(now))) from refusal
        return Response({"message": "Worker restarted successfully", "exchange": exchange_id})

    @extend_schema(
        operation_id="exchanges_settings_read",
        tags=["exchanges"],
        parameters=[EXCHANGE_PARAMETER],
        responses=_operator_answers(
            "exchanges_settings",
            {
                "exchange": "kraken",
                "name": "Kraken",
                "poll_interval_seconds": 10.0,
                "transport": "poll",
                "priority": 5,
                "market_filter": {"quotes": ["USD"]},
                "base_url": "",
                "proxy": "",
                "credentials_set": ["apiKey"],
            },
            s404=[_failure("Not Found", "there is no exchange kraken")],
        ),
    )
    def read_settings(self, request: Request, exchange: str) -> Response:
        """How an exchange is collected. Of credentials only the names are shown."""
        return Response(_settings_of(exchange))

    @extend_schema(
        operation_id="exchanges_settings_write",
        tags=["exchanges"],
        parameters=[EXCHANGE_PARAMETER],
        request=OpenApiRequest(SettingsSerializer, examples=[OpenApiExample("Slower", {"poll_interval_seconds": 30})]),
        responses=_operator_answers(
            "exchanges_settings_written",
            {"exchange": "kraken", "changed": ["poll_interval_seconds"], "timestamp": EXAMPLE_TIME},
            s400=[
                _failure(
                    "Failed to configure exchange",
                    "poll_interval_seconds: The rate limit of kraken allows 1 s and more.",
                )
            ],
            s404=[_failure("Not Found", "there is no exchange kraken")],
        ),
    )
    def write_settings(self, request: Request, exchange: str) -> Response:
        """Changes what is named; the running loop is replaced only where it must be."""
        now, title = clock.now(), "Failed to configure exchange"
        _settings_of(exchange)
        wanted = _validated(SettingsSerializer(data=request.data), title, now)
        try:
            changed = management.configure(exchange, wanted, **_call(request, now))
        except management.Refused as refusal:
            raise Answer(400, _refused(title, refusal, now)) from refusal
        return Response({"exchange": exchange, "changed": changed, "timestamp": clock.seconds_z(now)})

    CHECKS_EXAMPLE: ClassVar[Mapping[str, Any]] = {
        "exchange": "kraken",
        "connectivity": CONNECTIVITY_EXAMPLE,
        "checks": [{"name": "health", "result": "ok", "reason": "", "duration_ms": 48}],
        "checked_at": EXAMPLE_TIME,
    }

    @extend_schema(
        operation_id="exchanges_checks_read",
        tags=["exchanges"],
        parameters=[EXCHANGE_PARAMETER],
        responses=_operator_answers(
            "exchanges_checks", CHECKS_EXAMPLE, s404=[_failure("Not Found", "there is no exchange kraken")]
        ),
    )
    def read_checks(self, request: Request, exchange: str) -> Response:
        """What the newest connectivity checks found, with durations and reasons."""
        _settings_of(exchange)
        return Response(_checks_of(exchange))

    @extend_schema(
        operation_id="exchanges_checks_run",
        tags=["exchanges"],
        parameters=[EXCHANGE_PARAMETER],
        request=None,
        responses=_operator_answers(
            "exchanges_checks_done", CHECKS_EXAMPLE, s404=[_failure("Not Found", "there is no exchange kraken")]
        ),
    )
    def run_checks(self, request: Request, exchange: str) -> Response:
        """Runs the four connectivity checks now."""
        _settings_of(exchange)
        management.check(exchange, occasion="on demand", now=clock.now())
        return Response(_checks_of(exchange))

    def _blacklist_market(self, request: Request, place: str, now: datetime) -> Response:
        title = "Failed to blacklist market"
        exchange_id, symbol = _market(place, title, now)
        wanted = _validated(BlacklistSerializer(data=request.data), title, now)
        try:
            management.blacklist_market(exchange_id, symbol, **wanted, **_call(request, now))
        except management.Refused as refusal:
            raise Answer(400, _refused(title, refusal, now)) from refusal
        return self._market_answer(f"Market {exchange_id}:{symbol} blacklisted successfully", now)

    def _lift_market(self, request: Request, place: str, now: datetime) -> Response:
        title = "Failed to remove market from blacklist"
        exchange_id, symbol = _market(place, title, now)
        try:
            management.lift_market(exchange_id, symbol, **_call(request, now))
        except management.Refused as refusal:
            raise Answer(400, _refused(title, refusal, now)) from refusal
        response = self._market_answer(f"Market {exchange_id}:{symbol} removed from blacklist", now)
        response.headers["X-Worker-Restart-Info"] = RESTARTED
        return response

    def _market_answer(self, message: str, now: datetime) -> Response:
        body = {
            "message": message,
            "blacklistedMarkets": management.blacklisted_markets(),
            "blacklistedExchanges": catalogue.blacklisted_ids(),
            "activeExchanges": catalogue.active_ids(),
            "timestamp": clock.seconds_z(now),
        }
        return Response(body)


# --- from requests to calls -------------------------------------------------------------------------------------


def _call(request: Request, now: datetime) -> dict[str, Any]:
    """Who, when and from where: what every verb wants to know."""
    address = caller_address(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", ""))
    return {"by": request.user.get_username(), "now": now, "origin": str(address or "")}


def _exchange_id(text: str, title: str, now: datetime) -> str:
    """Lower-cased. Raises Answer for what can be no id."""
    exchange_id = text.lower()
    if not is_exchange_id(exchange_id):
        raise Answer(400, _failure(title, ID_FAULT, now=clock.seconds_z(now)))
    return exchange_id


def _known_id(text: str, title: str, now: datetime) -> str:
    exchange_id = _exchange_id(text, title, now)
    is_here = Exchange.objects.filter(pk=exchange_id).exists()
    try:
        if not is_here:
            management.require_known(exchange_id)
    except management.Unknown as refusal:
        raise Answer(400, _refused(title, refusal, now)) from refusal
    return exchange_id


def _market(text: str, title: str, now: datetime) -> tuple[str, str]:
    found = MARKET.match(text)
    if found is None:
        raise Answer(400, _failure(title, "A market is exchange:SYMBOL.", now=clock.seconds_z(now)))
    return found[1].lower(), found[2]


def _validated(body: serializers.BaseSerializer[Any], title: str, now: datetime) -> dict[str, Any]:
    if not body.is_valid():
        fields = ", ".join(map(str, body.errors))
        more = {"details": body.errors}
        raise Answer(400, _failure(title, f"Invalid: {fields}.", now=clock.seconds_z(now), **more))
    return dict(body.validated_data)


def _refused(title: str, refusal: management.Refused, now: datetime) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if isinstance(refusal, management.Unknown):
        more = {"availableExchanges": catalogue.available_ids()}
    if isinstance(refusal, management.Invalid):
        more = {"details": refusal.faults}
    if isinstance(refusal, management.Unsuitable):
        more = {"connectivity": refusal.report.words()}
    return _failure(title, str(refusal), now=clock.seconds_z(now), **more)


def _settings_of(exchange_id: str) -> dict[str, Any]:
    exchange = Exchange.objects.known().filter(pk=exchange_id).first()
    if exchange is None:
        raise exceptions.NotFound(f"there is no exchange {exchange_id}")
    return {
        "exchange": exchange.id,
        "name": exchange.name,
        "poll_interval_seconds": exchange.poll_interval_seconds,
        "transport": exchange.transport,
        "priority": exchange.priority,
        "market_filter": exchange.market_filter,
        "base_url": exchange.base_url,
        "proxy": hide_secrets(exchange.proxy),
        "credentials_set": secrets.names_in(exchange.credentials),
    }


def _checks_of(exchange_id: str) -> dict[str, Any]:
    rows = connectivity.latest(exchange_id)
    return {
        "exchange": exchange_id,
        "connectivity": {row.name: row.result for row in rows},
        "checks": [
            {"name": row.name, "result": row.result, "reason": row.reason, "duration_ms": row.duration_ms}
            for row in rows
        ],
        "checked_at": clock.seconds_z(rows[0].checked_at) if rows else None,
    }
