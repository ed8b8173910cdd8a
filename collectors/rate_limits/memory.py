"""Keeps what this process has requested, so that it is not lost without Valkey, nor unknown when that is back."""

from __future__ import annotations

import os
import socket
import threading
import time
import zlib
from collections import deque
from dataclasses import dataclass, field

from collectors.rules.rate_limits import Grant, Outage, RateBudget
from lib.valkey import Availability


@dataclass(slots=True)
class RememberedUsage:
    """One exchange and address: own requests of an outage, what was used at the last answer, the exchange's pause."""

    grants: deque[Grant] = field(default_factory=deque)
    seen_units: float = 0.0
    seen_at: float = -1e9
    said_at: float = -1e9
    paused_until: float = 0.0  # Unix seconds


@dataclass(slots=True)
class Memory:
    """The memory of one process. Times are monotonic where nothing else is said."""

    least_processes: int
    pages: dict[str, RememberedUsage] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    began_at: float | None = None  # of the outage
    valkey: Availability = field(default_factory=Availability)
    processes: int = 1
    rank: int | None = None
    said_at: float = -1e9

    def page(self, key: str) -> RememberedUsage:
        return self.pages.setdefault(key, RememberedUsage())

    def lost(self) -> bool:
        """Notes a failed question; returns True when it is the outage's first."""
        self.valkey.failed()
        is_first = self.began_at is None
        self.began_at = time.monotonic() if is_first else self.began_at
        return is_first

    def found(self) -> None:
        self.began_at = None

    def outage(self, key: str, budget: RateBudget) -> Outage:
        began_at = time.monotonic() if self.began_at is None else self.began_at
        page, processes = self.page(key), max(self.processes, self.least_processes)
        is_young = began_at - page.seen_at < budget.span_seconds
        rank = zlib.crc32(process_name().encode()) if self.rank is None else self.rank
        return Outage(began_at, processes, rank % processes, page.seen_units if is_young else None)


def process_name() -> str:
    return f"{socket.gethostname()[:60]}:{os.getpid()}"
