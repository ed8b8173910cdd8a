"""Takes a verb back within ten minutes, by carrying out its opposite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from exchanges import destinations
from exchanges.models import AuditEntry, Exchange
from operations import exchange_commands, exchange_settings, market_commands, onboarding
from operations.transitions import CommandRefused, NotFound
from web.redaction import HIDDEN

UNDO_WITHIN = timedelta(minutes=10)

Opposite = Callable[[AuditEntry, dict[str, Any]], Any]


def can_undo(entry: AuditEntry, *, now: datetime) -> bool:
    return not find_obstacle(entry, now=now)


def find_obstacle(entry: AuditEntry, *, now: datetime) -> str:
    """Returns why it cannot be taken back; empty when it can."""
    if entry.verb not in OPPOSITES or not entry.changed:
        return f"{entry.verb} changed nothing that could be undone"
    if entry.undone_at is not None:
        return "it was undone already"
    if find_lost(entry):
        return f"{find_lost(entry)}, so nothing can bring them back"
    if now - entry.happened_at > UNDO_WITHIN:
        return "it is more than ten minutes old"
    if _would_lead_credentials_elsewhere(entry):
        return "credentials are stored for where it leads now; set it with credentials instead"
    if later_entries(entry).exists():
        return f"{entry.exchange} was changed again since; undo that first"
    return ""


def find_lost(entry: AuditEntry) -> str:
    """Returns what undoing would need and the audit log does not hold; empty when it holds all."""
    if entry.verb != "configure":
        return ""
    if "credentials" in entry.why.split(", "):
        return "old credentials are not kept"
    return "old passwords of proxies are not kept" if HIDDEN in str(entry.before.get("proxy", "")) else ""


def _would_lead_credentials_elsewhere(entry: AuditEntry) -> bool:
    if entry.verb != "configure" or not exchange_settings.WAYS_TO_REACH.intersection(entry.before):
        return False
    exchange = Exchange.objects.filter(pk=entry.exchange).first()
    if exchange is None or not exchange.credentials:
        return False
    return bool(destinations.leading_elsewhere(exchange.base_url, entry.before))


def undo(entry_id: int, *, by: str, now: datetime, origin: str = "") -> AuditEntry:
    """Carries out the opposite. Raises CommandRefused when it is too late or something newer stands in the way."""
    entry = AuditEntry.objects.filter(pk=entry_id).first()
    if entry is None:
        raise NotFound(f"there is no audit entry {entry_id}")
    obstacle = find_obstacle(entry, now=now)
    if obstacle:
        raise CommandRefused(f"{entry.verb} of {entry.exchange} cannot be undone: {obstacle}")
    # One winner: two clicks at once must not carry out the opposite twice.
    if not AuditEntry.objects.filter(pk=entry_id, undone_at__isnull=True).update(undone_at=now):
        raise CommandRefused(f"{entry.verb} of {entry.exchange} was undone already")
    try:
        OPPOSITES[entry.verb](entry, {"by": by, "now": now, "origin": origin})
    except BaseException:  # a stopped process too: what was not carried out must not look undone
        AuditEntry.objects.filter(pk=entry_id).update(undone_at=None)
        raise
    # The opposite's own row is the answer to this one, not one more thing to undo.
    AuditEntry.objects.filter(exchange=entry.exchange, happened_at=now, who=by[:150], pk__gt=entry.pk).update(
        undone_at=now
    )
    return entry


def later_entries(entry: AuditEntry) -> QuerySet[AuditEntry]:
    """Returns the changes of the same exchange after this one that still stand."""
    return AuditEntry.objects.filter(
        exchange=entry.exchange, pk__gt=entry.pk, changed=True, undone_at__isnull=True, verb__in=OPPOSITES
    )


def _blacklist_again(entry: AuditEntry, call: dict[str, Any]) -> None:
    exchange_commands.blacklist(entry.exchange, **_remembered(entry.before), **call)


def _blacklist_market_again(entry: AuditEntry, call: dict[str, Any]) -> None:
    market_commands.blacklist_market(entry.exchange, entry.market, **_remembered(entry.before), **call)


def _remembered(before: Mapping[str, Any]) -> dict[str, Any]:
    expires_at = before.get("expires_at")
    return {
        "reason": before.get("reason", ""),
        "expires_at": datetime.fromisoformat(expires_at) if expires_at else None,
    }


OPPOSITES: Mapping[str, Opposite] = {
    "add": lambda entry, call: exchange_commands.remove(entry.exchange, **call),
    "remove": lambda entry, call: exchange_commands.bring_back(
        entry.exchange, enabled=bool(entry.before.get("enabled", True)), **call
    ),
    "blacklist": lambda entry, call: exchange_commands.lift(entry.exchange, **call),
    "lift": _blacklist_again,
    "disable": lambda entry, call: exchange_commands.enable(entry.exchange, **call),
    "enable": lambda entry, call: exchange_commands.disable(entry.exchange, **call),
    "configure": lambda entry, call: onboarding.configure(entry.exchange, entry.before, **call),
    "blacklist market": lambda entry, call: market_commands.lift_market(entry.exchange, entry.market, **call),
    "lift market": _blacklist_market_again,
}
