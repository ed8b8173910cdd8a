"""Calls to exchanges for metrics: only where operators want collection, never while one has asked us to wait."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from collectors import rate_limits
from collectors.models import Worker
from collectors.polling import market_list
from exchanges.models import Exchange
from feeds import open_feed
from feeds.base import Feed, MayCall


class NotNow(Exception):
    """This exchange may not be called: stopped, blacklisted, or told to wait."""


class ExchangeHandle(NamedTuple):
    """A feed, and the gate that it must ask before each request."""

    feed: Feed
    may_call: MayCall


def open_line(exchange: Exchange, *, now: datetime) -> ExchangeHandle:
    """Returns the exchange's feed and gate. Raises NotNow, or KeyError for an exchange that no feed speaks."""
    worker = callable_worker(exchange, now=now)
    feed = open_feed(exchange.feed_spec(), market_cache=market_list.ValkeyMarketCache())
    priority = rate_limits.Priority.CHECK
    gate = rate_limits.open_gate(exchange, feed.capabilities, priority=priority, generation=worker.generation)
    return ExchangeHandle(feed, gate)


def callable_worker(exchange: Exchange, *, now: datetime) -> Worker:
    """Returns the exchange's worker. Raises NotNow, which says why it is not called and until when."""
    worker = Worker.objects.filter(pk=exchange.pk).first()
    if worker is None or not exchange.is_collected:
        raise NotNow(f"{exchange.id} is not collected")
    if worker.retry_at is not None and worker.retry_at > now:
        raise NotNow(f"{exchange.id} is not called until {worker.retry_at:%H:%M:%S} UTC: {worker.last_error}")
    return worker
