"""A visit to an exchange that writes down what it was told: what `probe` and `record` have in common.

All requests go through a recorder of this process, so that the raw answers are at hand. Nothing is stored in the
database, and every request asks the exchange's rate limit as all others do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from collectors import rate_limits
from collectors.rules.rate_limits import Priority
from exchanges.models import Exchange
from feeds import errors, new_feed
from feeds.base import Feed, FeedSpec, MayCall, Quote
from feeds.loop import process_loop
from feeds.recorder import Recorder
from feeds.recordings import Recording
from feeds.streams import market_cache_key, open_stream

START_SECONDS = 10.0
TICK_SECONDS = 0.2


class OwnMarketCache:
    """The market lists of one visit, in memory: what a visit loads is nobody else's business."""

    def __init__(self) -> None:
        self._lists: dict[str, bytes] = {}

    def load(self, key: str) -> bytes | None:
        return self._lists.get(key)

    def store(self, key: str, value: bytes, *, ttl_seconds: int) -> None:
        self._lists[key] = value


@dataclass(frozen=True, slots=True)
class ExchangeVisit:
    """An exchange that can be asked now. `spec` leads through the recorder, `direct` does not."""

    feed: Feed
    spec: FeedSpec
    direct: FeedSpec
    recording: Recording
    may_call: MayCall
    cache: OwnMarketCache

    @property
    def packed(self) -> bytes | None:
        """Returns the market list as streams take it; None before it was loaded."""
        return self.cache.load(market_cache_key(self.spec))


@dataclass(slots=True)
class StreamTrial:
    """What a stream brought: the newest quote of each market, when the first came, and what went wrong."""

    quotes: dict[str, Quote] = field(default_factory=dict)
    asked: int = 0
    first_after_seconds: float | None = None
    complaint: str = ""


@contextmanager
def visit(exchange: Exchange, path: Path, *, now: float) -> Iterator[ExchangeVisit]:
    """Opens a visit of a row that need not be stored; its recording is at `path` afterwards."""
    direct = exchange.feed_spec()
    secrets = errors.secrets_in(direct.credentials)
    with Recording(path, exchange.id, secrets=secrets, now=now) as recording:
        recorder = Recorder(direct, recording)
        base_url = _in_loop(recorder.start())
        spec = replace(direct, base_url=base_url, proxy="", ca_file="", public_only=False)
        cache = OwnMarketCache()
        feed = new_feed(spec, market_cache=cache)
        gate = rate_limits.open_gate(exchange, feed.capabilities, priority=Priority.CHECK)
        try:
            yield ExchangeVisit(feed, spec, direct, recording, gate, cache)
        finally:
            feed.close()
            _in_loop(recorder.stop())


def listen(
    visit: ExchangeVisit, symbols: Sequence[str], *, seconds: float, is_enough: Callable[[StreamTrial], bool]
) -> StreamTrial:
    """Returns what the exchange pushes within so many seconds, or until it is enough. Never raises for the stream."""
    found: StreamTrial = _in_loop(_listen(visit, symbols, seconds, is_enough), seconds=seconds + START_SECONDS)
    return found


async def _listen(
    visit: ExchangeVisit, symbols: Sequence[str], seconds: float, is_enough: Callable[[StreamTrial], bool]
) -> StreamTrial:
    pushed, began = StreamTrial(), time.monotonic()
    stream = open_stream(visit.spec)
    try:
        if visit.packed is not None:
            stream.install_markets(visit.packed)
        await stream.subscribe(symbols)
        pushed.asked = len(frozenset[str]().union(*stream.groups))
        while time.monotonic() - began < seconds and not is_enough(pushed):
            await asyncio.sleep(TICK_SECONDS)
            pushed.quotes |= {quote.symbol: quote for quote in stream.drain()}
            if pushed.quotes and pushed.first_after_seconds is None:
                pushed.first_after_seconds = time.monotonic() - began
            if stream.is_broken and not pushed.quotes:
                break
        pushed.complaint = stream.complaint
    except Exception as error:  # noqa: BLE001  (whatever a client raises, it is what the visit wants to know)
        pushed.complaint = str(error) or type(error).__name__
    finally:
        await stream.close()
    return pushed


def _in_loop(work: Any, *, seconds: float = START_SECONDS) -> Any:
    return asyncio.run_coroutine_threadsafe(work, process_loop()).result(seconds)
