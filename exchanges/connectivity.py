"""The four checks of an exchange: it is there, it can do what we need, it is polled sanely, it is being collected.

The judgements are pure. `check` asks the exchange, outside of any transaction and within one budget, whatever it does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from exchanges.models import ConnectivityCheck, Exchange
from feeds import open_feed
from feeds.base import Capabilities, FeedError, MayCall
from feeds.obstacles import explain
from feeds.request_gate import HeldBack

OK, FAILED, SKIPPED, STARTED = "ok", "failed", "skipped", "started"
OVERRUN_SECONDS = 1.0  # a feed may be this late when an answer is just being parsed
KEPT = timedelta(days=30)
FRESH = timedelta(seconds=30)  # asked again sooner, the last answer is given: nobody hammers an exchange through us

# The gate that each request of a check asks first. It is collection's, and this package knows nothing of that.
OpenGate = Callable[[Exchange, Capabilities], MayCall]


class CannotOpen(Exception):
    """A failure to make a client for this exchange; the message says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The finding of one check; `reason` is for people."""

    name: str
    result: str
    reason: str = ""
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class ConnectivityReport:
    """The capabilities of the exchange's client, and the findings of the checks."""

    capabilities: Capabilities | None
    findings: tuple[Finding, ...]

    def with_worker(self, finding: Finding) -> ConnectivityReport:
        return ConnectivityReport(self.capabilities, (*self.findings, finding))

    def finding(self, name: str) -> Finding:
        return next(finding for finding in self.findings if finding.name == name)

    def words(self) -> dict[str, str]:
        """Returns the documented body: `{"health": "ok", …}`."""
        return {finding.name: finding.result for finding in self.findings}


def check(
    exchange: Exchange,
    *,
    market_count: int | None,
    budget_seconds: float,
    health: Finding | None = None,
    gate: OpenGate | None = None,
) -> ConnectivityReport:
    """Checks health, capabilities and rate limit within its budget. Raises CannotOpen; never a FeedError.

    With a `health` that is known already the exchange is not called.
    """
    started = time.monotonic()
    try:
        feed = open_feed(exchange.feed_spec())
        able = feed.capabilities
    except Exception as error:  # an exchange's constructor may raise anything
        raise CannotOpen(f"{exchange.id} cannot be opened: {type(error).__name__}: {error}"[:300]) from error
    opened_ms = _milliseconds_since(started)
    interval = exchange.poll_interval_seconds
    return ConnectivityReport(
        able,
        (
            health
            or _health(
                feed,
                budget_seconds - OVERRUN_SECONDS - (time.monotonic() - started),
                may_call=gate(exchange, able) if gate else None,
            ),
            judge_capabilities(able.has, duration_ms=opened_ms),
            judge_rate_limit(able.rate_limit_ms, able.has, interval_seconds=interval, market_count=market_count),
        ),
    )


def judge_capabilities(has: Mapping[str, bool], *, duration_ms: int = 0) -> Finding:
    """Judges capabilities: tickers and order books are collected; without one request for all tickers it is slow."""
    missing = [name for name in ("fetchTickers", "fetchOrderBook") if not has.get(name)]
    if not missing:
        return Finding("capabilities", OK, "", duration_ms)
    if missing == ["fetchOrderBook"] and has.get("oracle"):
        return Finding("capabilities", OK, "an oracle: it has prices and no order books", duration_ms)
    if missing == ["fetchTickers"] and has.get("fetchTicker"):
        return Finding("capabilities", OK, "no fetchTickers: it is asked market by market", duration_ms)
    return Finding("capabilities", FAILED, f"it has no {' and no '.join(missing)}", duration_ms)


def judge_rate_limit(
    rate_limit_ms: float, has: Mapping[str, bool], *, interval_seconds: float, market_count: int | None
) -> Finding:
    if not 0 < rate_limit_ms < 3_600_000:
        return Finding("rate_limit", FAILED, f"its client says {rate_limit_ms:g} ms between calls, which is no limit")
    least = least_interval_seconds(rate_limit_ms, has, market_count=market_count)
    if interval_seconds < least:
        return Finding("rate_limit", FAILED, f"{interval_seconds:g} s between polls; its limit allows {least:g} s")
    return Finding("rate_limit", OK, f"{interval_seconds:g} s between polls; at least {least:g} s")


def least_interval_seconds(rate_limit_ms: float, has: Mapping[str, bool], *, market_count: int | None) -> float:
    """Returns what the rate limit allows, in seconds: one call if all tickers come at once, else one per market."""
    calls = 1 if has.get("fetchTickers") else max(1, market_count or 1)
    return round(calls * rate_limit_ms / 1000, 3)


def judge_worker(exchange: Exchange, *, is_scheduled: bool) -> Finding:
    """Judges whether the collector is on its way; what it achieves is the worker's status."""
    if not settings.COLLECTION_ENABLED:
        return Finding("worker", SKIPPED, "collection is switched off (COLLECTION_ENABLED)")
    if not exchange.is_collected:
        return Finding("worker", SKIPPED, f"{exchange.id} is {'blacklisted' if exchange.blacklisted else 'disabled'}")
    if not is_scheduled:
        return Finding("worker", FAILED, "its polls are not scheduled")
    return Finding("worker", STARTED)


def store(exchange_id: str, report: ConnectivityReport, *, occasion: str, now: datetime) -> None:
    """Keeps the findings for the exchange's page, and drops those that are a month old."""
    with transaction.atomic():
        ConnectivityCheck.objects.bulk_create(
            ConnectivityCheck(
                exchange_id=exchange_id,
                checked_at=now,
                occasion=occasion,
                name=finding.name,
                result=finding.result,
                reason=finding.reason,
                duration_ms=finding.duration_ms,
            )
            for finding in report.findings
        )
        ConnectivityCheck.objects.filter(exchange_id=exchange_id, checked_at__lt=now - KEPT).delete()


def latest(exchange_id: str) -> Sequence[ConnectivityCheck]:
    """Returns the rows of the newest occasion, in the order of the checks."""
    newest = ConnectivityCheck.objects.filter(exchange_id=exchange_id).order_by("-checked_at").first()
    if newest is None:
        return []
    return list(ConnectivityCheck.objects.filter(exchange_id=exchange_id, checked_at=newest.checked_at).order_by("pk"))


def fresh(exchange_id: str, *, now: datetime) -> ConnectivityReport | None:
    """Returns the newest report, if it is fresh and everything in it was well; else None."""
    rows = latest(exchange_id)
    if not rows or rows[0].checked_at < now - FRESH or any(row.result == FAILED for row in rows):
        return None
    return ConnectivityReport(None, tuple(Finding(row.name, row.result, row.reason, row.duration_ms) for row in rows))


def _health(feed: Any, seconds: float, *, may_call: MayCall | None) -> Finding:
    if seconds < 0.5:
        return Finding("health", SKIPPED, "no time was left to ask")
    started = time.monotonic()
    try:
        feed.ping(deadline_seconds=seconds, may_call=may_call)
    except HeldBack as restraint:
        return Finding("health", SKIPPED, str(restraint)[:500], _milliseconds_since(started))
    except FeedError as error:
        return Finding("health", FAILED, _in_words(error), _milliseconds_since(started))
    return Finding("health", OK, "", _milliseconds_since(started))


def _in_words(error: FeedError) -> str:
    what, advice = explain(error)
    return f"{error.kind}: {what}. {advice} ({error})"[:500] if advice else f"{error.kind}: {error}"[:500]


def _milliseconds_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
