"""Bodies that the pulse publishes in Valkey and web processes hand out; without it a process renders once for all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import redis

from lib import valkey

T = TypeVar("T")

ASK_EVERY_SECONDS = 0.1


class PublishedCopy(Generic[T]):
    """This process's copy of something that is published. One thread asks for news; the others go on with the copy.

    `fetch` is given the copy (None at first) and returns what is published now: the copy itself when nothing is new,
    None when nothing is there. It may raise redis.RedisError: then the copy is kept, for as long as its reader finds it
    good, and Valkey is left alone for a second.
    """

    def __init__(
        self,
        fetch: Callable[[T | None], T | None],
        *,
        availability: valkey.Availability | None = None,
        ask_every_seconds: float = ASK_EVERY_SECONDS,
    ) -> None:
        self.ask_every_seconds = ask_every_seconds
        self._fetch = fetch
        self._availability = availability or valkey.Availability()
        self._lock = threading.Lock()
        self._held: T | None = None
        self._asked_at = 0.0

    def newest(self) -> T | None:
        """Returns what was published last, as far as this process knows. Its reader decides how old it may be."""
        held = self._held
        if held is not None and time.monotonic() - self._asked_at < self.ask_every_seconds:
            return held  # nearly every call ends here
        if not self._should_ask():
            return held
        if not self._lock.acquire(blocking=self._held is None):
            return self._held
        try:
            if self._should_ask():  # the thread that had the lock before may have asked
                self._ask()
            return self._held
        finally:
            self._lock.release()

    def forget(self) -> None:
        """Forgets the copy: the next reader asks Valkey, and for everything."""
        self._held = None
        self._availability.forget()

    def _should_ask(self) -> bool:
        is_due = self._held is None or time.monotonic() - self._asked_at >= self.ask_every_seconds
        return is_due and self._availability.is_worth_a_try()

    def _ask(self) -> None:
        try:
            self._held = self._fetch(self._held)
        except redis.RedisError:
            self._availability.failed()
        self._asked_at = time.monotonic()


class SharedRendering(Generic[T]):
    """Something that one thread renders for all that wait for it.

    What was begun after a reader came is as good as its own rendering; older ones are handed out for
    `good_for_seconds`.
    """

    def __init__(self, render: Callable[[], T], *, good_for_seconds: float = 0.0) -> None:
        self.good_for_seconds = good_for_seconds
        self._render = render
        self._lock = threading.Lock()
        self._held: tuple[float, T] | None = None  # and when it was begun

    def get(self) -> T:
        """Returns the rendering. Raises what `render` raises; a rendering from before a failure is not given again."""
        came_at = time.monotonic()
        with self._lock:
            held = self._held
            if held is None or held[0] <= came_at - self.good_for_seconds:
                self._held = None
                begun_at = time.monotonic()
                self._held = held = begun_at, self._render()
            return held[1]

    def forget(self) -> None:
        """Forgets the rendering: the next reader gets a new one."""
        self._held = None
