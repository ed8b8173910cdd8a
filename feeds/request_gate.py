"""The gate that requests pass: a `may_call` that also counts, makes wait, and hears of an exchange's refusals."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol, runtime_checkable

from feeds.base import FeedError, Throttled

# What the next request of this task costs, in the exchange's own weights; ccxt knows it only where it throttles.
request_cost: ContextVar[float] = ContextVar("request_cost", default=1.0)


class HeldBack(FeedError):
    """A request that we did not send, to stay within the exchange's limit or pause: not the exchange's failure.

    `wait_seconds` is when a request would have gone through; `pause_seconds` is set when the exchange itself has asked
    us to wait, and says how long that lasts.
    """

    kind = "held_back"

    def __init__(self, message: str, *, wait_seconds: float = 0.0, pause_seconds: float | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds
        self.pause_seconds = pause_seconds


@runtime_checkable
class Gate(Protocol):
    """A gate that a feed takes as its `may_call`. Called in the caller's thread, before every single request."""

    def __call__(self) -> bool: ...

    def ask(self, cost: float, *, seconds_left: float) -> float:
        """Returns 0 when one request of this cost may leave now, else after how many seconds to ask again.

        Raises Superseded when the call is no longer wanted, HeldBack when the wait would be longer than is left.
        """
        ...

    def heed(self, error: Throttled) -> None:
        """Notes that the exchange has asked us to wait."""
        ...


class ConnectGate(Gate, Protocol):
    """The gate of a stream, asked before every handshake."""

    @property
    def for_requests(self) -> Gate:
        """Returns the gate for what a stream asks besides: a book's beginning, say."""
        ...
