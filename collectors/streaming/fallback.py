"""Polls an exchange while its stream does not deliver, or, where polls are not wanted, records that nothing comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from collectors.polling import poll as ingest
from collectors.streaming import blocking_calls
from collectors.streaming.handshake import TICK_SECONDS
from collectors.streaming.jobs import Jobs
from collectors.streaming.ownership import StreamTarget
from exchanges.models import Transport
from feeds.base import FeedError
from feeds.streams import can_stream

log = structlog.get_logger(__name__)

LOOK_AGAIN_SHARE = 0.25  # of an interval, when somebody else has polled in it


class Silence(NamedTuple):
    """Which stream is silent, and what its last attempt failed of."""

    wish: StreamTarget
    last_error: FeedError | None
    correlation_id: str


class Fallback:
    """The polls of one session. They are made while `is_silent` is set."""

    def __init__(self, jobs: Jobs, silence: Callable[[], Silence]) -> None:
        self._jobs = jobs
        self._silence = silence
        self.is_silent = asyncio.Event()
        self.is_silent.set()

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await self.is_silent.wait()
            began, (wish, _, _) = time.monotonic(), self._silence()
            pause = wish.interval_seconds
            try:
                if await self._has_been_polled():
                    pause *= LOOK_AGAIN_SHARE
            except Exception as error:  # noqa: BLE001 - recorded by the cycle, or the database is away
                log.warning("fallback_failed", exchange=wish.exchange_id, error=str(error).strip())
            await asyncio.sleep(max(TICK_SECONDS, pause - (time.monotonic() - began)))

    async def _has_been_polled(self) -> bool:
        """Polls, or writes the failure down; says whether somebody else had just polled."""
        wish, last_error, correlation_id = self._silence()
        if wish.transport == Transport.AUTO or not can_stream(wish.exchange_id):
            return await self._jobs.do_slow(blocking_calls.poll, wish) == ingest.SKIPPED
        if last_error:
            await self._jobs.do_slow(blocking_calls.note_failure, wish.exchange_id, last_error, correlation_id)
        return False
