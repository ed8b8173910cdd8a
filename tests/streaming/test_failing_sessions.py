"""A session that fails before its first connection, and one that dies: both rest, and both say why."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest

from collectors.models import Stream, Worker
from collectors.rules import streams
from collectors.streaming import blocking_calls, ownership
from collectors.streaming.blocking_calls import Markets
from collectors.streaming.process import Process
from collectors.streaming.session import StreamSession
from collectors.streaming.threads import Threads, Watch
from feeds.ccxt.stream import CcxtStream
from lib import clock
from operations import commands

pytestmark = pytest.mark.django_db(transaction=True)
US = "here:1"


def add(exchange_id: str) -> ownership.StreamTarget:
    commands.create(exchange_id, by="test", now=clock.now(), transport="auto")
    Worker.objects.filter(pk=exchange_id).update(markets_loaded_at=clock.now())
    return ownership.wishes()[exchange_id]


async def run_until(is_so: Callable[[], bool], wish: ownership.StreamTarget) -> StreamSession:
    threads = Threads()
    listener = StreamSession(wish, holder=US, threads=threads, watch=Watch(60), is_ours=lambda: True)
    running = asyncio.create_task(listener.run())
    try:
        async with asyncio.timeout(10):
            while not await threads.start(is_so) and not running.done():
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
        await asyncio.wait([running])
        threads.close()
    assert running.cancelled()
    return listener


def test_a_session_that_never_dials_goes_on_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    wish = add("kraken")
    ownership.claim(US, ["kraken"], most=1, seconds=60)
    monkeypatch.setattr(blocking_calls, "load_markets", lambda wish: Markets(1, {"BTC/USD": 1}, None))
    monkeypatch.setattr(blocking_calls, "known_markets", lambda wish: Markets(1, {"BTC/USD": 1}, None))
    monkeypatch.setattr(blocking_calls, "poll", lambda wish: "skipped")
    monkeypatch.setattr(streams, "BACKOFF_SECONDS", 0.01)
    listener = asyncio.run(run_until(lambda: bool(Stream.objects.get().reason), wish))

    assert "lists none of the 1 wanted markets" in Stream.objects.get().reason
    assert not Stream.objects.get().is_delivering
    assert isinstance(listener._stream, CcxtStream)
    assert listener._stream._client.session is None


def test_a_session_survives_what_fails_as_it_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    wish = add("kraken")
    ownership.claim(US, ["kraken"], most=1, seconds=60)
    closed = []

    class Broken:
        @property
        def dial_pause_seconds(self) -> float:
            raise AttributeError("no dial yet")

        async def close(self) -> None:
            closed.append(True)

    async def fail(self: StreamSession) -> None:
        self._stream = Broken()  # type: ignore[assignment]
        raise ValueError("before the first dial")

    monkeypatch.setattr(StreamSession, "_connect", fail)
    monkeypatch.setattr(blocking_calls, "poll", lambda wish: "skipped")
    monkeypatch.setattr(streams, "BACKOFF_SECONDS", 0.01)
    asyncio.run(run_until(lambda: len(closed) >= 3, wish))

    assert "before the first dial" in Stream.objects.get().reason


def test_a_session_that_dies_rests_before_it_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    add("kraken")
    begun = []

    async def die(self: StreamSession) -> None:
        begun.append(self)
        raise ValueError("died at once")

    monkeypatch.setattr(StreamSession, "run", die)

    async def look_five_times() -> None:
        process = Process()
        for _ in range(5):
            process._looked_after_at = -math.inf
            await process._look()
            await asyncio.sleep(0.02)
        process._threads.close()

    monkeypatch.setattr(streams, "BACKOFF_SECONDS", 30.0)
    asyncio.run(look_five_times())

    assert len(begun) == 1
    assert Stream.objects.get().reason == "its session has failed: ValueError: died at once"
