"""The views of the blacklist: exchanges, and single markets as `exchange:SYMBOL`."""

from __future__ import annotations

from datetime import datetime

from drf_spectacular.utils import OpenApiExample, OpenApiRequest, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from exchanges import catalogue, connectivity
from exchanges.models import Exchange
from lib import clock
from operations import commands, permissions
from operations.api.descriptions import (
    CONNECTIVITY_EXAMPLE,
    EXAMPLE_TIME,
    EXCHANGE_PARAMETER,
    PARAMETER_MISSING,
    failure,
    header_parameter,
    operator_answers,
)
from operations.api.operator_views import OperatorViews
from operations.api.requests import (
    EndWithAnswer,
    call_facts,
    known_id_of,
    market_of,
    refused,
    validated,
)
from operations.api.serializers import (
    BlacklistAnswer,
    BlacklistSerializer,
    LiftAnswer,
)

RESTARTED, ATTEMPTED = "Worker restarted", "Worker restart attempted"


class BlacklistOperatorViews(OperatorViews):
    """Puts exchanges and markets on the blacklist, and takes them off."""

    def permission_of(self, action: str | None) -> str:
        is_market = ":" in self.kwargs.get("exchange", "")
        return permissions.CHANGE_MARKET if is_market else super().permission_of(action)

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
