"""Runs what blocks in threads: short jobs for the database, slow ones for polls, and watches the loop itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from django.db import close_old_connections

T = TypeVar("T")

DATABASE_THREADS = 4  # a connection each
POLL_THREADS = 4
WATCH_SECONDS = 0.25


class Do(Protocol):
    """A callable that runs what blocks in a thread."""

    def __call__(self, work: Callable[..., T], *arguments: Any) -> Awaitable[T]: ...


class Threads:
    def __init__(self) -> None:
        self._database = ThreadPoolExecutor(DATABASE_THREADS, thread_name_prefix="database")
        self._polls = ThreadPoolExecutor(POLL_THREADS, thread_name_prefix="polls")

    def start(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return self._submit(self._database, work, arguments)

    def start_slow(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return self._submit(self._polls, work, arguments)

    @staticmethod
    def _submit(pool: ThreadPoolExecutor, work: Callable[..., T], arguments: tuple[Any, ...]) -> asyncio.Future[T]:
        job = asyncio.get_running_loop().run_in_executor(pool, _with_connection, work, arguments)
        job.add_done_callback(_look_at)  # who asked may be gone, and asyncio would complain of an error unseen
        return job

    def close(self) -> None:
        for pool in (self._database, self._polls):
            pool.shutdown(wait=False, cancel_futures=True)


def _look_at(job: asyncio.Future[Any]) -> None:
    if not job.cancelled():
        job.exception()


def _with_connection(work: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    close_old_connections()
    try:
        return work(*arguments)
    finally:
        close_old_connections()


class Watch:
    """A watch that notices when this process stood still (stopped, swapped, parser hung): what it heard is then old."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit = limit_seconds
        self._beat_at = time.monotonic()
        self.stalls = 0

    async def run(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self.stalls += self._is_late()
            self._beat_at = time.monotonic()

    def stood_still_since(self, stalls: int) -> bool:
        return self.stalls != stalls or self._is_late()

    def _is_late(self) -> bool:
        return time.monotonic() - self._beat_at > WATCH_SECONDS + self._limit
