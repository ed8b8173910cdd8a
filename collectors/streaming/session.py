"""Runs one exchange in the stream process: connect, prove delivery, store, fall back to polls, come back."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError

from collectors.lease import Permit
from collectors.polling import poll as ingest
from collectors.rate_limits import RequestGate
from collectors.rules import breaker, streams
from collectors.streaming import blocking_calls, handshake
from collectors.streaming import comparison_poll as shadows
from collectors.streaming.comparison_poll import Shadow
from collectors.streaming.fallback import Fallback, Silence
from collectors.streaming.handshake import TICK_SECONDS, Contradicted, LeaseLost, StreamFault, Unfit
from collectors.streaming.jobs import Jobs
from collectors.streaming.market_data import Depth
from collectors.streaming.ownership import StreamTarget
from collectors.streaming.renewal import Renewal
from collectors.streaming.stream_lease import StreamLease
from collectors.streaming.threads import Threads, Watch
from collectors.streaming.timeline import Timeline
from exchanges.models import Transport
from feeds.base import FeedError, Quote, Throttled
from feeds.streams import QuoteStream, can_stream, forget_learned, open_stream, unstreamed_of
from lib import clock

log = structlog.get_logger(__name__)
T = TypeVar("T")

CLEAN_UP_SECONDS = 5.0
FLUSH_ROWS = 2000  # stored at once, whatever the time: more would hold the loop for longer than a tick
RECYCLE_SECONDS = 72_000.0  # 20 h: binance hangs up after 24, and we would rather choose the moment
STOOD_STILL = "this process stood still"
EXPECTED = (StreamFault, FeedError, DatabaseError, InterfaceError, ingest.ExchangeBusy)


class StreamSession:
    """A stream session of one exchange. `wish` may be replaced while it runs by one that `is_same_session`. `is_ours`
    says that no other process can have taken the exchange."""

    def __init__(
        self, wish: StreamTarget, *, holder: str, threads: Threads, watch: Watch, is_ours: Callable[[], bool]
    ) -> None:
        self.wish = wish
        self._threads = threads
        self._watch = watch
        self._is_ours = is_ours
        self._stream: QuoteStream | None = None
        self._gate: RequestGate | None = None
        self._jobs = Jobs(threads, self._settle)
        self._budget = streams.DialBudget(settings.STREAM_DIALS_PER_FIVE_MINUTES)
        self._pause_seconds = 0.0
        self._markets: blocking_calls.Markets | None = None
        self._heard = streams.Heard.since(time.monotonic(), [])
        self._overtaken_before = 0
        self._rejected_before = 0  # frames that could not be read, when last one could
        self._latest: dict[str, Quote] = {}
        self._fallback = Fallback(self._jobs, self._silence)
        self._last_error: FeedError | None = None
        self._is_distrusted = False
        self._unstreamed = self._lost_fields = self._said = ""
        self._correlation_id = ""  # of the connection under way: in its runs and in the log
        self._renewal = Renewal()
        self._timeline = Timeline(self._jobs.do, holder)
        self._tenure = StreamLease(wish.exchange_id, self._jobs.do)

    async def run(self) -> None:
        """Runs until it is cancelled; then nothing of it is left, neither a connection nor a lease."""
        forget_learned(self.wish.exchange_id)  # an operator's restart begins anew
        fallback = asyncio.create_task(self._fallback.run())
        try:
            await self._live()
        finally:
            fallback.cancel()
            await self._clean_up()

    async def _live(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            self._correlation_id = blocking_calls.new_correlation_id()
            structlog.contextvars.bind_contextvars(correlation_id=self._correlation_id)
            try:
                await self._connect()
                await self._deliver()
            except Exception as error:  # the edge of a session: whatever it was, polls go on
                failures = 1 if time.monotonic() - began > streams.STABLE_SECONDS else failures + 1
                self._last_error = handshake.for_the_record(error)
                self._is_distrusted |= isinstance(error, Contradicted)
                if not isinstance(error, EXPECTED):
                    log.exception("stream_session_failed", exchange=self.wish.exchange_id)
            finally:
                self._fallback.is_silent.set()
                await self._close_stream()
            jittered = streams.backoff_seconds(
                failures - 1,
                base=streams.BACKOFF_SECONDS,
                cap=settings.STREAM_BACKOFF_MAX_SECONDS,
                jitter=random.random(),
            )
            log.info("stream_failed", exchange=self.wish.exchange_id, reason=str(self._last_error), failures=failures)
            await self._timeline.explain(self.wish, str(self._last_error))
            await asyncio.sleep(max(jittered, self._pause_seconds))
            while not can_stream(self.wish.exchange_id) and not self._has_other_markets():
                await asyncio.sleep(TICK_SECONDS)

    def _silence(self) -> Silence:
        return Silence(self.wish, self._last_error, self._correlation_id)

    def _has_other_markets(self) -> bool:
        return self._markets is None or self.wish.markets_version != self._markets.version

    # --- connecting ---------------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        """Subscribes to everything, and waits until some good updates show that it comes. Raises StreamFault."""
        while not self._is_ours():
            await asyncio.sleep(TICK_SECONDS)
        await self._timeline.tell(self.wish)
        if self._markets is None:
            self._markets = await self._jobs.do(blocking_calls.load_markets, self.wish)
        else:
            self._markets = await self._jobs.do(blocking_calls.known_markets, self.wish, self._markets)
        self._gate = self._gate or await self._jobs.do(blocking_calls.open_dial_gate, self.wish)
        stream = self._stream = self._stream or self._open()
        self._heard = await handshake.dial(stream, self._markets, self._budget)
        check = self._stall_check()
        await handshake.prove(stream, self._heard, check)
        if self._is_distrusted:
            await handshake.wait_for_agreement(
                stream, self._heard, check, polled=self._newest_since(clock.now()),
                patience_seconds=settings.STREAM_CONNECT_SECONDS + 2 * self.wish.interval_seconds,
            )  # fmt: skip
            self._is_distrusted = False

    def _open(self) -> QuoteStream:
        return open_stream(self.wish.spec, ping_seconds=settings.STREAM_PING_SECONDS or None, gate=self._gate)

    def _newest_since(self, moment: datetime) -> Callable[[], asyncio.Future[list[Quote]]]:
        assert self._markets is not None
        return partial(self._threads.start, blocking_calls.newest, self._markets.pipelines, moment)

    def _stall_check(self) -> Callable[[], None]:
        return partial(self._check_stalls, self._watch.stalls)

    # --- delivering ---------------------------------------------------------------------------------------------------

    async def _deliver(self) -> None:
        """Stores what comes, until a StreamFault says that it is no longer to be believed."""
        self._latest.clear()
        self._fallback.is_silent.clear()  # before the lease: polls that follow each other closely would keep it
        await self._take()
        self._tenure.sound_at = time.monotonic()
        depth = asyncio.create_task(Depth(self._jobs.do, self._scene, self._stall_check()).run())
        try:
            self._unstreamed = unstreamed_of(self._dialled)
            reason = "delivers again" if self._last_error else ""
            self._said = streams.shortcomings(self._unstreamed, self._lost_fields)
            reason = "; ".join(filter(None, [reason, self._said]))
            await self._timeline.note(self.wish, is_delivering=True, reason=reason)
            await self._store_what_comes(time.monotonic())
        except Exception as error:  # whatever it was, polls have to begin; raised again
            await self._tenure.hand_over(error, self._correlation_id)
            await self._timeline.note(self.wish, is_delivering=False, reason=handshake.in_words(error))
            raise
        finally:
            depth.cancel()

    @property
    def _dialled(self) -> QuoteStream:
        assert self._stream is not None
        return self._stream

    def _scene(self) -> tuple[StreamTarget, QuoteStream]:
        return self.wish, self._dialled

    async def _take(self) -> None:
        await self._tenure.take(self._look_while_waiting)
        self._set_aside()
        self._count_anew()

    def _look_while_waiting(self) -> None:
        self._set_aside()
        self._check_stream(time.monotonic())

    def _set_aside(self) -> None:
        """Keeps quotes to be compared with polls, but not stored."""
        self._latest |= {quote.symbol: quote for quote in handshake.take_in(self._dialled, self._heard)}

    def _count_anew(self) -> None:
        self._overtaken_before = self._dialled.overtaken_count
        self._rejected_before = self._dialled.rejected_frames

    async def _store_what_comes(self, began: float) -> None:
        batch = blocking_calls.Batch(started_at=clock.now(), correlation_id=self._correlation_id)
        check, shadow = self._stall_check(), Shadow(self._threads, began=began)
        self._renewal = Renewal(began)
        flushed_at = began
        while True:
            await asyncio.sleep(TICK_SECONDS)
            check()
            now = time.monotonic()
            batch.overtaken += self._take_in(now)
            self._check_stream(now)
            await self._renew_when_old(now)
            waiting = len(self._tenure.quotes)
            if now - flushed_at >= settings.STREAM_FLUSH_SECONDS or waiting >= FLUSH_ROWS:
                flushed_at = now
                await self._timeline.tell(self.wish)
                await self._tell_shortcomings()
                await self._follow_markets()
                await self._flush(batch, now)
            self._look_aside(shadow, now)

    async def _tell_shortcomings(self) -> None:
        """Tells once what the exchange does not push, where that is learned while the rest is delivered."""
        self._unstreamed = unstreamed_of(self._dialled)
        said = streams.shortcomings(self._unstreamed, self._lost_fields)
        if said != self._said:
            self._said = said
            await self._timeline.explain(self.wish, said)

    def _take_in(self, now: float) -> int:
        """Takes in at most one quote of each market, the newest; returns the number of those that it replaced."""
        quotes, held = self._dialled.drain(), self._tenure.quotes
        overtaken = self._dialled.overtaken_count - self._overtaken_before
        self._overtaken_before += overtaken
        for quote in quotes:
            overtaken += quote.symbol in held
            held[quote.symbol] = self._latest[quote.symbol] = quote
        if quotes:
            self._rejected_before = self._dialled.rejected_frames
        self._heard.note([quote.symbol for quote in quotes], now)
        return overtaken

    def _check_stream(self, now: float) -> None:
        if self._dialled.is_broken:
            raise StreamFault(self._dialled.complaint)
        silence = streams.silence(self._heard, now, limit_seconds=settings.STREAM_SILENCE_SECONDS)
        if silence:
            kind = Unfit if self._dialled.rejected_frames > self._rejected_before else StreamFault
            raise kind(f"{silence}; {self._dialled.complaint}" if self._dialled.complaint else silence)

    def _check_stalls(self, stalls: int) -> None:
        if self._watch.stood_still_since(stalls) or not self._is_ours():
            self._tenure.quotes.clear()
            raise LeaseLost(STOOD_STILL)

    async def _flush(self, batch: blocking_calls.Batch, now: float) -> None:
        assert self._markets is not None
        if await self._tenure.flush(self._markets.pipelines, batch):
            await self._tenure.step_aside()
            await self._take()
            batch.started_at = clock.now()
        barren = self._tenure.barren_seconds(now)
        if barren > settings.STREAM_SILENCE_SECONDS:
            raise Unfit(f"no ticker fit to store for {barren:.1f} s{batch.why_not}")

    async def _follow_markets(self) -> None:
        """Follows a changed list: subscribes to markets that came, drops those that went; the rest goes on."""
        assert self._markets is not None
        if self.wish.markets_version == self._markets.version:
            return
        before = self._markets
        try:
            self._markets = await self._jobs.do(blocking_calls.known_markets, self.wish, before)
        except (DatabaseError, InterfaceError) as error:
            log.warning("markets_not_known", exchange=self.wish.exchange_id, error=str(error).strip())
            return
        self._take_in(time.monotonic())  # what came until now was read by the list before
        self._forget_moved(before.pipelines, self._markets.pipelines)
        await self._ask_for(self._markets)

    def _forget_moved(self, before: Mapping[str, int], now: Mapping[str, int]) -> None:
        """Forgets the quotes of symbols that are another market's now, or none's."""
        same = {symbol for symbol, pipeline_id in now.items() if before.get(symbol, pipeline_id) == pipeline_id}
        held = self._tenure.quotes
        for symbol in held.keys() - same:
            del held[symbol]
        self._tenure.whole = [quote for quote in self._tenure.whole if quote.symbol in same]
        self._latest = {symbol: quote for symbol, quote in self._latest.items() if symbol in same}

    async def _ask_for(self, markets: blocking_calls.Markets) -> None:
        if markets.packed is not None:
            self._dialled.install_markets(markets.packed)
        before = len(self._dialled.groups)
        await self._dialled.subscribe(markets.pushed)
        self._budget.spend(time.monotonic(), max(0, len(self._dialled.groups) - before))
        self._heard.regroup(self._dialled.groups, time.monotonic())

    # --- beside the stream: a poll, and the connection that follows this one -----------------------------------------

    def _look_aside(self, shadow: Shadow, now: float) -> None:
        """Compares a poll with the stream. Raises Contradicted when the poll says otherwise."""
        assert self._markets is not None
        try:
            poll = shadow.answer(self.wish, self._latest.keys(), self._markets)
        except Throttled as error:
            self._tenure.pause(error.retry_after_seconds or breaker.THROTTLE_PAUSE_SECONDS)
            poll = None
        if poll is not None and shadows.is_outdated(self._latest, poll):
            log.info("shadow_poll_outdated", exchange=self.wish.exchange_id, cached_seconds=poll.cached_seconds)
            poll = None
        if poll is not None:
            if streams.is_talking(self._heard, now, limit_seconds=settings.STREAM_SILENCE_SECONDS):
                shadows.judge(self._latest, poll, frozenset[str]().union(*self._dialled.groups))
                self._lost_fields = streams.lost_fields(self._latest, poll.quotes)
                self._complete(poll.quotes)
            for quote in shadows.quiet_ones(self._latest, poll, interval_seconds=self.wish.interval_seconds):
                if quote.symbol in self._markets.pipelines:
                    self._tenure.quotes.setdefault(quote.symbol, quote)
        if shadow.is_due(now, self.wish, has_quiet=self._has_quiet) and not self._must_not_ask():
            pipelines = self._markets.pipelines
            unmeasured = shadows.unmeasured(self._latest, pipelines)
            symbols, generation = self._to_compare(pipelines), self._tenure.held.generation
            shadow.ask(now, self.wish, symbols, generation, unmeasured, self._markets)

    def _complete(self, polled: Sequence[Quote]) -> None:
        """Stores the whole rows of a poll beside the stream's, which lacks prices that they have."""
        assert self._markets is not None
        if self._lacks_prices:
            self._tenure.whole = [quote for quote in polled if quote.symbol in self._markets.pipelines]

    @property
    def _lacks_prices(self) -> bool:
        return bool(streams.indispensable(self._lost_fields))

    def _to_compare(self, symbols: Iterable[str]) -> list[str]:
        """Returns what a comparison poll asks for: where only a stream may collect, what the exchange does not push."""
        pushed = frozenset[str]().union(*self._dialled.groups)
        if self.wish.transport == Transport.AUTO:
            return list(symbols)
        return [symbol for symbol in symbols if symbol not in pushed]

    def _has_quiet(self) -> bool:
        assert self._markets is not None
        at, interval = clock.now().timestamp(), self.wish.interval_seconds
        return self._lacks_prices or any(
            shadows.is_quiet(self._latest.get(symbol), at, interval) for symbol in self._markets.pipelines
        )

    def _must_not_ask(self) -> bool:
        moments = self.wish.retry_at, self._tenure.retry_at
        may_poll = self.wish.transport == Transport.AUTO or self._unstreamed
        return not may_poll or any(moment and moment > clock.now() for moment in moments)

    async def _renew_when_old(self, now: float) -> None:
        """Proves the next connection before this one is closed: nothing is missed, and no transport changes."""
        assert self._markets is not None
        ages = RECYCLE_SECONDS, self._dialled.longest_seconds or RECYCLE_SECONDS
        if self._renewal.is_due(now, min(ages)):
            self._renewal.begin(now, self._open(), self._markets, self._budget, self._stall_check())
        if (proven := self._renewal.take()) is not None:
            old, (self._stream, self._heard) = self._dialled, proven
            if self._renewal.markets is not self._markets:
                self._dialled.drain()  # read by another list
                await self._ask_for(self._markets)
            self._count_anew()
            self._jobs.add(asyncio.ensure_future(old.close()))
            self._renewal = Renewal(now)
            log.info("stream_renewed", exchange=self.wish.exchange_id)

    # --- odds and ends ------------------------------------------------------------------------------------------------

    async def _close_stream(self) -> None:
        """Closes the stream; the client is kept with its markets. What fails here does not end the session."""
        try:
            await self._renewal.cancel()
            if self._stream is not None:
                self._pause_seconds = self._stream.dial_pause_seconds
        except Exception:  # the edge of a session
            log.exception("stream_not_closed", exchange=self.wish.exchange_id)
        finally:
            if self._stream is not None:
                await self._stream.close()

    async def _clean_up(self) -> None:
        """Waits for jobs under way, as one of them may be taking the lease, and gives everything back."""
        try:
            await self._jobs.wait(CLEAN_UP_SECONDS)
            await self._tenure.give_back()
        finally:
            await self._close_stream()

    def _settle(self, result: Any) -> None:
        """Keeps a lease that was taken for somebody who has gone, so that `_clean_up` gives it back."""
        if isinstance(result, Permit) and self._tenure.permit is None:
            self._tenure.permit = result
