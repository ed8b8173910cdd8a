"""Makes the connection that takes the place of one that has grown old, and is proven before it does."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import structlog

from collectors.rules.streams import DialBudget, Heard
from collectors.streaming import handshake
from collectors.streaming.blocking_calls import Markets
from feeds.streams import QuoteStream

log = structlog.get_logger(__name__)

AGAIN_SECONDS = 15.0  # after a failed attempt; the old connection still delivers
Proven = tuple[QuoteStream, Heard]


class Renewal:
    """The renewal of one connection, made at `began`."""

    def __init__(self, began: float = math.inf) -> None:
        self._began = began
        self._tried_at = -math.inf
        self.markets: Markets | None = None
        self._task: asyncio.Task[Proven | None] | None = None

    def is_due(self, now: float, longest_seconds: float) -> bool:
        is_old = now - self._began > longest_seconds and now - self._tried_at > AGAIN_SECONDS
        return is_old and self._task is None

    def begin(
        self, now: float, stream: QuoteStream, markets: Markets, budget: DialBudget, check: Callable[[], None]
    ) -> None:
        self._tried_at, self.markets = now, markets
        self._task = asyncio.create_task(_proven(stream, markets, budget, check))

    def take(self) -> Proven | None:
        """Returns the proven connection, once; None before."""
        if self._task is None or not self._task.done():
            return None
        task, self._task = self._task, None
        return task.result()

    async def cancel(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        if task.done() and not task.cancelled() and (proven := task.result()) is not None:
            await proven[0].close()
        task.cancel()
        await asyncio.wait([task])


async def _proven(
    stream: QuoteStream, markets: Markets, budget: DialBudget, check: Callable[[], None]
) -> Proven | None:
    """Returns the connection; None when it did not prove itself; then it is closed."""
    is_proven = False
    try:
        heard = await handshake.dial(stream, markets, budget)
        await handshake.prove(stream, heard, check)
        is_proven = True
        return stream, heard
    except Exception as error:  # noqa: BLE001 - the old connection goes on, and this is tried again
        log.warning("renewal_failed", reason=str(error))
        return None
    finally:
        if not is_proven:
            await stream.close()
