"""The exchanges that ccxt's plain classes do not give, as the sandbox plays them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from django.db import connection

from collectors.history import partitions
from collectors.models import Worker
from collectors.polling import poll as ingest
from exchanges.models import SANDBOX_PLACEHOLDER, Exchange
from feeds import close_feeds, open_feed
from feeds.base import Feed, FeedSpec
from feeds.table import FEEDS
from lib import clock
from operations import commands
from sandbox.venues import VENUES
from tests.feeds.venue import Venue, open_venue
from tests.sandbox_client import Sandbox

NATIVE = sorted(FEEDS.keys() & VENUES.keys())
OpenFeed = Callable[[str], Feed]


@pytest.fixture
def collect(transactional_db, sandbox, settings) -> Iterator[Callable[..., str]]:
    """Makes an exchange on the sandbox and gives a function that collects it, whatever the slot."""
    settings.POLL_DEADLINE_SECONDS = 3.0
    partitions.ensure(clock.now())

    def poll(exchange_id: str, *, now: datetime | None = None) -> str:
        if not Exchange.objects.filter(pk=exchange_id).exists():
            commands.create(exchange_id, by="test", now=clock.now(), base_url=SANDBOX_PLACEHOLDER)
            Exchange.objects.update(budget_units=1000, budget_seconds=1)  # limits have tests of their own
        Worker.objects.update(cycle_started_at=None)
        return ingest.collect_once(exchange_id, now=now or clock.now())

    yield poll
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE collectors_tick, collectors_rollup")


@pytest.fixture
def open_on_sandbox(sandbox: Sandbox) -> OpenFeed:
    """A feed that knows its markets already."""

    def opened(exchange_id: str) -> Feed:
        feed = open_feed(FeedSpec(exchange_id, base_url=sandbox.url))
        feed.load_markets(deadline_seconds=10)
        return feed

    return opened


@pytest.fixture
def venue() -> Iterator[Venue]:
    """A server that answers what a test says."""
    with open_venue() as running:
        yield running
    close_feeds()
