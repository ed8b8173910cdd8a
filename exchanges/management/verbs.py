"""Stop, start and restart the collection of one exchange."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import redis
import structlog
from django.db import connection, transaction
from django.db.models import F

from collectors import lease, schedule
from collectors.models import Worker
from exchanges.models import BlacklistEntry, Exchange

log = structlog.get_logger(__name__)

STOP_WAIT_SECONDS = 2.0  # a cycle asks before each request; only one already in the air can outlive this

END_GAPS = """
WITH silent AS (
    UPDATE collectors_pipeline AS p SET gap_open = false
    FROM (SELECT q.market_id FROM collectors_pipeline AS q JOIN exchanges_market AS m ON m.id = q.market_id
          WHERE m.exchange_id = %(exchange)s AND q.gap_open ORDER BY q.market_id FOR UPDATE OF q) AS stopped
    WHERE p.market_id = stopped.market_id
    RETURNING p.market_id
)
UPDATE collectors_gap AS g SET ended_at = %(now)s FROM silent
WHERE g.pipeline_id = silent.market_id AND g.ended_at IS NULL AND g.started_at < %(now)s
"""


class Refused(Exception):
    """The verb cannot be carried out; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """Whether the running cycle was seen to end; when not, at most the request in the air is still answered."""

    was_delivered: bool


@transaction.atomic
def create(exchange_id: str, *, by: str, now: datetime, base_url: str = "", name: str = "") -> Exchange:
    """Makes an exchange and its worker. Refused when it exists already."""
    if Exchange.objects.filter(pk=exchange_id).exists():
        raise Refused(f"{exchange_id} exists already; change it instead")
    exchange = Exchange(id=exchange_id, name=name or exchange_id, base_url=base_url)
    exchange.full_clean()
    exchange.save(force_insert=True)
    Worker.objects.create(exchange=exchange, resumed_at=now, status_since=now)
    _follow(exchange_id, 1, now)
    log.info("exchange_created", exchange=exchange_id, by=by)
    return exchange


def blacklist(
    exchange_id: str, *, by: str, now: datetime, reason: str = "", expires_at: datetime | None = None
) -> Stopped:
    """Stops all requests to an exchange and keeps the reason. Blacklisting a blacklisted one changes nothing."""
    with transaction.atomic():
        exchange = _locked(exchange_id)
        if not exchange.blacklisted:
            BlacklistEntry.objects.create(
                exchange=exchange, reason=reason, listed_at=now, listed_by=by, expires_at=expires_at
            )
            exchange.blacklisted = True
            exchange.save(update_fields=["blacklisted"])
            _stop(exchange_id, now)
    return _stopped("exchange_blacklisted", exchange_id, by=by, reason=reason)


def lift(exchange_id: str, *, by: str, now: datetime) -> None:
    """Takes an exchange off the blacklist; collection resumes with the next slot, and the silence was no gap."""
    with transaction.atomic():
        exchange = _locked(exchange_id)
        if not exchange.blacklisted:
            return
        exchange.blacklist_entries.filter(lifted_at__isnull=True).update(lifted_at=now, lifted_by=by)
        exchange.blacklisted = False
        exchange.save(update_fields=["blacklisted"])
        _resume(exchange_id, now)
    log.info("exchange_lifted", exchange=exchange_id, by=by)


def disable(exchange_id: str, *, by: str, now: datetime) -> Stopped:
    """Switches an exchange off without a black mark."""
    with transaction.atomic():
        exchange = _locked(exchange_id)
        if exchange.enabled:
            exchange.enabled = False
            exchange.save(update_fields=["enabled"])
            _stop(exchange_id, now)
    return _stopped("exchange_disabled", exchange_id, by=by, reason="")


def enable(exchange_id: str, *, by: str, now: datetime) -> None:
    """Switches an exchange on again."""
    with transaction.atomic():
        exchange = _locked(exchange_id)
        if exchange.enabled:
            return
        exchange.enabled = True
        exchange.save(update_fields=["enabled"])
        _resume(exchange_id, now)
    log.info("exchange_enabled", exchange=exchange_id, by=by)


def restart(exchange_id: str, *, by: str, now: datetime) -> None:
    """Forgets errors and pauses, and replaces the running loop: what it still brings is refused by its generation."""
    with transaction.atomic():
        exchange = _locked(exchange_id)
        if exchange.blacklisted:
            raise Refused(f"{exchange_id} is blacklisted; lift the blacklist first")
        if not exchange.enabled:
            raise Refused(f"{exchange_id} is disabled; enable it first")
        _renew(exchange_id, now)
    log.info("worker_restarted", exchange=exchange_id, by=by)


def _locked(exchange_id: str) -> Exchange:
    # Two verbs at once would each decide on what the other is changing; the row lock puts them in order.
    try:
        return Exchange.objects.select_for_update().get(pk=exchange_id)
    except Exchange.DoesNotExist:
        raise Refused(f"worker for exchange {exchange_id} not found") from None


def _stop(exchange_id: str, now: datetime) -> None:
    _renew(exchange_id, now)
    with connection.cursor() as cursor:
        cursor.execute(END_GAPS, {"exchange": exchange_id, "now": now})


def _resume(exchange_id: str, now: datetime) -> None:
    _renew(exchange_id, now, resumed_at=now)


def _renew(exchange_id: str, now: datetime, **changes: datetime) -> None:
    """A new generation with a clean record. The lease stays: it is how one sees that the old cycle has ended."""
    Worker.objects.filter(pk=exchange_id).update(
        generation=F("generation") + 1,
        error_count=0,
        strikes=0,
        retry_at=None,
        last_outcome="",
        cycle_started_at=None,
        **changes,
    )
    generation = Worker.objects.values_list("generation", flat=True).get(pk=exchange_id)
    _follow(exchange_id, generation, now)


def _follow(exchange_id: str, generation: int, now: datetime) -> None:
    schedule.sync(now=now, exchange_ids=[exchange_id])
    transaction.on_commit(lambda: _announce(exchange_id, generation), robust=True)


def _announce(exchange_id: str, generation: int) -> None:
    try:
        lease.announce(exchange_id, generation)
    except redis.RedisError:
        log.warning("generation_not_announced", exchange=exchange_id, generation=generation)


def _stopped(event: str, exchange_id: str, *, by: str, reason: str) -> Stopped:
    was_delivered = lease.wait_until_idle(exchange_id, at_most_seconds=STOP_WAIT_SECONDS)
    log.info(event, exchange=exchange_id, by=by, reason=reason, was_delivered=was_delivered)
    return Stopped(was_delivered)
