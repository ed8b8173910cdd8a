"""The one snapshot that every voice renders: frozen values for one moment, nothing of the database in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What is stored of one worker; the rules in `freshness` turn it into a status."""

    exchange: str
    is_collected: bool
    interval_seconds: float
    error_count: int
    is_paused: bool
    resumed_at: datetime
    heartbeat_at: datetime | None
    stored_at: datetime | None
    symbols_tracked: int
    last_error: str


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker as readers see it; `reason` says in words why it has that status."""

    exchange: str
    status: str
    reason: str
    stored_at: datetime | None
    heartbeat_at: datetime | None
    error_count: int
    symbols_tracked: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the whole collection at `taken_at`."""

    taken_at: datetime
    workers: tuple[WorkerView, ...]
