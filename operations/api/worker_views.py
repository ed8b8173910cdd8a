"""The views of one exchange's worker: restart, end a pause, accept a market list."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from lib import clock
from operations import commands
from operations.api.descriptions import (
    COLLECTOR_MISSING,
    EXCHANGE_PARAMETER,
    PARAMETER_MISSING,
    failure,
    operator_answers,
)
from operations.api.operator_views import OperatorViews
from operations.api.requests import (
    EndWithAnswer,
    call_facts,
    exchange_id_of,
    refused,
)


class WorkerOperatorViews(OperatorViews):
    """Restarts workers, ends their pauses and accepts market lists."""

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
