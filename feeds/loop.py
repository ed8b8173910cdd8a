"""The one event loop of this process, in a thread of its own, and the synchronous calls into it.

Feeds are called from Celery children, web threads and commands, all synchronous. A thread of its own keeps
clients warm between calls, serves several callers at once, and lets `may_call` run in the caller's thread,
where Django's connections live. A forked child makes a new loop; its parent's is not touched.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from feeds.base import FeedError, MayCall, RejectedRow, Superseded, Throttled, Unreachable
from feeds.request_gate import Gate
from feeds.shared.headers import NO_HEADERS, cache_age, date_of

T = TypeVar("T")

# A loop that is silent this long after the deadline is stuck in a parser; the caller goes on without it.
STUCK_LOOP_SECONDS = 0.9
LONGEST_SLEEP_SECONDS = 0.5  # a call that waits at a gate asks again this often: it may have been stopped meanwhile
LAST_REQUEST_SECONDS = 0.1  # before the deadline: a request that left then could not be answered


@dataclass(frozen=True, slots=True)
class Question:
    """A request's wish to leave, with its cost. The answer: after how many seconds to ask again, 0 for now."""

    answer: asyncio.Future[float]
    cost: float


@dataclass(slots=True, eq=False)
class Call:
    """A public call while it runs: what it may do, and what its answers were."""

    may_call: MayCall | None
    mailbox: queue.SimpleQueue[Question | None]
    deadline_at: float
    status: int | None = None
    body: str = ""
    answered_at: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    row_count: int = 0
    rejected: list[RejectedRow] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    request_count: int = 0
    cached_seconds: float | None = None
    server_time: float | None = None
    told_to_wait: Throttled | None = None
    asked_market: Mapping[str, Any] | None = None  # the one that every answer of this call has to be of
    reads_all: bool = False  # its answer has rows of all markets, of such too as the list does not have

    async def ask_permission(self, cost: float = 1.0) -> None:
        """Waits until a request may leave; the caller's thread answers. Raises Superseded, HeldBack."""
        if self.may_call is not None:
            while wait_seconds := await self._ask(cost):
                await asyncio.sleep(min(wait_seconds, LONGEST_SLEEP_SECONDS))
        self.request_count += 1

    async def _ask(self, cost: float) -> float:
        answer: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.mailbox.put(Question(answer, cost))
        return await answer

    def note_answer(self, status: int, body: str, *, at: float, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self.status, self.body, self.answered_at, self.headers = status, body[:500], at, headers
        age, date = cache_age(headers), date_of(headers)
        if age is not None:
            self.cached_seconds = max(age, self.cached_seconds or 0.0)
        if date is not None:
            self.server_time = max(date, self.server_time or 0.0)

    def part_failed(self, error: FeedError) -> None:
        """Notes that a part of the call has failed; the call goes on, and a wish that we wait is heeded."""
        if isinstance(error, Throttled):
            self.told_to_wait = error


current_call: ContextVar[Call | None] = ContextVar("current_call", default=None)


def note_failed_part(error: FeedError) -> None:
    """Calls Call.part_failed of the call that runs in this context, if any."""
    call = current_call.get()
    if call is not None:
        call.part_failed(error)


def run(
    work: Callable[[Call], Coroutine[Any, Any, T]], *, deadline_seconds: float, may_call: MayCall | None = None
) -> T:
    """Returns the result of `work`, or raises Unreachable after the deadline, whatever `work` waits for."""
    loop = process_loop()
    call = Call(may_call, queue.SimpleQueue(), time.monotonic() + deadline_seconds)
    done = asyncio.run_coroutine_threadsafe(_bounded(work, call), loop)
    done.add_done_callback(lambda _: call.mailbox.put(None))
    try:
        _answer_questions(call, loop)
        return done.result()
    except BaseException as error:  # also what ends the caller's thread: nobody waits for the work any more
        done.cancel()
        if isinstance(error, Throttled):
            call.told_to_wait = error
        raise
    finally:
        if call.told_to_wait is not None and isinstance(may_call, Gate):
            may_call.heed(call.told_to_wait)


def process_loop() -> asyncio.AbstractEventLoop:
    """Returns this process's loop, started on first use; never one inherited through fork."""
    global _process
    with _starting:
        if _process is None or _process.pid != os.getpid():
            if _process is not None:
                _inherited.append(_process)
            _process = _Process()
        return _process.loop


async def _bounded(work: Callable[[Call], Coroutine[Any, Any, T]], call: Call) -> T:
    current_call.set(call)
    seconds = call.deadline_at - time.monotonic()
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await work(call)
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise Unreachable("no complete answer before the deadline", status=call.status) from error


def _answer_questions(call: Call, loop: asyncio.AbstractEventLoop) -> None:
    while True:
        seconds = max(call.deadline_at + STUCK_LOOP_SECONDS - time.monotonic(), 0.001)
        try:
            question = call.mailbox.get(timeout=seconds)
        except queue.Empty:
            raise Unreachable("no complete answer before the deadline; an answer is still being parsed") from None
        if question is None:
            return
        loop.call_soon_threadsafe(_settle, question.answer, _decide(call, question.cost))


def _decide(call: Call, cost: float) -> float | FeedError:
    assert call.may_call is not None
    if isinstance(call.may_call, Gate):
        try:
            return call.may_call.ask(cost, seconds_left=call.deadline_at - time.monotonic() - LAST_REQUEST_SECONDS)
        except FeedError as refusal:
            return refusal
    if call.may_call():
        return 0.0
    return Superseded("stopped while the call was running; no further request is sent")


def _settle(answer: asyncio.Future[float], decision: float | FeedError) -> None:
    if answer.done():
        return
    if isinstance(decision, FeedError):
        answer.set_exception(decision)
    else:
        answer.set_result(decision)


class _Process:
    def __init__(self) -> None:
        self.pid = os.getpid()
        self._runner = asyncio.Runner()
        self.loop = self._runner.get_loop()
        threading.Thread(target=self._serve, name="feeds", daemon=True).start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()


_starting = threading.Lock()
_process: _Process | None = None
# Kept, not closed: closing an inherited loop would take sockets out of the parent's epoll.
_inherited: list[_Process] = []


def _unlock_after_fork() -> None:
    global _starting
    _starting = threading.Lock()


os.register_at_fork(after_in_child=_unlock_after_fork)
