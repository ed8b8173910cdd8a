"""The exchanges that ccxt's plain classes do not give, as the sandbox plays them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from collectors.history import partitions
from feeds import close_feeds, open_feed
from feeds.base import Feed, FeedSpec
from feeds.table import FEEDS
from lib import clock
from sandbox.venues import VENUES
from tests.feeds.venue import Venue, open_venue
from tests.sandbox_client import Sandbox
from tests.world import onboard_and_poll

NATIVE = sorted(FEEDS.keys() & VENUES.keys())
OpenFeed = Callable[[str], Feed]


@pytest.fixture
def collect(transactional_db, sandbox, settings) -> Callable[..., str]:
    """Makes an exchange on the sandbox and gives a function that collects it, whatever the slot."""
    settings.POLL_DEADLINE_SECONDS = 3.0
    partitions.ensure(clock.now())
    return onboard_and_poll


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
