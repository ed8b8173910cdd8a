"""The one snapshot that every API and page renders: frozen values for one moment, nothing of the database in them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class OldAnswer:
    """The newest answer of one kind of an exchange's markets, where it is old: the exchange's own time of it, how old
    it was when it came, since when its answers are so, and why it is called old."""

    kind: str
    made_at: datetime
    lag_seconds: float
    since: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """The stored facts of one worker; the rules in `worker_status` turn them into a status."""

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
    missing_markets: int = 0
    left_out_markets: int = 0
    old: tuple[OldAnswer, ...] = ()
    is_all_old: bool = False  # there is no kind of market whose answers are not


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as readers see it; `reason` says in words why it has that status. `data_at` is when a row was last
    stored, or the exchange's own time of it where all its answers are old."""

    exchange: str
    status: str
    reason: str
    stored_at: datetime | None
    heartbeat_at: datetime | None
    error_count: int
    symbols_tracked: int
    is_collected: bool = True
    missing_markets: int = 0  # of parts that the newest poll went without
    left_out_markets: int = 0  # of parts that cannot be asked for
    data_at: datetime | None = None
    old: tuple[OldAnswer, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the whole collection at `taken_at`."""

    taken_at: datetime
    workers: tuple[WorkerView, ...]


# --- rows by the ten thousand are kept in columns: an object for each would cost more than reading and rendering them


@dataclass(frozen=True, slots=True, eq=False)
class RowNames:
    """The names of the rows, sorted. One that `lasts` stays the same until a name changes: a key for caches."""

    names: tuple[tuple[str, ...], ...]
    lasts: bool = False


@dataclass(frozen=True, slots=True)
class PipelineRows:
    """The pipelines API's rows (source, symbol): newest stored second (Unix, None if never) and gaps of each. A second
    is the exchange's own where its answers are old, and that of the last change where values are frozen. Of rows in
    `halted` every market is halted."""

    taken_at: datetime
    names: RowNames
    stored_seconds: Sequence[int | None]
    gaps_24h: Sequence[int]
    halted: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class PairRows:
    """The pairs API's rows (pair): the newest stored second over the exchanges that are collected.

    A pair is not `watched` if all its sources were stopped on purpose, or are halted: it shows its true age and
    degrades nothing. Seconds and `halted` are as those of pipelines.
    """

    taken_at: datetime
    workers: tuple[WorkerView, ...]
    names: RowNames
    stored_seconds: Sequence[int | None]
    watched: Sequence[bool]
    halted: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class SourcePrice:
    """The newest price of a pair on one exchange. `fault` says why it is not believed: old, frozen, halted or
    unconfirmed; empty for a sound one. `stored_at` is the exchange's own time of an old one, and that of the last
    change of a frozen one."""

    exchange: str
    price: float
    volume: float | None
    stored_at: datetime
    kind: str = "spot"
    fault: str = ""
