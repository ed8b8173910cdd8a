"""The right to store under which a stream's quotes are written, against the real database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.db import connection

from collectors import lease
from collectors.models import Tick
from collectors.streaming.blocking_calls import Batch
from collectors.streaming.handshake import LeaseLost
from collectors.streaming.stream_lease import StreamLease
from lib import clock
from operations import commands
from tests.collectors.conftest import World, quote, world  # noqa: F401


def test_a_verb_that_overtakes_a_batch_finds_the_lease_free_at_once(world: World):  # noqa: F811
    async def overtaken(tenure: StreamLease) -> None:
        await in_thread(restart)
        tenure.quotes["BTC/USD"] = quote(received_at=clock.now().timestamp())
        with pytest.raises(LeaseLost):
            await tenure.flush({"BTC/USD": world.markets[0].pk}, Batch(started_at=clock.now()))

    during_a_tenure(overtaken)

    assert not Tick.objects.exists()
    assert lease.take("kraken", lease_seconds=5) is not None


def during_a_tenure(act: Callable[[StreamLease], Awaitable[None]]) -> None:
    async def run() -> None:
        tenure = StreamLease("kraken", in_thread)
        await tenure.take(lambda: pytest.fail("nobody else has the lease"))
        await act(tenure)

    asyncio.run(run())


def restart() -> None:
    commands.restart("kraken", by="test", now=clock.now())


async def in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
    def do() -> Any:
        try:
            return work(*arguments)
        finally:
            connection.close()  # this thread's own

    return await asyncio.to_thread(do)
