"""The gate before every request: asks the counts in Valkey, or keeps its own while Valkey is away."""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from urllib.parse import urlsplit

import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.db.models import Q

from collectors import lease
from collectors.models import Worker
from collectors.rate_limits import counting
from collectors.rate_limits.counting import RateAccount, RequestPermission
from collectors.rate_limits.memory import Memory
from collectors.rules import breaker
from collectors.rules.rate_limits import Grant, Priority, RateBudget, budget_of, wait_alone
from exchanges.models import Exchange
from feeds.base import Capabilities, Superseded, Throttled
from feeds.request_gate import HeldBack
from lib import clock

log = structlog.get_logger(__name__)

SAY_SECONDS = 30.0
UNTOLD_PAUSE_SECONDS = 2.0  # after a 429 that names no time; who asked waits longer by its own rules
LONGEST_ADVICE_SECONDS = 60.0


def open_gate(
    exchange: Exchange, capabilities: Capabilities, *, priority: Priority, generation: int | None = None
) -> RequestGate:
    """Returns a feed's `may_call`. With a `generation` the call also ends once an operator's verb has overtaken it."""
    return RequestGate(line_of(exchange), budget_for(exchange, capabilities), priority, generation)


def open_dial_gate(exchange: Exchange, capabilities: Capabilities, *, generation: int | None = None) -> RequestGate:
    """Returns a gate for websocket handshakes: counted with all other requests, paused on their own."""
    return RequestGate(line_of(exchange), budget_for(exchange, capabilities), Priority.LIVE, generation, is_dial=True)


def budget_for(exchange: Exchange, capabilities: Capabilities) -> RateBudget:
    return budget_of(
        set_units=exchange.budget_units,
        set_seconds=exchange.budget_seconds,
        rate_limit_ms=capabilities.rate_limit_ms,
        window_seconds=capabilities.rate_window_seconds,
    )


def lift_pause(exchange: Exchange) -> float:
    """Ends what the exchange asked for, in the shared books and in this process's; how many seconds were left of it.

    Other processes remember it for themselves, but only for times without Valkey. Raises redis.RedisError.
    """
    line, memory = line_of(exchange), _memory()
    with memory.lock:
        for key in (line.key, f"{line.key}:dial"):
            memory.page(key).paused_until = 0.0
    return counting.lift_pause(line)


def line_of(exchange: Exchange) -> RateAccount:
    """Returns the account of an exchange, which counts by the address of requests: the proxy's, or this host's."""
    proxy = urlsplit(exchange.proxy)
    return RateAccount(exchange.id, f"{proxy.hostname}:{proxy.port}" if proxy.hostname else settings.OUTGOING_ADDRESS)


@dataclass(frozen=True, slots=True)
class RequestGate:
    """The gate that `feeds.request_gate.Gate` describes. Cheap to make, holds nothing open."""

    line: RateAccount
    budget: RateBudget
    priority: Priority
    generation: int | None = None
    is_dial: bool = False

    @property
    def for_requests(self) -> RequestGate:
        """Returns a gate for what a stream asks besides its handshakes: behind the polls, and paused with them."""
        return replace(self, priority=Priority.SHADOW, is_dial=False)

    def __call__(self) -> bool:
        return self.generation is None or lease.is_current(self.line.exchange_id, self.generation)

    def ask(self, cost: float, *, seconds_left: float) -> float:
        if not self():
            raise Superseded("stopped while the call was running; no further request is sent")
        answer = self._ask_all(cost, seconds_left)
        if answer.wait_seconds > seconds_left:
            raise self._held_back(answer)
        return answer.wait_seconds

    def heed(self, error: Throttled) -> None:
        """Tells every process at once; PostgreSQL, too, when the exchange has named a time."""
        named = error.retry_after_seconds
        if not named and error.banned:
            named = self._note_ban()
        self.pause(named or UNTOLD_PAUSE_SECONDS)
        if named and not self.is_dial:
            self._hold_worker(named)

    def _note_ban(self) -> float:
        """Counts a ban that names no end, and returns its pause."""
        try:
            return counting.note_ban(self.line, is_dial=self.is_dial)
        except redis.RedisError as error:
            self._lost(error)
            return breaker.ban_seconds(0)

    def pause(self, seconds: float) -> None:
        memory = _memory()
        with memory.lock:
            page = memory.page(self._memory_key)
            page.paused_until = max(page.paused_until, clock.unix() + seconds)
        try:
            counting.pause(self.line, seconds, is_dial=self.is_dial)
        except redis.RedisError as error:
            self._lost(error)

    @property
    def _memory_key(self) -> str:
        return f"{self.line.key}:dial" if self.is_dial else self.line.key

    def _hold_worker(self, seconds: float) -> None:
        until = clock.now() + timedelta(seconds=seconds)
        try:
            sooner = Q(retry_at__isnull=True) | Q(retry_at__lt=until)
            Worker.objects.filter(sooner, pk=self.line.exchange_id).update(retry_at=until)
        except (DatabaseError, InterfaceError) as error:
            log.warning("pause_not_stored", exchange=self.line.exchange_id, error=str(error).strip())

    def _held_back(self, answer: RequestPermission) -> HeldBack:
        where, wait = f"{self.line.exchange_id} over {self.line.address}", answer.wait_seconds
        if answer.is_pause:
            message = f"held back by us: {where} has asked for {wait:.1f} s more without requests"
            return HeldBack(message, wait_seconds=wait, pause_seconds=wait)
        limit = f"{self.budget.units:g} in {self.budget.seconds:g} s"
        return HeldBack(
            f"held back by us ({self.priority}): the limit of {where}, {limit}, has no room in time",
            wait_seconds=min(wait, LONGEST_ADVICE_SECONDS),
        )

    # --- the shared books, or this process's own -----------------------------------------------------------------

    def _ask_all(self, cost: float, seconds_left: float) -> RequestPermission:
        memory = _memory()
        if memory.valkey.is_worth_a_try():
            try:
                return self._ask_shared(memory, cost, seconds_left)
            except redis.RedisError as error:
                self._lost(error)
        return self._ask_alone(memory, cost)

    def _ask_shared(self, memory: Memory, cost: float, seconds_left: float) -> RequestPermission:
        page = memory.page(self.line.key)
        with memory.lock:
            remembered, owed = self._debts(memory)
            in_outage, page.grants = page.grants, deque()
        try:
            answer = counting.take(
                self.line,
                self.budget,
                priority=self.priority,
                cost=cost,
                seconds_left=seconds_left,
                is_dial=self.is_dial,
                remembered_units=remembered,
                owed_units=owed,
            )
        except redis.RedisError:
            page.grants.extendleft(reversed(in_outage))
            raise
        page.seen_units, page.seen_at = answer.used_units, time.monotonic()
        memory.found()
        self._say(memory)
        return answer

    def _say(self, memory: Memory) -> None:
        """Says now and then that this process asks, and its budget; learns how many share it, for an outage."""
        page, now = memory.page(self.line.key), time.monotonic()
        try:
            if now - memory.said_at > SAY_SECONDS:
                memory.said_at = now
                memory.processes, memory.rank = counting.say_present()
            if now - page.said_at > SAY_SECONDS:
                page.said_at = now
                counting.say_budget(self.line, self.budget)
        except redis.RedisError as error:
            self._lost(error)

    def _debts(self, memory: Memory) -> tuple[float, float]:
        """Returns units owed after an outage: what all had used before it, and what this process has used in it."""
        page, now = memory.page(self.line.key), time.monotonic()
        since = now - self.budget.span_seconds
        owed = sum(grant.cost for grant in page.grants if grant.at > since)
        was_away = memory.began_at is not None or bool(page.grants)
        return (page.seen_units if was_away and page.seen_at > since else 0.0), owed

    def _ask_alone(self, memory: Memory, cost: float) -> RequestPermission:
        pause = self._pause_alone(memory)
        if pause > 0:
            return RequestPermission(pause, True, 0.0)
        with memory.lock:
            page, now = memory.page(self.line.key), time.monotonic()
            while page.grants and page.grants[0].at <= now - 2 * self.budget.span_seconds:
                page.grants.popleft()
            outage = memory.outage(self.line.key, self.budget)
            wait = wait_alone(
                self.budget, outage, page.grants, priority=self.priority, cost=cost, now=now, wall=clock.unix()
            )
            if wait <= 0:
                page.grants.append(Grant(now, cost))
        return RequestPermission(max(0.0, wait), False, 0.0)

    def _pause_alone(self, memory: Memory) -> float:
        """Returns the seconds left of a pause: what this process has heard, and what any other has written down."""
        until = max(memory.page(self.line.key).paused_until, memory.page(self._memory_key).paused_until)
        left = until - clock.unix()
        if self.is_dial:  # asked in a thread that has no connection of its own
            return left
        try:
            retry_at = Worker.objects.filter(pk=self.line.exchange_id).values_list("retry_at", flat=True).first()
        except (DatabaseError, InterfaceError):
            return left
        return max(left, (retry_at - clock.now()).total_seconds()) if retry_at else left

    def _lost(self, error: Exception) -> None:
        if _memory().lost():
            log.warning(
                "rate_ledger_is_local", cause=f"{type(error).__name__}: {error}"[:200], processes=_memory().processes
            )


# --- one memory a process ---------------------------------------------------------------------------------------


@cache
def _memory_of(pid: int) -> Memory:
    return Memory(least_processes=settings.LEDGER_LEAST_PROCESSES)


def _memory() -> Memory:
    """Returns the memory of this process: a forked child must not believe what its parent has sent."""
    return _memory_of(os.getpid())
