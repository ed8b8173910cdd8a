"""The verbs that stop, start and restart the collection of one exchange."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

import structlog
from django.db import IntegrityError, transaction

from collectors.models import Worker
from exchanges import destinations
from exchanges.models import BlacklistEntry, Exchange
from operations import exchange_settings, transitions
from operations.transitions import CommandRefused, Stopped

log = structlog.get_logger(__name__)


@transaction.atomic
def create(
    exchange_id: str, *, by: str, now: datetime, origin: str = "", base_url: str = "", name: str = "", **fields: Any
) -> Exchange:
    """Makes an exchange and its worker, or brings a removed one back. Raises CommandRefused if it is there already."""
    exchange = Exchange.objects.select_for_update(no_key=True).filter(pk=exchange_id).first()
    if exchange is not None and exchange.removed_at is None:
        raise CommandRefused(f"{exchange_id} exists already; change it instead")
    is_new = exchange is None
    exchange = exchange or Exchange(id=exchange_id)
    values = {"name": name or exchange.name or exchange_id, "base_url": base_url, "enabled": True, **fields}
    if exchange.credentials and "credentials" not in fields and _leads_elsewhere(exchange, values):
        values["credentials"] = ""  # they were for where it led before it was removed
    for field, value in exchange_settings.columns(values).items():
        setattr(exchange, field, value)
    exchange.removed_at = None
    exchange.full_clean(validate_unique=False)
    try:
        with transaction.atomic():
            exchange.save(force_insert=is_new)
    except IntegrityError:
        raise CommandRefused(f"{exchange_id} exists already; somebody has just added it") from None
    Worker.objects.update_or_create(
        exchange=exchange,
        defaults={"markets_loaded_at": None},  # whatever it listed before it was removed, its next list is believed
        create_defaults={"resumed_at": now, "status_since": now},
    )
    transitions.record("add", by=by, now=now, exchange=exchange_id, origin=origin, before={"is_new": True})
    transitions.resume(exchange_id, now)
    log.info("exchange_created", exchange=exchange_id, by=by)
    return exchange


def blacklist(
    exchange_id: str, *, by: str, now: datetime, reason: str = "", expires_at: datetime | None = None, origin: str = ""
) -> Stopped:
    """Stops all requests to an exchange and keeps the reason.

    If it is blacklisted already, only the reason and the end change, where they are given.
    """
    with transaction.atomic():
        exchange = transitions.locked(exchange_id)
        is_new = not exchange.blacklisted
        if is_new:
            BlacklistEntry.objects.create(
                exchange=exchange, reason=reason, listed_at=now, listed_by=by, expires_at=expires_at
            )
            exchange.blacklisted = True
            exchange.save(update_fields=["blacklisted"])
            transitions.stop(exchange_id, now)
        elif reason or expires_at:
            wanted = {"reason": reason, "expires_at": expires_at}
            running = BlacklistEntry.objects.running().filter(exchange=exchange)
            running.update(**{name: value for name, value in wanted.items() if value})
        transitions.record("blacklist", by=by, now=now, exchange=exchange_id, why=reason, origin=origin, changed=is_new)
    return transitions.stopped("exchange_blacklisted", exchange_id, by=by, reason=reason)


def blacklist_ahead(
    exchange_id: str, *, by: str, now: datetime, reason: str = "", expires_at: datetime | None = None, origin: str = ""
) -> Stopped:
    """Blacklists an exchange whether it was added or not; one that was not is noted, so that nobody adds it."""
    if not Exchange.objects.known().filter(pk=exchange_id).exists():
        with suppress(CommandRefused):  # somebody else has just done this
            create(exchange_id, by=by, now=now, origin=origin, enabled=False)
    return blacklist(exchange_id, by=by, now=now, reason=reason, expires_at=expires_at, origin=origin)


def lift(exchange_id: str, *, by: str, now: datetime, origin: str = "", reason: str = "") -> None:
    """Takes an exchange off the blacklist; collection resumes at once, and the silence was no gap.

    A removed one can be lifted too, and stays removed: while it is on the blacklist nobody can add it again.
    """
    with transaction.atomic():
        exchange = transitions.locked(exchange_id, even_removed=True)
        before = _take_off(exchange, by=by, now=now) if exchange.blacklisted else {}
        transitions.record(
            "lift", by=by, now=now, exchange=exchange_id, why=reason, origin=origin, before=before,
            changed=bool(before),
        )  # fmt: skip
    log.info("exchange_lifted", exchange=exchange_id, by=by)


def lift_expired_entry(entry_id: int, *, now: datetime) -> bool:
    """Lifts an entry whose time is over; returns False when an operator has changed it meanwhile."""
    with transaction.atomic():
        exchange_id = BlacklistEntry.objects.values_list("exchange_id", flat=True).get(pk=entry_id)
        exchange = transitions.locked(exchange_id, even_removed=True)
        if not BlacklistEntry.objects.past_expiry(now).filter(pk=entry_id).exists():
            return False
        before = _take_off(exchange, by="expiry", now=now)
        transitions.record("lift", by="expiry", now=now, exchange=exchange_id, why="its time was over", before=before)
    log.info("exchange_lifted", exchange=exchange_id, by="expiry")
    return True


def disable(exchange_id: str, *, by: str, now: datetime, origin: str = "", reason: str = "") -> Stopped:
    """Switches an exchange off without a black mark."""
    with transaction.atomic():
        exchange = transitions.locked(exchange_id)
        was_enabled = exchange.enabled
        if was_enabled:
            exchange.enabled = False
            exchange.save(update_fields=["enabled"])
            transitions.stop(exchange_id, now)
        transitions.record(
            "disable", by=by, now=now, exchange=exchange_id, why=reason, origin=origin, changed=was_enabled
        )
    return transitions.stopped("exchange_disabled", exchange_id, by=by, reason="")


def enable(exchange_id: str, *, by: str, now: datetime, origin: str = "", reason: str = "") -> None:
    """Switches an exchange on again."""
    with transaction.atomic():
        exchange = transitions.locked(exchange_id)
        was_enabled = exchange.enabled
        if not was_enabled:
            exchange.enabled = True
            exchange.save(update_fields=["enabled"])
            transitions.resume(exchange_id, now)
        transitions.record(
            "enable", by=by, now=now, exchange=exchange_id, why=reason, origin=origin, changed=not was_enabled
        )
    log.info("exchange_enabled", exchange=exchange_id, by=by)


def restart(exchange_id: str, *, by: str, now: datetime, origin: str = "", reason: str = "") -> bool:
    """Forgets errors and pauses, and replaces the running loop: what it still brings is refused by its generation.

    Within half a minute of the last restart, with no error since, there is nothing to forget: False, and no request
    more than before is sent.
    """
    with transaction.atomic():
        exchange = transitions.locked(exchange_id)
        transitions.require_collected(exchange)
        is_needed = Worker.objects.get(pk=exchange_id).error_count > 0 or not transitions.was_done_lately(
            "restart", exchange_id, now
        )
        if is_needed:
            transitions.renew(exchange_id, now)
            transitions.poll_on_commit(exchange_id)
        transitions.record(
            "restart", by=by, now=now, exchange=exchange_id, why=reason, origin=origin, changed=is_needed
        )
    log.info("worker_restarted", exchange=exchange_id, by=by, changed=is_needed)
    return is_needed


def remove(exchange_id: str, *, by: str, now: datetime, origin: str = "", reason: str = "") -> Stopped:
    """Takes an exchange out of everything that is shown and collected. Its history stays, and `add` brings it back."""
    with transaction.atomic():
        exchange = transitions.locked(exchange_id)
        before = {"enabled": exchange.enabled}
        exchange.enabled, exchange.removed_at = False, now
        exchange.save(update_fields=["enabled", "removed_at"])
        transitions.stop(exchange_id, now)
        transitions.record("remove", by=by, now=now, exchange=exchange_id, why=reason, origin=origin, before=before)
    return transitions.stopped("exchange_removed", exchange_id, by=by, reason=reason)


def bring_back(exchange_id: str, *, enabled: bool, by: str, now: datetime, origin: str = "") -> None:
    """Brings a removed exchange back as it was."""
    with transaction.atomic():
        changed = Exchange.objects.filter(pk=exchange_id, removed_at__isnull=False).update(
            removed_at=None, enabled=enabled
        )
        if not changed:
            raise CommandRefused(f"{exchange_id} is not removed")
        transitions.resume(exchange_id, now)
        transitions.record("bring back", by=by, now=now, exchange=exchange_id, origin=origin)


def _leads_elsewhere(exchange: Exchange, values: dict[str, Any]) -> bool:
    return bool(destinations.leading_elsewhere(values["base_url"], exchange_settings.differing(exchange, values)))


def _take_off(exchange: Exchange, *, by: str, now: datetime) -> dict[str, Any]:
    """Takes an exchange off the blacklist; returns what blacklisting it again would need."""
    running = BlacklistEntry.objects.running().filter(exchange=exchange)
    entry = running.first()
    running.update(lifted_at=now, lifted_by=by)
    exchange.blacklisted = False
    exchange.save(update_fields=["blacklisted"])
    transitions.resume(exchange.id, now)
    if entry is None:
        return {"reason": "", "expires_at": None}
    return {"reason": entry.reason, "expires_at": entry.expires_at and entry.expires_at.isoformat()}
