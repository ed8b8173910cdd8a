"""The views of what operators do: add, blacklist, restart, configure."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, OpenApiRequest, extend_schema
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from access.admin_key import AdminKeyAuthentication, MayManage, StaffSession
from exchanges import catalogue, connectivity
from exchanges.models import Exchange
from lib import clock
from operations import commands
from operations.api.descriptions import (
    COLLECTOR_MISSING,
    CONNECTIVITY_EXAMPLE,
    EXAMPLE_TIME,
    EXCHANGE_PARAMETER,
    PARAMETER_MISSING,
    failure,
    header_parameter,
    operator_answers,
)
from operations.api.requests import (
    EndWithAnswer,
    call_facts,
    checks_of,
    exchange_id_of,
    known_id_of,
    market_of,
    refused,
    settings_of,
    validated,
)
from operations.api.serializers import (
    BlacklistAnswer,
    BlacklistSerializer,
    ChecksAnswer,
    LiftAnswer,
    SettingsAnswer,
    SettingsSerializer,
)

RESTARTED, ATTEMPTED = "Worker restarted", "Worker restart attempted"


class OperatorViews(ViewSet):
    """Adds, blacklists, restarts and configures exchanges. Needs the admin key or staff with the permission."""

    authentication_classes = [AdminKeyAuthentication, StaffSession]
    permission_classes = [MayManage]

    permissions: ClassVar[Mapping[str, str]] = {
        "add": "exchanges.add_exchange",
        "read_settings": "exchanges.view_exchange",
        "read_checks": "exchanges.view_exchange",
    }

    def permission_of(self, action: str | None) -> str:
        return self.permissions.get(action or "", "exchanges.change_exchange")

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Answers 405 to everybody where the route does not have the method; then comes the key; then all the rest."""
        if self.action is None:
            raise self._no_such_method(request)
        super().initial(request, *args, **kwargs)

    def _no_such_method(self, request: Request) -> exceptions.MethodNotAllowed:
        """Returns a 405 whose page in a browser has forms for the other methods, for those who may use them."""
        self.format_kwarg = None
        with suppress(exceptions.APIException):
            self.perform_authentication(request)
        return exceptions.MethodNotAllowed(request.method or "")

    def handle_exception(self, error: Exception) -> Response:
        if isinstance(error, EndWithAnswer):
            return Response(error.body, status=error.status, headers={"Cache-Control": "no-store"})
        return super().handle_exception(error)

    @extend_schema(exclude=True)
    def missing(self, request: Request) -> Response:
        """Refuses a path without its exchange."""
        raise EndWithAnswer(400, PARAMETER_MISSING)

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
        responses=operator_answers(
            "exchanges_add",
            {
                "message": "Exchange kraken added successfully",
                "activeExchanges": ["binance", "kraken"],
                "connectivity": CONNECTIVITY_EXAMPLE,
                "timestamp": EXAMPLE_TIME,
            },
            s400=[
                PARAMETER_MISSING,
                failure("Failed to add exchange", "Unknown exchange: krakn", availableExchanges=["binance", "kraken"]),
                failure("Failed to add exchange", "Exchange kraken is blacklisted. Remove from blacklist first."),
                failure("Failed to add exchange", "Exchange x cannot be collected: it has no fetchOrderBook"),
            ],
            s500=[failure("Failed to add exchange", "kraken cannot be opened: KeyError: 'urls'")],
        ),
    )
    def add(self, request: Request, exchange: str) -> Response:
        """Adds an exchange and starts its worker, and no other's. Adding an active one again changes nothing."""
        now, title = clock.now(), "Failed to add exchange"
        exchange_id = exchange_id_of(exchange, title, now)
        wanted = validated(SettingsSerializer, request, title, now)
        try:
            report = commands.add(exchange_id, wanted=wanted, **call_facts(request, now))
        except commands.CommandRefused as refusal:
            raise EndWithAnswer(400, refused(title, refusal, now)) from refusal
        except connectivity.CannotOpen as fault:
            raise EndWithAnswer(500, failure(title, str(fault), now=clock.seconds_z(now))) from fault
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
        responses=operator_answers(
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
        results = commands.refresh(**call_facts(request, now))
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
            header_parameter("X-Worker-Restart-Warning", "The running request was not seen to end."),
        ],
        request=OpenApiRequest(
            BlacklistSerializer,
            examples=[OpenApiExample("For a while", {"reason": "maintenance", "expires_at": "2026-03-04T00:00:00Z"})],
        ),
        responses=operator_answers(
            "exchanges_blacklist",
            {
                "message": "Exchange coinbase blacklisted successfully",
                "blacklistedExchanges": ["coinbase"],
                "timestamp": EXAMPLE_TIME,
            },
            shape=BlacklistAnswer,
            s400=[
                PARAMETER_MISSING,
                failure("Failed to blacklist exchange", "Unknown exchange: krakn", availableExchanges=["kraken"]),
            ],
        ),
    )
    def blacklist(self, request: Request, exchange: str) -> Response:
        """Stops all requests to an exchange, or (`exchange:SYMBOL`) the collection of one of its markets."""
        now, title = clock.now(), "Failed to blacklist exchange"
        if ":" in exchange:
            return self._blacklist_market(request, exchange, now)
        exchange_id = known_id_of(exchange, title, now)
        wanted = validated(BlacklistSerializer, request, title, now)
        try:
            stopped = commands.blacklist_ahead(exchange_id, **wanted, **call_facts(request, now))
        except commands.CommandRefused as refusal:
            raise EndWithAnswer(400, refused(title, refusal, now)) from refusal
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
            header_parameter("X-Worker-Restart-Info", f"`{RESTARTED}` or `{ATTEMPTED}`."),
        ],
        request=None,
        responses=operator_answers(
            "exchanges_lift",
            {
                "message": "Exchange coinbase removed from blacklist",
                "blacklistedExchanges": ["kraken"],
                "activeExchanges": ["binance", "coinbase"],
                "connectivity": CONNECTIVITY_EXAMPLE,
                "timestamp": EXAMPLE_TIME,
            },
            shape=LiftAnswer,
            s400=[
                PARAMETER_MISSING,
                failure(
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
        exchange_id = known_id_of(exchange, title, now)
        words: dict[str, str] = {}
        if Exchange.objects.filter(pk=exchange_id).exists():
            try:
                commands.lift(exchange_id, **call_facts(request, now))
                words = commands.check(exchange_id, occasion="lift", now=now).words()
            except commands.NotFound:
                words = {}  # a removed one is not checked
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
        responses=operator_answers(
            "exchanges_worker_restart",
            {"message": "Worker restarted successfully", "exchange": "binance"},
            s400=[PARAMETER_MISSING],
            s500=[
                failure("Failed to restart worker", "worker for exchange foo not found"),
                failure(
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
        exchange_id = exchange_id_of(exchange, title, now)
        if not settings.COLLECTION_ENABLED:
            raise EndWithAnswer(503, COLLECTOR_MISSING)
        try:
            commands.restart(exchange_id, **call_facts(request, now))
        except commands.CommandRefused as refusal:
            raise EndWithAnswer(500, failure(title, str(refusal), now=clock.seconds_z(now))) from refusal
        return Response({"message": "Worker restarted successfully", "exchange": exchange_id})

    @extend_schema(
        operation_id="exchanges_ask_again",
        tags=["exchanges"],
        parameters=[EXCHANGE_PARAMETER],
        request=None,
        responses=operator_answers(
            "exchanges_ask_again",
            {"message": "The pause of binance is over", "exchange": "binance", "wasPaused": True},
            s400=[
                failure("Failed to ask again", "worker for exchange kraken is blacklisted; lift the blacklist first")
            ],
            s503=[COLLECTOR_MISSING],
        ),
    )
    def ask_again(self, request: Request, exchange: str) -> Response:
        """Ends the pause that the exchange asked for, or that failures have made, and polls at once."""
        now, title = clock.now(), "Failed to ask again"
        exchange_id = self._collected_id(exchange, title, now)
        try:
            was_paused = commands.ask_again(exchange_id, **call_facts(request, now))
        except commands.CommandRefused as refusal:
            raise EndWithAnswer(400, refused(title, refusal, now)) from refusal
        said = f"The pause of {exchange_id} is over" if was_paused else f"{exchange_id} was not paused"
        return Response({"message": said, "exchange": exchange_id, "wasPaused": was_paused})

    @extend_schema(
        operation_id="exchanges_accept_list",
        tags=["exchanges"],
        parameters=[EXCHANGE_PARAMETER],
        request=None,
        responses=operator_answers(
            "exchanges_accept_list",
            {"message": "The market list of binance is accepted", "exchange": "binance", "activeMarkets": 412},
            s400=[
                failure("Failed to accept the market list", "binance may not be called now; `ask-again` ends a pause")
            ],
            s503=[COLLECTOR_MISSING],
        ),
    )
    def accept_list(self, request: Request, exchange: str) -> Response:
        """Loads the market list and believes it, however short it is."""
        now, title = clock.now(), "Failed to accept the market list"
        exchange_id = self._collected_id(exchange, title, now)
        try:
            count = commands.accept_list(exchange_id, **call_facts(request, now))
        except commands.CommandRefused as refusal:
            raise EndWithAnswer(400, refused(title, refusal, now)) from refusal
        said = f"The market list of {exchange_id} is accepted"
        return Response({"message": said, "exchange": exchange_id, "activeMarkets": count})

    @staticmethod
    def _collected_id(exchange: str, title: str, now: datetime) -> str:
        if not settings.COLLECTION_ENABLED:
            raise EndWithAnswer(503, COLLECTOR_MISSING)
        return exchange_id_of(exchange, title, now)

    @extend_schema(
        operation_id="exchanges_settings_read",
        tags=["exchanges"],
        parameters=[EXCHANGE_PARAMETER],
        responses=operator_answers(
            "exchanges_settings",
            {
                "exchange": "kraken",
                "name": "Kraken",
                "poll_interval_seconds": 10.0,
                "transport": "poll",
                "priority": 5,
                "budget_units": None,
                "budget_seconds": 1.0,
                "market_filter": {"quotes": ["USD"]},
                "depth": {},
                "base_url": "",
                "proxy": "",
                "credentials_set": ["apiKey"],
            },
            shape=SettingsAnswer,
            s404=[failure("Not Found", "there is no exchange kraken")],
        ),
    )
    def read_settings(self, request: Request, exchange: str) -> Response:
        """Returns how an exchange is collected. Of credentials only the names are shown."""
        return Response(settings_of(exchange.lower()))

    @extend_schema(
        operation_id="exchanges_settings_write",
        tags=["exchanges"],
        parameters=[EXCHANGE_PARAMETER],
        request=OpenApiRequest(SettingsSerializer, examples=[OpenApiExample("Slower", {"poll_interval_seconds": 30})]),
        responses=operator_answers(
            "exchanges_settings_written",
            {"exchange": "kraken", "changed": ["poll_interval_seconds"], "timestamp": EXAMPLE_TIME},
            s400=[
                failure(
                    "Failed to configure exchange",
                    "poll_interval_seconds: The rate limit of kraken allows 1 s and more.",
                )
            ],
            s404=[failure("Not Found", "there is no exchange kraken")],
        ),
    )
    def write_settings(self, request: Request, exchange: str) -> Response:
        """Changes what is named; the running loop is replaced only where it must be."""
        now, title, exchange = clock.now(), "Failed to configure exchange", exchange.lower()
        settings_of(exchange)
        wanted = validated(SettingsSerializer, request, title, now)
        try:
            changed = commands.configure(exchange, wanted, **call_facts(request, now))
        except commands.CommandRefused as refusal:
            raise EndWithAnswer(400, refused(title, refusal, now)) from refusal
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
        responses=operator_answers(
            "exchanges_checks",
            CHECKS_EXAMPLE,
            shape=ChecksAnswer,
            s404=[failure("Not Found", "there is no exchange kraken")],
        ),
    )
    def read_checks(self, request: Request, exchange: str) -> Response:
        """Returns what the newest connectivity checks found, with durations and reasons."""
        settings_of(exchange.lower())
        return Response(checks_of(exchange.lower()))

    @extend_schema(
        operation_id="exchanges_checks_run",
        tags=["exchanges"],
        parameters=[EXCHANGE_PARAMETER],
        request=None,
        responses=operator_answers(
            "exchanges_checks_done",
            CHECKS_EXAMPLE,
            shape=ChecksAnswer,
            s404=[failure("Not Found", "there is no exchange kraken")],
        ),
    )
    def run_checks(self, request: Request, exchange: str) -> Response:
        """Runs the four connectivity checks, unless they were well within the last half minute."""
        exchange = exchange.lower()
        settings_of(exchange)
        commands.check(exchange, occasion="on demand", now=clock.now())
        return Response(checks_of(exchange))

    def _blacklist_market(self, request: Request, place: str, now: datetime) -> Response:
        title = "Failed to blacklist market"
        exchange_id, symbol = market_of(place, title, now)
        wanted = validated(BlacklistSerializer, request, title, now)
        try:
            commands.blacklist_market(exchange_id, symbol, **wanted, **call_facts(request, now))
        except commands.CommandRefused as refusal:
            raise EndWithAnswer(400, refused(title, refusal, now)) from refusal
        return self._market_answer(f"Market {exchange_id}:{symbol} blacklisted successfully", now)

    def _lift_market(self, request: Request, place: str, now: datetime) -> Response:
        title = "Failed to remove market from blacklist"
        exchange_id, symbol = market_of(place, title, now)
        try:
            commands.lift_market(exchange_id, symbol, **call_facts(request, now))
        except commands.CommandRefused as refusal:
            raise EndWithAnswer(400, refused(title, refusal, now)) from refusal
        response = self._market_answer(f"Market {exchange_id}:{symbol} removed from blacklist", now)
        response.headers["X-Worker-Restart-Info"] = RESTARTED
        return response

    def _market_answer(self, message: str, now: datetime) -> Response:
        body = {
            "message": message,
            "blacklistedMarkets": commands.blacklisted_markets(),
            "blacklistedExchanges": catalogue.blacklisted_ids(),
            "activeExchanges": catalogue.active_ids(),
            "timestamp": clock.seconds_z(now),
        }
        return Response(body)
