"""Keeps the jobs that one session has in threads, so that nothing they take is lost when whoever asked has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from collectors.streaming.threads import Threads

T = TypeVar("T")


class Jobs:
    """The jobs under way of one session. `settle` is told each result, also of jobs that nobody waits for any more."""

    def __init__(self, threads: Threads, settle: Callable[[Any], None]) -> None:
        self._threads = threads
        self._settle = settle
        self._pending: set[asyncio.Future[Any]] = set()

    async def do(self, work: Callable[..., T], *arguments: Any) -> T:
        return await self._follow(self._threads.start(work, *arguments))

    async def do_slow(self, work: Callable[..., T], *arguments: Any) -> T:
        return await self._follow(self._threads.start_slow(work, *arguments))

    def add(self, job: asyncio.Future[Any]) -> None:
        """Lets `wait` wait for a job of the loop's own, too."""
        self._pending.add(job)
        job.add_done_callback(self._pending.discard)

    async def wait(self, seconds: float) -> None:
        """Waits for what is under way, at most so long."""
        if self._pending:
            await asyncio.wait(self._pending, timeout=seconds)

    async def _follow(self, job: asyncio.Future[T]) -> T:
        self._pending.add(job)
        job.add_done_callback(self._note)
        return await asyncio.shield(job)

    def _note(self, job: asyncio.Future[Any]) -> None:
        self._pending.discard(job)
        if not job.cancelled() and job.exception() is None:
            self._settle(job.result())
