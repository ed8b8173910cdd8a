"""Holds one exchange's right to store, and the quotes that wait to be stored under it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError

from collectors import lease
from collectors.lease import Permit
from collectors.rules.breaker import BreakerState
from collectors.streaming import blocking_calls, handshake
from collectors.streaming.handshake import TICK_SECONDS, LeaseLost, StreamFault
from collectors.streaming.threads import Do
from feeds.base import Quote
from lib import clock

log = structlog.get_logger(__name__)
T = TypeVar("T")

STEP_ASIDE_SECONDS = 0.3  # who waits for the lease looks every 0.1 s


class StreamLease:
    """A lease held from `take` on, until it is handed over, set aside, or somebody else has it."""

    def __init__(self, exchange_id: str, do: Do) -> None:
        self._exchange_id = exchange_id
        self._do = do
        self.permit: Permit | None = None
        self.quotes: dict[str, Quote] = {}  # at most one of each market, the newest
        self.whole: list[Quote] = []  # of a poll, stored beside those of a stream that lacks prices
        self.sound_at = time.monotonic()  # when something was stored, or the database was away
        self._taken_at = self.sound_at

    @property
    def held(self) -> Permit:
        assert self.permit is not None
        return self.permit

    @property
    def retry_at(self) -> datetime | None:
        """Returns until when the exchange, or our own prudence, keeps requests away."""
        return self.permit.health.retry_at if self.permit else None

    def barren_seconds(self, now: float) -> float:
        """Returns how many seconds nothing was fit to store while it could have been."""
        return now - max(self.sound_at, self._taken_at)

    def pause(self, seconds: float) -> None:
        if self.permit is not None:
            health = BreakerState(0, 0, clock.now() + timedelta(seconds=seconds))
            self.permit = replace(self.permit, health=health)

    async def take(self, look: Callable[[], None]) -> None:
        """Takes the lease after a poll under way; `look` raises what ends the wait. What came before is not stored."""
        give_up_at = time.monotonic() + _longest_hold_seconds()
        while not await self._has_taken():
            look()
            if time.monotonic() > give_up_at:
                raise StreamFault("polls never gave the exchange free")
            await asyncio.sleep(TICK_SECONDS)
        self.quotes.clear()
        self.whole.clear()
        self._taken_at = time.monotonic()

    async def _has_taken(self) -> bool:
        self.permit = self.permit or await self._do(blocking_calls.take, self._exchange_id)
        return self.permit is not None

    async def flush(self, pipelines: Mapping[str, int], batch: blocking_calls.Batch) -> bool:
        """Stores what waits; says whether somebody waits for the lease. Raises LeaseLost.

        A database that is away costs time; what is newest meanwhile is stored when it is back.
        """
        whole, self.whole = self.whole, []
        quotes, self.quotes = self.quotes, {}
        try:
            if whole:
                await self._write(whole, pipelines, batch)
            stored, is_asked_for = await self._write(list(quotes.values()), pipelines, batch)
        except (DatabaseError, InterfaceError) as error:
            log.warning("batch_not_stored", exchange=self._exchange_id, error=str(error).strip())
            self.quotes = quotes | self.quotes
            self._note_sound(len(quotes))  # the stream did its part
            return False
        self._note_sound(stored)
        return is_asked_for

    async def _write(
        self, quotes: Sequence[Quote], pipelines: Mapping[str, int], batch: blocking_calls.Batch
    ) -> tuple[int, bool]:
        """Writes; returns how many rows, and whether somebody waits for the lease. Raises LeaseLost."""
        written = await self._do(blocking_calls.write, self.held, quotes, pipelines, batch)
        if written is None:
            await self.give_back()  # an operator's verb leaves it to us, and waits for it
            raise LeaseLost("another collector, or an operator, has the exchange now")
        self.permit, stored, is_asked_for = written
        return stored, is_asked_for

    def _note_sound(self, count: int) -> None:
        if count:
            self.sound_at = time.monotonic()

    async def step_aside(self) -> None:
        """Gives the lease to somebody who waits to call the exchange, such as for a reload of its markets."""
        permit, self.permit = self.held, None
        await self._do(lease.release, permit)
        await asyncio.sleep(STEP_ASIDE_SECONDS)

    async def hand_over(self, error: Exception, correlation_id: str) -> None:
        """Hands the lease to polls, with the record why. While the database is away the lease runs out by itself."""
        silent_since = clock.now() - timedelta(seconds=time.monotonic() - self.sound_at)
        try:
            if not isinstance(error, LeaseLost):
                await self._regain()
            permit, self.permit = self.permit, None
            if permit is not None:
                record = handshake.for_the_record(error)
                await self._do(blocking_calls.end, permit, record, silent_since, correlation_id)
        except (DatabaseError, InterfaceError) as away:
            log.warning("end_not_recorded", exchange=self._exchange_id, error=str(away).strip())

    async def _regain(self) -> None:
        """Takes the lease again if the stream had stepped aside as it ended: nobody else would say why nothing came."""
        give_up_at = time.monotonic() + _longest_hold_seconds()
        while not await self._has_taken() and time.monotonic() < give_up_at:
            await asyncio.sleep(TICK_SECONDS)

    async def give_back(self) -> None:
        """Gives the lease back without a word about the exchange's health."""
        permit, self.permit = self.permit, None
        try:
            if permit is not None:
                await self._do(lease.release, permit)
        except (DatabaseError, InterfaceError) as error:
            log.warning("lease_not_released", exchange=self._exchange_id, error=str(error).strip())


def _longest_hold_seconds() -> float:
    """Returns how many seconds anybody else holds the lease at most: a poll that loads the market list first."""
    return float(settings.MARKETS_DEADLINE_SECONDS + settings.POLL_DEADLINE_SECONDS + lease.LEASE_MARGIN_SECONDS)
