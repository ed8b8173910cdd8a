"""A session that fails before its first connection, and one that dies: both rest, and both say why."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from collectors.models import Stream, Worker
from collectors.rules import streams
from collectors.streaming import blocking_calls, ownership
from collectors.streaming.blocking_calls import Markets
from collectors.streaming.process import Process
from collectors.streaming.session import StreamSession
from collectors.streaming.threads import Threads, Watch
from feeds import open_feed
from feeds.base import FeedSpec
from feeds.ccxt import markets
from feeds.ccxt.stream import CcxtStream
from feeds.streams import can_stream, forget_learned
from lib import clock
from operations import commands
from tests.world import quote

pytestmark = pytest.mark.django_db(transaction=True)
US = "here:1"


@pytest.fixture(autouse=True)
def nothing_learned() -> Iterator[None]:
    yield
    forget_learned("mexc")


def add(exchange_id: str, transport: str = "auto") -> ownership.StreamTarget:
    commands.create(exchange_id, by="test", now=clock.now(), transport=transport)
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
    monkeypatch.setattr(blocking_calls, "known_markets", lambda wish, held: Markets(1, {"BTC/USD": 1}, None))
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


class SpotOnly:
    """What is asked of an exchange in this test, whose ccxt class pushes no spot tickers."""

    def __init__(self) -> None:
        client = open_feed(FeedSpec("mexc"))._client  # type: ignore[attr-defined]
        names = {"base": "BTC", "quote": "USDT", "baseId": "BTC", "quoteId": "USDT"}
        row = names | {"id": "BTCUSDT", "symbol": "BTC/USDT", "type": "spot", "spot": True, "active": True}
        client.set_markets([client.safe_market_structure() | row])
        self.packed = markets.pack(client, keep_info=False)
        self.polls: list[bool] = []

    def load(self, wish: ownership.StreamTarget) -> Markets:
        return Markets(1, {"BTC/USDT": 1}, self.packed)

    def known(self, wish: ownership.StreamTarget, held: Markets) -> Markets:
        return self.load(wish)

    def poll(self, wish: ownership.StreamTarget) -> str:
        self.polls.append(can_stream("mexc"))
        return "stored"


@pytest.mark.parametrize("transport", ["auto", "stream"])
def test_an_exchange_that_pushes_none_of_its_markets_is_asked_once_and_polled(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = replace(add("mexc", transport=transport), interval_seconds=0.05, markets_version=1)
    ownership.claim(US, ["mexc"], most=1, seconds=60)
    exchange, connects = SpotOnly(), list[int]()
    connect = StreamSession._connect

    async def counted(self: StreamSession) -> None:
        connects.append(1)
        await connect(self)

    monkeypatch.setattr(StreamSession, "_connect", counted)
    monkeypatch.setattr(blocking_calls, "load_markets", exchange.load)
    monkeypatch.setattr(blocking_calls, "known_markets", exchange.known)
    monkeypatch.setattr(blocking_calls, "poll", exchange.poll)
    monkeypatch.setattr(streams, "BACKOFF_SECONDS", 0.01)
    asyncio.run(run_until(lambda: exchange.polls.count(False) > 5, wish))

    assert len(connects) <= 2
    assert "mexc watchTickers does not support spot markets" in Stream.objects.get().reason
    assert "mexc" in ownership.wishes()  # whoever listens is the one who polls


@pytest.mark.parametrize(("lost", "whole"), [("bid, ask, high", ["A/USD"]), ("high, quote_volume", [])])
def test_where_a_stream_lacks_prices_the_rows_of_polls_are_stored_beside_it(lost: str, whole: list[str]) -> None:
    listener = StreamSession(add("mexc"), holder=US, threads=None, watch=Watch(60), is_ours=lambda: True)  # type: ignore[arg-type]
    listener._markets = Markets(1, {"A/USD": 1}, None)
    listener._lost_fields = lost

    listener._complete([quote("A/USD"), quote("NOT/OURS")])

    assert [each.symbol for each in listener._tenure.whole] == whole
    listener._latest = {"A/USD": quote("A/USD", received_at=clock.now().timestamp())}
    assert listener._has_quiet() is bool(whole)  # so that each interval has its poll
