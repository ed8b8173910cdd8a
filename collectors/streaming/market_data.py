"""Stores books and trades beside a session's tickers, over the same client; whatever fails here, tickers go on."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError

from collectors.market_data import streamed
from collectors.market_data.streamed import Plan, Saved, StreamTally
from collectors.rules import streams
from collectors.streaming import blocking_calls
from collectors.streaming.handshake import LeaseLost
from collectors.streaming.ownership import StreamTarget
from collectors.streaming.threads import Do
from exchanges.depth_settings import BOOKS, TRADES, parse
from feeds.base import OrderBook, Superseded
from feeds.streams import DepthStream, QuoteStream, TakenTrades, depth_of
from lib import clock

log = structlog.get_logger(__name__)
T = TypeVar("T")

TICK_SECONDS = 0.25
PLAN_SECONDS = 30.0  # which markets are the largest changes slowly
LONGEST_FLUSH_SECONDS = 1.0
NEVER = (-math.inf, -math.inf)
MOST_UNSAVED = 20_000  # trades of one market, while the database is away


class Depth:
    """The market data of one delivering session. `scene` is what is wanted, and the stream, which may be replaced
    by a younger one."""

    def __init__(
        self, do: Do, scene: Callable[[], tuple[StreamTarget, QuoteStream]], check: Callable[[], None]
    ) -> None:
        self._do = do
        self._scene = scene
        self._check = check
        self._plan: Plan | None = None
        self._planned: tuple[object, ...] = ()
        self._planned_at = self._flushed_at = -math.inf
        self._booked: dict[str, tuple[float, float]] = {}  # when a book was stored, and when it had been received
        self._written_at = time.monotonic()
        self._unsaved: dict[str, TakenTrades] = {}
        self._tallies: dict[str, StreamTally] = {}
        self._complaint = ""

    async def run(self) -> None:
        """Runs until it is cancelled, or the process has stood still: then what was heard is old."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                self._check()
                await self._step(time.monotonic())
            except LeaseLost:
                return
            except Superseded as error:
                self._planned = ()
                log.info("depth_not_stored", exchange=self._scene()[0].exchange_id, reason=str(error))
            except (DatabaseError, InterfaceError) as error:
                log.warning("depth_not_stored", exchange=self._scene()[0].exchange_id, error=str(error).strip())
            except Exception:  # the edge of what stands beside the tickers
                log.exception("depth_failed", exchange=self._scene()[0].exchange_id)

    async def _step(self, now: float) -> None:
        wish, stream = self._scene()
        depth = depth_of(stream)
        if depth is None:
            return
        await self._make_plan(wish, now)
        plan = self._plan
        if plan is None:
            return
        depth.want(plan.books.keys(), plan.trades.keys())
        depth.ask(
            silence_seconds=settings.STREAM_SILENCE_SECONDS,
            pause_seconds=streams.BACKOFF_SECONDS,
            longest_pause_seconds=settings.STREAM_BACKOFF_MAX_SECONDS,
        )
        if depth.complaint != self._complaint:
            self._complaint = depth.complaint
            log.info("depth_complaint", exchange=wish.exchange_id, reason=self._complaint)
        if now - self._flushed_at >= min(settings.STREAM_FLUSH_SECONDS, LONGEST_FLUSH_SECONDS):
            self._flushed_at = now
            await self._save_trades(plan, depth)
        if BOOKS in plan.wanted:
            await self._save_books(plan, depth, now)
        if now - self._written_at >= blocking_calls.RUN_SECONDS:
            self._written_at = now
            await self._write_down(wish.exchange_id)

    async def _make_plan(self, wish: StreamTarget, now: float) -> None:
        """Plans anew when an operator has changed something; without anything wanted, nobody is asked."""
        wanted = (wish.depth, wish.generation, wish.markets_version)
        if wanted == self._planned and now - self._planned_at < PLAN_SECONDS:
            return
        if not self._plan and not parse(wish.depth):
            self._planned, self._planned_at = wanted, now
            return
        self._plan = await self._do(_plan, wish.exchange_id, wish.generation)
        self._planned, self._planned_at = wanted, now

    async def _save_books(self, plan: Plan, depth: DepthStream, now: float) -> None:
        """Saves the books that are due, new and alive; what the stream has not touched for long is left to requests."""
        wanted, oldest = plan.wanted[BOOKS], clock.unix() - settings.STREAM_SILENCE_SECONDS
        booked = self._booked = {symbol: known for symbol, known in self._booked.items() if symbol in plan.books}
        due = [symbol for symbol in plan.books if now - booked.get(symbol, NEVER)[0] >= wanted.seconds]
        found = depth.books(due, wanted.levels)
        alive = {
            symbol: book
            for symbol, book in found.items()
            if book.received_at >= oldest and book.received_at > booked.get(symbol, NEVER)[1]
        }
        if not alive:
            return
        booked |= {symbol: (now, book.received_at) for symbol, book in alive.items()}
        saved = await self._do(_save_books, plan, alive)
        self._count(BOOKS, saved)
        for symbol in saved.unsound:
            depth.renew(symbol)

    async def _save_trades(self, plan: Plan, depth: DepthStream) -> None:
        for symbol, taken in depth.take_trades().items():
            self._unsaved[symbol] = _together(self._unsaved.get(symbol), taken)
        for symbol in list(self._unsaved):
            if symbol in plan.trades:
                self._count(TRADES, await self._do(_save_trades, plan, symbol, self._unsaved[symbol]))
            del self._unsaved[symbol]

    def _count(self, kind: str, saved: Saved) -> None:
        tally = self._tallies.setdefault(kind, StreamTally(clock.now()))
        tally.answered += saved.answered
        tally.stored += saved.stored
        tally.rejected += saved.rejected
        tally.repaired |= saved.repaired

    async def _write_down(self, exchange_id: str) -> None:
        tallies, self._tallies = self._tallies, {}
        for kind, tally in tallies.items():
            await self._do(_write_down, exchange_id, kind, tally)


def _together(before: TakenTrades | None, taken: TakenTrades) -> TakenTrades:
    if before is None:
        return taken
    trades = (*before.page.trades, *taken.page.trades)
    rejected = (*before.page.rejected, *taken.page.rejected)
    page = taken.page._replace(trades=trades[-MOST_UNSAVED:], rejected=rejected[-MOST_UNSAVED:])
    return TakenTrades(page, before.follows and taken.follows and len(trades) <= MOST_UNSAVED)


def _plan(exchange_id: str, generation: int) -> Plan | None:
    return streamed.plan(exchange_id, generation, now=clock.now())


def _save_books(plan: Plan, books: dict[str, OrderBook]) -> Saved:
    return streamed.save_books(plan, books, now=clock.now())


def _save_trades(plan: Plan, symbol: str, taken: TakenTrades) -> Saved:
    return streamed.save_trades(plan, symbol, taken, now=clock.now())


def _write_down(exchange_id: str, kind: str, tally: StreamTally) -> None:
    streamed.write_down(exchange_id, kind, tally, now=clock.now())
