"""Brings exchanges in and keeps what we know of them up to date: add, configure, check, refresh.

Exchanges are asked outside of transactions, under the same lease as polls, and within one budget each.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import DatabaseError, connection, transaction
from django_celery_beat.models import PeriodicTask

from collectors import lease, rate_limits
from collectors.models import Worker
from collectors.polling import market_list, poll, schedule
from exchanges import catalogue, connectivity, destinations
from exchanges.connectivity import FAILED, OK, SKIPPED, ConnectivityReport, Finding
from exchanges.models import Exchange, Market
from feeds import known_exchange_ids
from feeds.base import Capabilities, FeedError
from operations import exchange_commands, exchange_settings, transitions
from operations.transitions import CommandRefused

log = structlog.get_logger(__name__)

CHECKS_SECONDS = 10.0  # all checks of one exchange together: somebody waits for the answer
PATIENCE_SECONDS = 3.0  # for a poll that is just running
LEAST_LOAD_SECONDS = 3.0  # of a market list; the rest of the time may go by in waiting for a poll
RELOADS_AT_ONCE = 6


class UnknownExchange(CommandRefused):
    """No feed of ours speaks to an exchange of that name."""


class Unsuitable(CommandRefused):
    """The exchange lacks what collecting needs."""

    def __init__(self, message: str, report: ConnectivityReport) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The result of refreshing one exchange; `error` is empty when all went well."""

    exchange_id: str
    report: ConnectivityReport
    error: str


def require_known(exchange_id: str) -> None:
    if exchange_id not in known_exchange_ids():
        raise UnknownExchange(f"Unknown exchange: {exchange_id[:64]}")


def add(
    exchange_id: str, *, by: str, now: datetime, origin: str = "", wanted: Mapping[str, Any] | None = None
) -> ConnectivityReport:
    """Checks an exchange, makes it and starts its worker, and no other's. One that is active already stays as it is,
    but for the settings that are named.

    Raises CommandRefused (unknown, blacklisted, unsuitable, invalid settings) and connectivity.CannotOpen.
    """
    require_known(exchange_id)
    wanted = dict(wanted or {})
    exchange = Exchange.objects.filter(pk=exchange_id).first()
    if exchange is not None and exchange.blacklisted:
        raise CommandRefused(f"Exchange {exchange_id} is blacklisted. Remove from blacklist first.")
    if exchange is not None and exchange.removed_at is None:
        return _add_again(exchange, wanted, by=by, now=now, origin=origin)
    return _add_new(exchange_id, wanted, by=by, now=now, origin=origin)


def candidate(exchange_id: str, wanted: Mapping[str, Any]) -> Exchange:
    """Returns the exchange as it would be with these settings; it is neither stored nor changed. Stored credentials
    do not go along to another address.

    Raises UnknownExchange and InvalidSettings.
    """
    require_known(exchange_id)
    changes = exchange_settings.cleaned(wanted)
    exchange_settings.check_addresses(changes)
    exchange = Exchange.objects.filter(pk=exchange_id).first() or Exchange(id=exchange_id)
    differing = exchange_settings.differing(exchange, changes)
    base_url = str(changes.get("base_url", exchange.base_url))
    if destinations.leading_elsewhere(base_url, differing):
        exchange.credentials = ""
    for column, value in exchange_settings.columns(differing).items():
        setattr(exchange, column, value)
    exchange_settings.check_values(exchange, list(differing))
    return exchange


def configure(exchange_id: str, wanted: Mapping[str, Any], *, by: str, now: datetime, origin: str = "") -> list[str]:
    """Sets what differs and returns the names of it; the running loop is replaced only where it must be."""
    changes = exchange_settings.cleaned(wanted)
    exchange_settings.check_new_addresses(exchange_id, changes)
    with transaction.atomic():
        exchange = transitions.locked(exchange_id)
        changes = exchange_settings.with_whole_credentials(exchange, changes)
        differing = exchange_settings.differing(exchange, changes)
        if not differing:
            return []
        before = {name: exchange_settings.stored(exchange, name) for name in differing}
        exchange_settings.require_credentials_again(exchange, differing)
        columns = exchange_settings.columns(differing)
        for column, value in columns.items():
            setattr(exchange, column, value)
        exchange_settings.check_values(exchange, list(differing))
        exchange_settings.refuse_secrets_in_clear(exchange)
        exchange.save(update_fields=list(columns))
        transitions.record(
            "configure", by=by, now=now, exchange=exchange_id, origin=origin, why=", ".join(differing),
            before=exchange_settings.without_secrets(before),
        )  # fmt: skip
        _carry_through(exchange, set(differing), now)
    log.info("exchange_configured", exchange=exchange_id, by=by, settings=list(differing))
    return list(differing)


def check(exchange_id: str, *, occasion: str, now: datetime, budget_seconds: float | None = None) -> ConnectivityReport:
    """Stores the four checks, asked of the exchange unless they were well half a minute ago; returns the report."""
    fresh = connectivity.fresh(exchange_id, now=now)
    if fresh is not None:
        return fresh
    budget_seconds = budget_seconds or CHECKS_SECONDS
    started = time.monotonic()
    exchange = _get(exchange_id)
    permit = None
    if exchange.is_collected:
        permit = lease.wait_for(exchange_id, patience_seconds=PATIENCE_SECONDS, lease_seconds=budget_seconds)
    try:
        report = connectivity.check(
            exchange,
            market_count=_market_count(exchange_id),
            budget_seconds=budget_seconds - (time.monotonic() - started),
            gate=_open_gate,
            health=None if permit else Finding("health", SKIPPED, "it may not be called now, or a poll is running"),
        )
    except connectivity.CannotOpen as fault:
        report = ConnectivityReport(None, (Finding("health", FAILED, str(fault)),))
    finally:
        if permit is not None:
            lease.release(permit)
    return _completed(exchange, report, occasion=occasion, now=now)


def refresh(*, by: str, now: datetime, origin: str = "", exchange_ids: Sequence[str] | None = None) -> list[Refreshed]:
    """Reloads markets and capabilities of every collected exchange (or of those named) and replaces their loops,
    some at a time.

    An exchange that was refreshed within half a minute is not asked again.
    """
    ids = [each for each in catalogue.active_ids() if exchange_ids is None or each in exchange_ids]
    with ThreadPoolExecutor(RELOADS_AT_ONCE, thread_name_prefix="refresh") as pool:
        waiting = [pool.submit(copy_context().run, _refresh_in_thread, each, now) for each in ids]
        results = [each.result() for each in waiting]
    only = ids[0] if exchange_ids is not None and len(ids) == 1 else ""
    transitions.record(
        "refresh", by=by, now=now, exchange=only, origin=origin, why="" if only else f"{len(ids)} exchanges"
    )
    catalogue.drop()
    failed = [result.exchange_id for result in results if result.error]
    log.info("exchanges_refreshed", by=by, count=len(ids), failed=failed)
    return results


def _add_new(exchange_id: str, wanted: dict[str, Any], *, by: str, now: datetime, origin: str) -> ConnectivityReport:
    exchange_settings.require_needed(exchange_id, wanted.get("credentials") or {})
    changes = exchange_settings.cleaned(wanted)
    exchange_settings.check_addresses(changes)
    fields = dict(changes)
    exchange = Exchange(id=exchange_id, **exchange_settings.columns(changes))
    exchange_settings.check_values(exchange, list(changes))
    exchange_settings.refuse_secrets_in_clear(exchange)
    report = connectivity.check(exchange, market_count=None, budget_seconds=CHECKS_SECONDS, gate=_open_gate)
    able, capabilities = report.capabilities, report.finding("capabilities")
    if able is None or capabilities.result == FAILED:
        raise Unsuitable(f"Exchange {exchange_id} cannot be collected: {capabilities.reason}", report)
    known: dict[str, Any] = {
        "capabilities": dict(able.has),
        "timeframes": list(able.timeframes),
        "rate_limit_ms": able.rate_limit_ms,
        "name": fields.pop("name", "") or able.name,
    }
    try:
        exchange = exchange_commands.create(exchange_id, by=by, now=now, origin=origin, **fields, **known)
    except CommandRefused:  # somebody else has added it while we asked
        return _add_again(_get(exchange_id), wanted, by=by, now=now, origin=origin)
    return _completed(exchange, report, occasion="add", now=now)


def _add_again(
    exchange: Exchange, wanted: dict[str, Any], *, by: str, now: datetime, origin: str
) -> ConnectivityReport:
    if wanted:
        configure(exchange.id, wanted, by=by, now=now, origin=origin)
    if not exchange.enabled:
        exchange_commands.enable(exchange.id, by=by, now=now, origin=origin)
    else:
        transitions.record("add", by=by, now=now, exchange=exchange.id, origin=origin, changed=False)
    return check(exchange.id, occasion="add", now=now)


def _completed(exchange: Exchange, report: ConnectivityReport, *, occasion: str, now: datetime) -> ConnectivityReport:
    is_scheduled = PeriodicTask.objects.filter(name=f"poll:{exchange.id}", enabled=True).exists()
    report = report.with_worker(connectivity.judge_worker(exchange, is_scheduled=is_scheduled))
    connectivity.store(exchange.id, report, occasion=occasion, now=now)
    return report


def _refresh_in_thread(exchange_id: str, now: datetime) -> Refreshed:
    try:
        return _refresh(exchange_id, now)
    except (CommandRefused, DatabaseError) as error:  # it was removed meanwhile, or is being changed: the others go on
        log.warning("exchange_not_refreshed", exchange=exchange_id, error=str(error).strip())
        words = str(error) if isinstance(error, CommandRefused) else "its row could not be changed in time"
        return Refreshed(exchange_id, ConnectivityReport(None, ()), words)
    finally:
        connection.close()


def _refresh(exchange_id: str, now: datetime) -> Refreshed:
    started = time.monotonic()
    budget_seconds = CHECKS_SECONDS
    error = ""
    if not _was_loaded_lately(exchange_id, now):
        with transaction.atomic():
            transitions.locked(exchange_id)
            transitions.renew(exchange_id, now)
            transitions.poll_on_commit(exchange_id)
        error = _reload(exchange_id, now, seconds=budget_seconds)
    health = Finding("health", FAILED if error else OK, error, round((time.monotonic() - started) * 1000))
    exchange = _get(exchange_id)
    try:
        report = connectivity.check(
            exchange, market_count=_market_count(exchange_id), budget_seconds=budget_seconds, health=health
        )
    except connectivity.CannotOpen as fault:
        error, report = str(fault), ConnectivityReport(None, (health,))
    return Refreshed(exchange_id, _completed(exchange, report, occasion="refresh", now=now), error)


def _reload(exchange_id: str, now: datetime, *, seconds: float) -> str:
    """Loads the market list; returns why it could not be loaded, empty when it was."""
    try:
        poll.load_markets(
            exchange_id,
            now=now,
            patience_seconds=seconds - LEAST_LOAD_SECONDS - connectivity.OVERRUN_SECONDS,
            deadline_seconds=seconds - connectivity.OVERRUN_SECONDS,
        )
    except poll.ExchangeBusy:
        return "it may not be called now, or a poll is running"
    except FeedError as error:
        return f"{error.kind}: {error}"[:500]
    except KeyError:
        return f"no feed speaks to {exchange_id}"
    return ""


def _was_loaded_lately(exchange_id: str, now: datetime) -> bool:
    lately = now - transitions.COOL_DOWN
    return Worker.objects.filter(
        pk=exchange_id, markets_loaded_at__gt=lately, markets_loaded_at__lte=now + timedelta(seconds=60), error_count=0
    ).exists()


def _carry_through(exchange: Exchange, names: set[str], now: datetime) -> None:
    if "market_filter" in names:
        with market_list.changing(exchange.id, now=now):
            pass
    if names & exchange_settings.WAYS_TO_REACH and exchange.is_collected:
        transitions.renew(exchange.id, now)
        transitions.poll_on_commit(exchange.id)
    else:
        schedule.sync(now=now, exchange_ids=[exchange.id])
    catalogue.drop_on_commit()


def _open_gate(exchange: Exchange, able: Capabilities) -> rate_limits.RequestGate:
    return rate_limits.open_gate(exchange, able, priority=rate_limits.Priority.CHECK)


def _get(exchange_id: str) -> Exchange:
    exchange = Exchange.objects.known().filter(pk=exchange_id).first()
    if exchange is None:
        raise transitions.NotFound(f"there is no exchange {exchange_id}")
    return exchange


def _market_count(exchange_id: str) -> int | None:
    return Market.objects.collected().filter(exchange_id=exchange_id).count() or None
