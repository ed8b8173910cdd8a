"""Compares prices by a poll beside a stream, which also proves that markets the stream says nothing of are alive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

import structlog
from django.conf import settings

from collectors.gaps import parts
from collectors.polling import market_list
from collectors.polling import poll as ingest
from collectors.rules import age, streams
from collectors.streaming import blocking_calls
from collectors.streaming.blocking_calls import Markets
from collectors.streaming.handshake import Contradicted
from collectors.streaming.ownership import StreamTarget
from collectors.streaming.threads import Threads
from feeds.base import Identities, Poll, Quote, Throttled
from lib import clock

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0  # between two looks through all markets for quiet ones


class Shadow:
    """The comparison polls of one session: every n-th interval, or every one while a market is quiet, as its silence
    would become a gap."""

    def __init__(self, threads: Threads, *, began: float) -> None:
        self._threads = threads
        self._asked_at = began
        self._looked_at = began
        self._under_way: asyncio.Future[Poll] | None = None
        self._generation = 0
        self._asked_by: Identities = {}

    def is_due(self, now: float, wish: StreamTarget, *, has_quiet: Callable[[], bool]) -> bool:
        every = settings.STREAM_SHADOW_INTERVALS
        waited = now - self._asked_at
        if not every or self._under_way is not None or waited < wish.interval_seconds:
            return False
        if waited >= every * wish.interval_seconds:
            return True
        if now - self._looked_at < LOOK_SECONDS:
            return False
        self._looked_at = now
        return has_quiet()

    def ask(
        self,
        now: float,
        wish: StreamTarget,
        symbols: Collection[str],
        generation: int,
        unmeasured: Mapping[str, int],
        markets: Markets,
    ) -> None:
        self._asked_at, self._generation, self._asked_by = now, generation, markets.identities
        self._under_way = self._threads.start_slow(
            blocking_calls.compare, wish, symbols, generation, unmeasured, markets.identities
        )

    def answer(self, wish: StreamTarget, pushed: Collection[str], markets: Markets) -> Poll | None:
        """Returns the poll that has ended meanwhile, if any, and notes what it went without though the stream does not
        bring it either; None, too, where the list has changed since it was asked. Raises Throttled; any other failure
        decides nothing."""
        if self._under_way is None or not self._under_way.done():
            return None
        ended, self._under_way = self._under_way, None
        try:
            poll = ended.result()
            self._threads.start_slow(note_poll, wish, poll, self._generation, frozenset(pushed))
            return poll if self._asked_by is markets.identities else None
        except Throttled:
            raise
        except Exception as error:  # noqa: BLE001 - a poll beside the stream decides nothing by failing
            log.info("shadow_poll_failed", exchange=wish.exchange_id, error=str(error))
            return None


def judge(pushed: Mapping[str, Quote], poll: Poll, subscribed: Collection[str]) -> None:
    """Compares the stream with a poll, in the markets that are subscribed to. Raises Contradicted where the stream is
    not what the poll shows."""
    polled = [quote for quote in poll.quotes if quote.symbol in subscribed]
    reason = streams.contradiction(pushed, polled, tolerance=streams.DISAGREEMENT_SHARE)
    if reason:
        raise Contradicted(reason)


def is_outdated(pushed: Mapping[str, Quote], poll: Poll) -> bool:
    """Says whether a poll's answer is older than what was pushed before it, as one out of a cache is: it neither
    contradicts the stream nor overrules what it brought."""
    asked = age.newest(quote.exchange_at for quote in poll.quotes)
    heard = age.newest(quote.exchange_at for quote in pushed.values())
    return age.is_behind(asked, heard) or (poll.cached_seconds or 0.0) > age.limit_seconds(None)


def note_poll(wish: StreamTarget, poll: Poll, generation: int, pushed: Collection[str]) -> None:
    """Notes parts that the poll went without, and rows of markets that the list lacks: then it is loaded anew, for
    which the stream steps aside. A plain function, run in a thread."""
    now = clock.now()
    left = [part._replace(symbols=tuple(each for each in part.symbols if each not in pushed)) for part in poll.missing]
    pipelines = market_list.pipelines_of(wish.exchange_id, wish.markets_version)
    parts.note(wish.exchange_id, generation, left, pipelines, started_at=now, seen_at=now)
    is_due = market_list.note_unknown(wish.exchange_id, generation, poll.unknown_count, now)
    if is_due and market_list.may_try_again(wish.exchange_id):
        ingest.refresh_markets(wish.exchange_id, now=now)


def quiet_ones(pushed: Mapping[str, Quote], poll: Poll, *, interval_seconds: float) -> list[Quote]:
    """Returns the poll's quotes of quiet markets: a stream sends nothing where nothing happens; the poll has prices."""
    return [quote for quote in poll.quotes if is_quiet(pushed.get(quote.symbol), quote.received_at, interval_seconds)]


def unmeasured(pushed: Mapping[str, Quote], pipelines: Mapping[str, int]) -> dict[str, int]:
    """Returns symbol to pipeline of the markets whose volume the stream does not tell."""
    return {
        symbol: pipelines[symbol]
        for symbol, quote in pushed.items()
        if (quote.quote_volume is None or quote.base_volume is None) and symbol in pipelines
    }


def is_quiet(known: Quote | None, at: float, interval_seconds: float) -> bool:
    return known is None or at - known.received_at > interval_seconds
