"""Turns requests into calls: who asks, for which exchange, and what a refusal says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rest_framework import exceptions, serializers
from rest_framework.request import Request

from access.addresses import caller_address
from collectors.history import currencies
from exchanges import catalogue, connectivity, secrets
from exchanges.models import ID_FAULT, Exchange, is_exchange_id
from lib import clock
from operations import commands
from operations.api.descriptions import failure
from web.redaction import hide_login

MARKET = re.compile(r"([a-z0-9_-]{1,64}):(.{1,100})\Z", re.IGNORECASE)


class EndWithAnswer(Exception):
    """An answer that ends a view when it is raised."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.body = body


def call_facts(request: Request, now: datetime) -> dict[str, Any]:
    """Returns what every verb wants to know: who, when and from where."""
    address = caller_address(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", ""))
    return {"by": request.user.get_username(), "now": now, "origin": str(address or "")}


def exchange_id_of(text: str, title: str, now: datetime) -> str:
    """Returns the id in lower case. Raises EndWithAnswer for what can be no id."""
    exchange_id = text.lower()
    if not is_exchange_id(exchange_id):
        raise EndWithAnswer(400, failure(title, ID_FAULT, now=clock.seconds_z(now)))
    return exchange_id


def known_id_of(text: str, title: str, now: datetime) -> str:
    exchange_id = exchange_id_of(text, title, now)
    is_here = Exchange.objects.filter(pk=exchange_id).exists()
    try:
        if not is_here:
            commands.require_known(exchange_id)
    except commands.UnknownExchange as refusal:
        raise EndWithAnswer(400, refused(title, refusal, now)) from refusal
    return exchange_id


def market_of(text: str, title: str, now: datetime) -> tuple[str, str]:
    found = MARKET.match(text)
    if found is None:
        raise EndWithAnswer(400, failure(title, "A market is exchange:SYMBOL.", now=clock.seconds_z(now)))
    return found[1].lower(), found[2]


def validated(kind: type[serializers.Serializer[Any]], request: Request, title: str, now: datetime) -> dict[str, Any]:
    """Returns the request's body, which is always optional. Raises EndWithAnswer."""
    sent = {} if request.data is None else request.data
    if not isinstance(sent, Mapping):
        raise EndWithAnswer(400, failure(title, "The body is no JSON object.", now=clock.seconds_z(now)))
    body = kind(data=sent)
    if not body.is_valid():
        fields = ", ".join(map(str, body.errors))
        more = {"details": body.errors}
        raise EndWithAnswer(400, failure(title, f"Invalid: {fields}.", now=clock.seconds_z(now), **more))
    return dict(body.validated_data)


def refused(title: str, refusal: commands.CommandRefused, now: datetime) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if isinstance(refusal, commands.UnknownExchange):
        more = {"availableExchanges": catalogue.available_ids()}
    if isinstance(refusal, commands.InvalidSettings):
        more = {"details": refusal.faults}
    if isinstance(refusal, commands.Unsuitable):
        more = {"connectivity": refusal.report.words()}
    return failure(title, str(refusal), now=clock.seconds_z(now), **more)


def settings_of(exchange_id: str) -> dict[str, Any]:
    exchange = Exchange.objects.known().filter(pk=exchange_id).first()
    if exchange is None:
        raise exceptions.NotFound(f"there is no exchange {exchange_id}")
    return {
        "exchange": exchange.id,
        "name": exchange.name,
        "poll_interval_seconds": exchange.poll_interval_seconds,
        "transport": exchange.transport,
        "priority": exchange.priority,
        "budget_units": exchange.budget_units,
        "budget_seconds": exchange.budget_seconds,
        "market_filter": exchange.market_filter,
        "not_compared": currencies.not_compared(exchange.id),
        "depth": exchange.depth,
        "base_url": exchange.base_url,
        "proxy": hide_login(exchange.proxy),
        "ca_file": exchange.ca_file,
        "credentials_set": secrets.names_in(exchange.credentials),
    }


def checks_of(exchange_id: str) -> dict[str, Any]:
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
