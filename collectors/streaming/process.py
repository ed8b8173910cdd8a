"""Runs `manage.py stream`: a session for each exchange that this process holds, looked after twice a second."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import socket
import time
import uuid
from collections.abc import Iterable
from functools import partial

import structlog
import uvloop
from django.conf import settings
from django.db import DatabaseError, InterfaceError

from collectors.rules import streams
from collectors.streaming import ownership
from collectors.streaming.ownership import StreamTarget
from collectors.streaming.session import StreamSession
from collectors.streaming.threads import Threads, Watch
from lib import clock, liveness

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.4  # an operator's verb is obeyed within a second
RENEWALS = 4  # in the life of a lease
FAREWELL_SECONDS = 4.0


def run_forever() -> None:
    """Runs until SIGTERM or SIGINT. A database that is away costs exchanges, not the process."""
    uvloop.run(Process().run())


class Process:
    def __init__(self) -> None:
        self._holder = f"{socket.gethostname()[:60]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._threads = Threads()
        self._watch = Watch(min(settings.STREAM_SILENCE_SECONDS, settings.STREAM_LEASE_SECONDS / 2))
        self._sessions: dict[str, StreamSession] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ours_until: dict[str, float] = {}
        self._pauses = streams.Pauses()
        self._looked_after_at = -math.inf

    async def run(self) -> None:
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        watch = asyncio.create_task(self._watch.run())
        try:
            while not stopped.is_set():
                await self._look()
                liveness.note()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopped.wait(), LOOK_SECONDS)
        finally:
            watch.cancel()
            await self._stop(list(self._tasks), "the process that listened has ended")
            with contextlib.suppress(DatabaseError, InterfaceError):
                await self._threads.start(ownership.leave, self._holder)
            self._threads.close()

    async def _look(self) -> None:
        try:
            wishes = await self._threads.start(ownership.wishes)
            await self._obey(wishes)
            if clock.state().is_far_off:
                await self._stop(list(self._sessions), "this host's clock is wrong")
            if time.monotonic() - self._looked_after_at > settings.STREAM_LEASE_SECONDS / RENEWALS:
                self._looked_after_at = time.monotonic()
                await self._renew()
                await self._share(wishes)
        except (DatabaseError, InterfaceError) as error:
            log.warning("stream_look_failed", error=str(error).strip())
        late = [pk for pk, until in self._ours_until.items() if until < time.monotonic()]
        await self._stop(late, "the database did not answer in time")

    async def _obey(self, wishes: dict[str, StreamTarget]) -> None:
        """Stops what is no longer wanted, or not so; tells the rest of changed markets."""
        await self._stop([pk for pk, task in self._tasks.items() if task.done()], "its session has failed")
        gone = [
            pk
            for pk, session in self._sessions.items()
            if pk not in wishes or not session.wish.is_same_session(wishes[pk])
        ]
        await self._stop(gone, "an operator's change")
        for pk, session in self._sessions.items():
            session.wish = wishes[pk]

    async def _renew(self) -> None:
        asked_at = time.monotonic()
        if not self._sessions:
            return
        seconds = settings.STREAM_LEASE_SECONDS
        held = await self._threads.start(partial(ownership.renew, self._holder, list(self._sessions), seconds=seconds))
        self._ours_until |= dict.fromkeys(held, asked_at + seconds)
        await self._stop([pk for pk in self._sessions if pk not in held], "another process has taken over")

    async def _share(self, wishes: dict[str, StreamTarget]) -> None:
        """Holds no more than a fair share: the surplus is given up one at a time, so that its new listener keeps up."""
        seconds = settings.STREAM_LEASE_SECONDS
        processes = await self._threads.start(partial(ownership.count_processes, self._holder, seconds=seconds))
        fair = math.ceil(len(wishes) / processes)
        if len(self._sessions) > fair:
            await self._stop([max(self._sessions)], "another process shares the work")
        free = [pk for pk in wishes if pk not in self._sessions and not self._pauses.holds(pk, time.monotonic())]
        if len(self._sessions) < fair and free:
            asked_at = time.monotonic()
            most = fair - len(self._sessions)
            claim = partial(ownership.claim, self._holder, free, most=most, seconds=seconds)
            for pk in await self._threads.start(claim):
                self._ours_until[pk] = asked_at + seconds
                self._begin(wishes[pk])

    def _begin(self, wish: StreamTarget) -> None:
        pk = wish.exchange_id
        session = StreamSession(
            wish,
            holder=self._holder,
            threads=self._threads,
            watch=self._watch,
            is_ours=lambda: self._ours_until.get(pk, 0.0) > time.monotonic(),
        )
        self._sessions[pk] = session
        self._pauses.note_begin(pk, time.monotonic())
        self._tasks[pk] = asyncio.create_task(session.run(), name=f"stream:{pk}")
        log.info("stream_begun", exchange=pk, holder=self._holder)

    async def _stop(self, exchange_ids: Iterable[str], reason: str) -> None:
        tasks = {}
        for pk in set(exchange_ids):
            self._ours_until.pop(pk, None)
            self._sessions.pop(pk, None)
            if task := self._tasks.pop(pk, None):
                task.cancel()
                tasks[pk] = task
        if not tasks:
            return
        done, _ = await asyncio.wait(tasks.values(), timeout=FAREWELL_SECONDS)
        for pk, task in tasks.items():
            said, error = reason, task.exception() if task in done and not task.cancelled() else None
            if error is not None:
                log.error("stream_session_ended", exchange=pk, exc_info=error)
                said = f"{reason}: {type(error).__name__}: {error}"
                self._pauses.note_failure(pk, time.monotonic(), cap=settings.STREAM_BACKOFF_MAX_SECONDS)
            release = partial(ownership.release, self._holder, pk, reason=said, has_failed=error is not None)
            with contextlib.suppress(DatabaseError, InterfaceError):
                await self._threads.start(release)
            log.info("stream_ended", exchange=pk)
