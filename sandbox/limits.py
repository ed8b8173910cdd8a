"""Request limits of a venue: so many requests in any window, 429 for what comes above. Off until it is ordered."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.faults import Fault


class WrongLimit(ValueError):
    """An order that was not understood; the message says why."""


@dataclass(slots=True)
class Limit:
    """A limit of `requests` in any `seconds`. Every request counts, also a refused one and a websocket's handshake.

    After a refusal all are refused for `ban_seconds`, and told so by Retry-After.
    """

    exchange: str
    requests: int
    seconds: float
    ban_seconds: float = 0.0
    most: int = 0
    counted: int = 0
    refused: int = 0
    _recent: deque[float] = field(default_factory=deque, repr=False)
    _banned_until: float = 0.0

    def count(self, now: float) -> bool:
        """Counts a request; returns True while it is within the limit."""
        while self._recent and self._recent[0] <= now - self.seconds:
            self._recent.popleft()
        self._recent.append(now)
        self.counted += 1
        self.most = max(self.most, len(self._recent))
        is_within = len(self._recent) <= self.requests and now >= self._banned_until
        if not is_within:
            self.refused += 1
            self._banned_until = max(self._banned_until, now + self.ban_seconds)
        return is_within

    def render(self) -> dict[str, Any]:
        names = ("exchange", "requests", "seconds", "ban_seconds", "most", "counted", "refused")
        return {name: getattr(self, name) for name in names}


class Limits:
    def __init__(self) -> None:
        self._limits: dict[str, Limit] = {}

    def order(self, order: Mapping[str, Any]) -> Limit:
        """Sets a limit that counts from now on; one that was there is replaced."""
        limit = _read(order)
        self._limits[limit.exchange] = limit
        return limit

    def refusals(self, exchange: str, now: float) -> list[Fault]:
        """Returns what a request above the limit meets, as a fault."""
        limit = self._limits.get(exchange)
        if limit is None or limit.count(now):
            return []
        wait = limit.ban_seconds or limit.seconds
        params: dict[str, Any] = {
            "code": 429,
            "retry_after": wait,
            "retry_after_date": False,
            "body": None,
            "headers": {},
        }
        return [Fault(id=0, exchange=exchange, kind="status", params=params, starts_at=now)]

    def all(self) -> list[Limit]:
        return list(self._limits.values())

    def clear(self) -> None:
        self._limits.clear()


def _read(order: Mapping[str, Any]) -> Limit:
    unknown = set(order) - {"exchange", "requests", "seconds", "ban_seconds"}
    if unknown:
        raise WrongLimit(f"unknown: {', '.join(sorted(unknown))}")
    exchange, requests = order.get("exchange"), order.get("requests")
    if not isinstance(exchange, str) or not isinstance(requests, int) or requests < 1:
        raise WrongLimit("exchange is its id, requests a whole number, 1 or more")
    seconds, ban_seconds = order.get("seconds", 1.0), order.get("ban_seconds", 0.0)
    for value in (seconds, ban_seconds):
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise WrongLimit("seconds and ban_seconds are numbers, 0 or more")
    return Limit(exchange, requests, float(seconds), float(ban_seconds))
