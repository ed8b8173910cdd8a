"""Market lists are downloaded once: the requests that polls after the first send, beyond those that bring prices.

The other side makes a client for each poll, as a task without memory would. Counted by the exchange's own log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.comparison import Comparison
from benchmarks.exchanges import Sandbox, plain_client, running_sandbox
from collectors.history import partitions
from collectors.polling import poll
from exchanges.models import Exchange
from feeds import close_feeds
from feeds.ccxt.fields import FIELD_MAPS
from lib import clock
from operations import commands


@dataclass(frozen=True, slots=True)
class Sizes:
    markets: int
    polls: int


FULL = Sizes(markets=50, polls=5)
SMOKE = Sizes(markets=12, polls=1)  # fewer, and an exchange with two kinds of market lists but one


def comparisons(sizes: Sizes) -> Iterator[Comparison]:
    partitions.ensure(clock.now())
    with running_sandbox(markets=sizes.markets) as sandbox:
        exchange_ids = [
            one for one in sandbox.exchange_ids() if one in FIELD_MAPS
        ]  # whose requests for prices are known
        ours = sum(_ours(exchange_id, sandbox, sizes.polls) for exchange_id in exchange_ids)
        other = sum(asyncio.run(_other(exchange_id, sandbox, sizes.polls)) for exchange_id in exchange_ids)
    close_feeds()
    yield Comparison(
        "market_downloads", ours, other, goal=0, unit="requests", at_most=True,
        note=f"{sizes.polls} polls after the first, {len(exchange_ids)} exchanges; other: a new client for each poll",
    )  # fmt: skip


def _ours(exchange_id: str, sandbox: Sandbox, polls: int) -> int:
    Exchange.objects.filter(pk=exchange_id).delete()
    commands.create(exchange_id, by="bench", now=clock.now(), base_url=sandbox.url)
    Exchange.objects.filter(pk=exchange_id).update(poll_interval_seconds=0.5)
    _poll(exchange_id)
    before = sandbox.request_count(exchange_id)
    for _ in range(polls):
        _poll(exchange_id)
    return sandbox.request_count(exchange_id) - before - polls * len(FIELD_MAPS[exchange_id].requests)


def _poll(exchange_id: str) -> None:
    """Again while the slot is not over: a task that comes twice in a slot is refused."""
    while (outcome := poll.collect_once(exchange_id, now=clock.now())) != "stored":
        assert outcome == poll.SKIPPED, outcome


async def _other(exchange_id: str, sandbox: Sandbox, polls: int) -> int:
    base_url = f"{sandbox.url}/clone-plain-{exchange_id}"
    for _ in range(polls):
        client = plain_client(exchange_id, base_url)
        try:
            await client.fetch_tickers()
        finally:
            await client.close()
    for_prices = polls * len(FIELD_MAPS[exchange_id].requests)
    return sandbox.request_count(f"clone-plain-{exchange_id}") - for_prices
