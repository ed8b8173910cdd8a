"""Does what every verb does around its change: the row's lock, the worker's new generation, beat's rows, the audit log.

What must be known outside the database (runs under way, the cached catalogue, the next poll) follows the commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import redis
import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F

from collectors import lease, tasks
from collectors.gaps import ledger
from collectors.models import Worker
from collectors.polling import schedule
from exchanges import catalogue
from exchanges.models import AuditEntry, Exchange
from lib import queues

log = structlog.get_logger(__name__)

STOP_WAIT_SECONDS = 2.0  # a run asks before each request; only one already in the air can outlive this
COOL_DOWN = timedelta(seconds=30)  # a restart in less, with nothing gone wrong since, would only be more requests


class CommandRefused(Exception):
    """The verb cannot be carried out; the message says why and what to do."""


class NotFound(CommandRefused):
    """There is no such exchange or market here."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The result of a stop: whether the run under way was seen to end; if not, at most one more request is answered."""

    was_delivered: bool


def locked(exchange_id: str, *, even_removed: bool = False) -> Exchange:
    # Two verbs at once would each decide on what the other is changing; the row lock puts them in order.
    # "No key": a poll that holds its worker's row must still be able to refer to this one.
    try:
        exchanges = Exchange.objects.all() if even_removed else Exchange.objects.known()
        return exchanges.select_for_update(no_key=True).get(pk=exchange_id)
    except Exchange.DoesNotExist:
        raise NotFound(f"worker for exchange {exchange_id} not found") from None


def require_collected(exchange: Exchange) -> None:
    """Raises CommandRefused for one that nobody may call."""
    if exchange.blacklisted:
        raise CommandRefused(f"worker for exchange {exchange.id} is blacklisted; lift the blacklist first")
    if not exchange.enabled:
        raise CommandRefused(f"worker for exchange {exchange.id} is disabled; enable it first")


def record(
    verb: str,
    *,
    by: str,
    now: datetime,
    exchange: str = "",
    market: str = "",
    why: str = "",
    origin: str = "",
    before: Mapping[str, Any] | None = None,
    changed: bool = True,
) -> AuditEntry:
    """Writes the audit log's entry, in the transaction of the change itself."""
    context = structlog.contextvars.get_contextvars()
    return AuditEntry.objects.create(
        happened_at=now,
        who=by[:150],
        verb=verb,
        exchange=exchange,
        market=market[:100],
        why=why,
        origin=origin[:100],
        correlation_id=str(context.get("correlation_id", ""))[:64],
        before=dict(before or {}),
        changed=changed,
    )


def was_done_lately(verb: str, exchange_id: str, now: datetime) -> bool:
    recent = AuditEntry.objects.filter(exchange=exchange_id, verb=verb, changed=True)
    return recent.filter(happened_at__gt=now - COOL_DOWN, happened_at__lte=now).exists()


def stop(exchange_id: str, now: datetime) -> None:
    ledger.open_silent_of_exchange(exchange_id, now)  # what was silent before was not planned
    renew(exchange_id, now)
    ledger.end_of_exchange(exchange_id, now)


def resume(exchange_id: str, now: datetime) -> None:
    """Renews the worker and polls; the poll of one still disabled or blacklisted finds no lease and calls nobody."""
    renew(exchange_id, now, resumed_at=now)
    poll_on_commit(exchange_id)


def renew(exchange_id: str, now: datetime, **changes: datetime) -> None:
    """Starts a new generation with a clean record. The lease stays: it shows when the run of the old one has ended."""
    Worker.objects.filter(pk=exchange_id).update(
        generation=F("generation") + 1,
        error_count=0,
        strikes=0,
        retry_at=None,
        last_outcome="",
        cycle_started_at=None,
        usual_count=0,
        refused_list="",
        refused_count=0,
        **changes,
    )
    generation = Worker.objects.values_list("generation", flat=True).get(pk=exchange_id)
    follow(exchange_id, generation, now)


def follow(exchange_id: str, generation: int, now: datetime) -> None:
    schedule.sync(now=now, exchange_ids=[exchange_id])
    transaction.on_commit(lambda: _announce(exchange_id, generation), robust=True)
    catalogue.drop_on_commit()


def poll_on_commit(exchange_id: str) -> None:
    """Polls after the commit without waiting for beat's next slot. Should it be lost, beat's slot is the next one."""
    if settings.COLLECTION_ENABLED:
        transaction.on_commit(lambda: _send_poll(exchange_id), robust=True)


def stopped(event: str, exchange_id: str, *, by: str, reason: str) -> Stopped:
    """Waits, outside of any transaction, until the run under way has ended."""
    was_delivered = lease.wait_until_idle(exchange_id, at_most_seconds=STOP_WAIT_SECONDS)
    log.info(event, exchange=exchange_id, by=by, reason=reason, was_delivered=was_delivered)
    return Stopped(was_delivered)


def _announce(exchange_id: str, generation: int) -> None:
    try:
        lease.announce(exchange_id, generation)
    except redis.RedisError:
        log.warning("generation_not_announced", exchange=exchange_id, generation=generation)


def _send_poll(exchange_id: str) -> None:
    queues.send(tasks.collect_exchange, expires_seconds=settings.POLL_INTERVAL_SECONDS, exchange_id=exchange_id)
