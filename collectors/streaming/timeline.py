"""Writes down when one exchange's stream began or ceased to deliver, later where the database was away."""

from __future__ import annotations

import structlog
from django.db import DatabaseError, InterfaceError

from collectors.streaming import blocking_calls
from collectors.streaming.ownership import StreamTarget
from collectors.streaming.threads import Do
from lib import clock

log = structlog.get_logger(__name__)


class Timeline:
    """The transport changes of one session. At most two are untold: no stream begins while the database is away."""

    def __init__(self, do: Do, holder: str) -> None:
        self._do = do
        self._holder = holder
        self._untold: list[blocking_calls.TransportChange] = []

    async def note(self, wish: StreamTarget, *, is_delivering: bool, reason: str) -> None:
        self._untold.append(blocking_calls.TransportChange(is_delivering, reason, clock.now()))
        await self.tell(wish)

    async def explain(self, wish: StreamTarget, reason: str) -> None:
        """Writes down why the stream does not bring what it could, where no transport changes by that."""
        try:
            await self._do(blocking_calls.explain, wish.exchange_id, self._holder, reason)
        except (DatabaseError, InterfaceError) as error:
            log.warning("reason_not_recorded", exchange=wish.exchange_id, error=str(error).strip())

    async def tell(self, wish: StreamTarget) -> None:
        try:
            while self._untold:
                await self._do(blocking_calls.switch, wish, self._holder, self._untold[0])
                del self._untold[0]
        except (DatabaseError, InterfaceError) as error:
            log.warning("switch_not_recorded", exchange=wish.exchange_id, error=str(error).strip())
