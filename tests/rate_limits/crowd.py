"""A crowd at one exchange: `python -m tests.rate_limits.crowd <exchange>` forks eight processes that ask it as fast
as they may, each in another way, until they are told to stop. One JSON line per call on stdout.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketmon.settings")
sys.path.insert(0, str(Path(__file__).parents[2]))
django.setup()

from django.db import connection  # noqa: E402

from collectors import rate_limits  # noqa: E402
from collectors.models import Worker  # noqa: E402
from collectors.polling import market_list, poll  # noqa: E402
from collectors.rate_limits import Priority  # noqa: E402
from exchanges.models import Exchange, Market  # noqa: E402
from feeds import open_feed  # noqa: E402
from feeds.base import FeedError  # noqa: E402
from lib import clock  # noqa: E402

SLOT_SECONDS = 1.0
CALL_SECONDS = 4.0
ROLES = ["live", "shadow", "check", "backfill", "backfill", "backfill", "backfill", "backfill"]


def live(exchange: Exchange) -> str:
    """The real poll, once a slot."""
    time.sleep(SLOT_SECONDS - time.time() % SLOT_SECONDS)
    Worker.objects.filter(pk=exchange.pk).update(cycle_started_at=None)
    return poll.collect_once(exchange.pk, now=clock.now())


def shadow(exchange: Exchange) -> str:
    symbols = list(Market.objects.filter(exchange=exchange).values_list("symbol", flat=True))
    return _call(exchange, Priority.SHADOW, lambda feed, gate: feed.fetch_quotes(symbols, **gate))


def check(exchange: Exchange) -> str:
    return _call(exchange, Priority.CHECK, lambda feed, gate: feed.ping(**gate))


def backfill(exchange: Exchange) -> str:
    symbol = Market.objects.filter(exchange=exchange).values_list("symbol", flat=True)[0]
    return _call(
        exchange, Priority.BACKFILL, lambda feed, gate: feed.fetch_trades(symbol, since=None, limit=10, **gate)
    )


def _call(exchange: Exchange, priority: Priority, ask: Callable[..., object]) -> str:
    feed = open_feed(exchange.feed_spec(), market_cache=market_list.ValkeyMarketCache())
    gate = rate_limits.open_gate(exchange, feed.capabilities, priority=priority, generation=1)
    try:
        ask(feed, {"deadline_seconds": CALL_SECONDS, "may_call": gate})
    except FeedError as error:
        if error.kind == "throttled":
            time.sleep(0.1)
        return error.kind
    return "stored"


def run(number: int, role: str, exchange_id: str) -> None:
    connection.close()
    exchange = Exchange.objects.get(pk=exchange_id)
    while True:
        began = time.time()
        line = {"role": role, "number": number, "began": began, "outcome": globals()[role](exchange)}
        os.write(1, json.dumps(line | {"ended": time.time()}).encode() + b"\n")
        if line["outcome"] == "held_back":
            time.sleep(0.05)  # a real one would come again much later


def main() -> None:
    exchange_id = sys.argv[1]
    feed = open_feed(Exchange.objects.get(pk=exchange_id).feed_spec())  # warm before the fork, as in production
    feed.close()
    children = []
    for number, role in enumerate(ROLES):
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
            run(number, role, exchange_id)
        children.append(child)
    signal.signal(signal.SIGTERM, lambda *_: [os.kill(child, signal.SIGTERM) for child in children])
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
