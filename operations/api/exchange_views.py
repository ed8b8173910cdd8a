"""The views that add, refresh, configure and check exchanges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, OpenApiRequest, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from exchanges import catalogue, connectivity
from lib import clock
from operations import commands, permissions
from operations.api.descriptions import (
    CONNECTIVITY_EXAMPLE,
    EXAMPLE_TIME,
    EXCHANGE_PARAMETER,
    PARAMETER_MISSING,
    failure,
    operator_answers,
)
from operations.api.operator_views import OperatorViews
from operations.api.requests import (
    EndWithAnswer,
    call_facts,
    checks_of,
    exchange_id_of,
    refused,
    settings_of,
    validated,
)
from operations.api.serializers import (
    ChecksAnswer,
    SettingsAnswer,
    SettingsSerializer,
)


class ExchangeOperatorViews(OperatorViews):
    """Adds, refreshes, configures and checks exchanges."""

    permissions: ClassVar[Mapping[str, str]] = {
        "add": permissions.ADD_EXCHANGE,
        "read_settings": permissions.SEE_EXCHANGE,
        "read_checks": permissions.SEE_EXCHANGE,
    }

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
