"""The notifier: sends what the outbox holds. Needs PostgreSQL and the channels, and nothing else; any number may run.

A slow receiver holds one task, never the others; a channel has few messages under way at once.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections

from incidents import claims, duties, heartbeat, messages
from incidents.addresses import opened
from incidents.channels import SENDERS
from incidents.channels.sending import SendOutcome
from incidents.models import Delivery
from lib import clock, liveness

MOST_UNDER_WAY = 32
MOST_OF_ONE_CHANNEL = 4
LOOK_SECONDS = 0.5
STOP_SECONDS = 4.0  # what is under way is waited for so long

log = structlog.get_logger(__name__)
T = TypeVar("T")


def run_forever() -> None:
    """Sends until SIGTERM or SIGINT. A database that is away costs time, not the process."""
    asyncio.run(_run())


async def _run() -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="database") as database:
        notifier = Notifier(database)
        while not stopping.is_set():
            is_full = await notifier.turn()
            liveness.note()
            if not is_full:
                await _wait(stopping, LOOK_SECONDS)
        await notifier.finish(STOP_SECONDS)


async def _wait(stopping: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return


class Notifier:
    """What is under way in this process. One thread speaks to the database, so one connection serves."""

    def __init__(self, database: ThreadPoolExecutor) -> None:
        self._database = database
        self._under_way: set[asyncio.Task[None]] = set()
        self._by_channel: Counter[int] = Counter()
        self._duties = duties.Duties()

    async def turn(self) -> bool:
        """Claims what there is room for and starts to send it; says whether there is more."""
        try:
            beat = await self._ask(self._duties.look, clock.now(), time.monotonic())
            if beat is not None:
                self._keep(asyncio.create_task(_beat(beat)))
            return await self._claim()
        except (DatabaseError, InterfaceError) as error:
            log.warning("outbox_not_read", error=str(error).strip())
            return False
        except Exception:  # an error of ours must not end the process that would tell of it
            log.exception("outbox_not_read")
            return False

    async def _claim(self) -> bool:
        room = MOST_UNDER_WAY - len(self._under_way)
        if room <= 0:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            return True
        busy = [channel for channel, count in self._by_channel.items() if count >= MOST_OF_ONE_CHANNEL]
        rows: list[Delivery] = await self._ask(_claim, room, busy)
        for row in rows:
            self._start(row)
        if self._under_way and not rows:
            await asyncio.wait(self._under_way, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            return True
        return bool(rows)

    def _start(self, row: Delivery) -> None:
        self._by_channel[row.channel_id] += 1
        task = asyncio.create_task(self._send(row))
        task.add_done_callback(lambda _: self._by_channel.subtract([row.channel_id]))
        self._keep(task)

    def _keep(self, task: asyncio.Task[None]) -> None:
        """Holds a task until it is done: the loop itself would let it be collected."""
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _send(self, row: Delivery) -> None:
        """Sends one message and writes down what came of it; the claim runs out where that cannot be done."""
        try:
            message, address = await self._ask(_prepared, row)
            outcome = await _tried(lambda: SENDERS[row.channel.kind](message, address))
            await self._ask(claims.record, row, outcome, clock.now())
        except (DatabaseError, InterfaceError) as error:
            log.warning("delivery_not_recorded", delivery=row.pk, error=str(error).strip())
            return
        except Exception:
            log.exception("delivery_failed", delivery=row.pk, channel=row.channel.name)
            await self._ask(claims.record, row, SendOutcome(is_good=False, said="an internal error"), clock.now())
            return
        log.info("delivered" if outcome.is_good else "not_delivered", delivery=row.pk, channel=row.channel.name,
                 event_told=row.event, status=outcome.status, elapsed_ms=outcome.elapsed_ms)  # fmt: skip

    async def _ask(self, function: Callable[..., T], *values: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._database, lambda: _fresh(function, *values))

    async def finish(self, seconds: float) -> None:
        """Waits for what is under way; what is not done by then is sent again by the next notifier, marked."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)


def _fresh(function: Callable[..., T], *values: Any) -> T:
    close_old_connections()
    return function(*values)


def _claim(room: int, busy: list[int]) -> list[Delivery]:
    return claims.claim(most=room, busy=busy, now=clock.now())


def _prepared(row: Delivery) -> tuple[messages.AlertMessage, dict[str, str]]:
    return messages.of(row, clock.now()), opened(row.channel)


async def _beat(state: heartbeat.HeartbeatState) -> None:
    outcome = await _tried(lambda: heartbeat.send(state))
    if not outcome.is_good:
        log.warning("heartbeat_not_sent", status=outcome.status, said=outcome.said)


async def _tried(send: Callable[[], Awaitable[SendOutcome]]) -> SendOutcome:
    try:
        return await send()
    except Exception as error:  # a sender's own fault: one delivery fails, and says so
        log.exception("sender_failed")
        return SendOutcome(is_good=False, said=f"an internal error: {type(error).__name__}")
