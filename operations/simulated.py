"""Stops what is simulated while there is no sandbox, and brings it back with it: a planned stop is no gap."""

from __future__ import annotations

from datetime import datetime

from exchanges.models import SANDBOX_PLACEHOLDER, AuditEntry, Exchange
from operations import exchange_commands

BY = "sandbox"
REASON = "the sandbox is off"


def follow(*, is_on: bool, now: datetime) -> list[str]:
    """Disables simulated exchanges without a sandbox, enables with it those that it has disabled; returns which."""
    simulated = Exchange.objects.known().filter(base_url__contains=SANDBOX_PLACEHOLDER, enabled=not is_on)
    names = list(simulated.order_by("pk").values_list("pk", flat=True))
    if not is_on:
        for exchange_id in names:
            exchange_commands.disable(exchange_id, by=BY, now=now, reason=REASON)
        return names
    ours = [exchange_id for exchange_id in names if _was_disabled_by_us(exchange_id)]
    for exchange_id in ours:
        exchange_commands.enable(exchange_id, by=BY, now=now, reason="the sandbox is on")
    return ours


def _was_disabled_by_us(exchange_id: str) -> bool:
    """Says whether nobody has disabled or enabled the exchange after us."""
    entries = AuditEntry.objects.filter(exchange=exchange_id, verb__in=("enable", "disable"))
    newest = entries.order_by("-happened_at", "-id").first()
    return newest is not None and (newest.who, newest.verb) == (BY, "disable")
