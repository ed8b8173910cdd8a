"""A pretended marketmon, second by second: eleven exchanges and everything that may break, as the signs would show it.

Only what breaks is pretended, and how rows and errors follow from it. Conditions, alarms, findings and what becomes of
them are the real rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from collectors.history.archive_times import ArchiveTimes
from collectors.polling.schedule import BEAT_SILENCE
from collectors.rules import worker_status
from collectors.rules.snapshot import WorkerFacts
from collectors.status.backups import BackupTimes
from incidents.rules import changes, conditions, findings
from incidents.rules.causes import FOUND_BY_EFFECT, OF_SYSTEM, system_key, system_keys
from incidents.rules.changes import ComesBack, FallsQuiet, Grows, Heals, Joins, Leaves, OpenIncident, Opens
from incidents.rules.conditions import PartSigns, Signs
from incidents.rules.facts import ExchangeSigns, FindableSigns, Found, GapSigns, PairSigns, Trouble
from incidents.rules.verdict import Alarm, Tone
from incidents.rules.words import IncidentKind, Level
from incidents.signs import health
from incidents.signs.health import Seen, SystemHealth
from lib.disk import DiskSpace

BEGAN = datetime(2026, 12, 1, 12, tzinfo=UTC)
LONG_AGO = BEGAN - timedelta(days=3)
STREAMED = ("binance", "coinbase", "kraken", "luno")
PROXIED = ("bitstamp", "gemini", "okx", "kucoin")
DIRECT = ("valr", "quidax", "bybit")
NAMES = (*STREAMED, *PROXIED, *DIRECT)
INTERVAL = 10
MARKETS = 100
NOTICED_SECONDS = 8  # until the register of processes misses one
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that breaks: the key of the root that it has, and the marks by which the world below shows it.

    `of`: the exchanges it concerns; empty for what concerns the system. `hides`: nobody can tell of exchanges, or of
    anything, while it lasts.
    """

    name: str
    root: str
    mark: str
    of: tuple[str, ...] = ()
    hides: str = ""

    @property
    def kind(self) -> str:
        return self.root.partition(":")[0] if not self.root.startswith("system:") else self.root


def _of_one() -> Iterator[Fault]:
    for cause in ("unreachable", "bad_reply", "denied", "failed", "unsupported", "not_connected"):
        yield Fault(f"okx {cause}", "exchange:okx", cause, ("okx",))
    for cause in ("throttled", "held_back", "old", "frozen"):
        yield Fault(f"valr {cause}", "exchange:valr", cause, ("valr",))
    yield Fault("kraken unreachable", "exchange:kraken", "unreachable", ("kraken",))
    yield Fault("luno down, stream and polls", "exchange:luno", "bad_reply", ("luno",))
    yield Fault("quidax is never asked", "exchange:quidax", "silent", ("quidax",))
    yield Fault("bybit misses a part", "markets:bybit", "part", ("bybit",))
    yield Fault("gemini misses 40 of 100", "markets:gemini", "markets", ("gemini",))
    yield Fault("kucoin misses 5 of 100", "markets:kucoin", "few markets", ("kucoin",))
    yield Fault("coinbase stream", "transport:coinbase", "stream", ("coinbase",))
    yield Fault("a watched pair on bitstamp", "pair:BTC/USD", "pair", ("bitstamp",))


def _of_lines() -> Iterator[Fault]:
    for cause in ("unreachable", "bad_reply", "denied", "not_connected", "throttled"):
        yield Fault(f"the proxy: all {cause}", "line:proxy", cause, PROXIED)
    for cause in ("unreachable", "denied", "bad_reply"):
        yield Fault(f"our network: all {cause}", "line:direct", cause, (*STREAMED, *DIRECT))


def _of_system() -> Iterator[Fault]:
    yield Fault("worker hangs", "system:worker", "worker", hides="polled")
    yield Fault("beat is dead", "system:beat", "beat", hides="polled")
    yield Fault("beat sends nothing", "system:beat", "sends nothing", hides="polled")
    yield Fault("Valkey is away", "system:valkey", "valkey", hides="polled")
    yield Fault("queue does not move", "system:queue", "queue", hides="polled")
    yield Fault("no poll stores, nobody knows why", "system:polls", "polls", hides="polled")
    yield Fault("all runs fail inside", "system:internal", "internal", hides="polled")
    yield Fault("the disk is full", "system:disk", "disk full", hides="all")
    yield Fault("the pulse is dead", "system:pulse", "pulse", hides="all")
    yield Fault("stream process is gone", "system:streams", "streams")
    for cause in (
        "disk", "database", "rollups", "clock", "clock leapt", "stamps in the future", "backup", "schedule",
        "notifier", "channel", "heartbeat 1",
    ):  # fmt: skip
        yield Fault(f"alarm: {cause}", f"system:{cause}", cause)


FAULTS: tuple[Fault, ...] = (*_of_one(), *_of_lines(), *_of_system())


# --- the world ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Collected:
    """One exchange's worker as its row would show it."""

    name: str
    stored_at: datetime
    heartbeat_at: datetime
    outcome: str = "stored"
    errors: int = 0
    failing_since: datetime | None = None
    next_try_at: datetime = BEGAN
    is_streamed: bool = False
    stream_short_since: datetime | None = None

    def poll(self, outcome: str, now: datetime) -> None:
        if now < self.next_try_at:
            return
        self.heartbeat_at, self.outcome = now, outcome
        if outcome == "stored":
            self.stored_at, self.errors, self.failing_since = now, 0, None
            self.next_try_at = now + timedelta(seconds=INTERVAL)
            return
        self.failing_since = self.failing_since or now
        self.errors += outcome != "throttled" or not self.errors
        pause = INTERVAL if self.errors < worker_status.ERRORS_UNTIL_ERROR else min(120, 15 * 2 ** (self.errors - 3))
        self.next_try_at = now + timedelta(seconds=60 if outcome == "throttled" else pause)


@dataclass(slots=True)
class Pretended:
    """All of it at `now`, with the faults that began at some moment."""

    faults: Sequence[tuple[Fault, datetime]]
    now: datetime = BEGAN
    workers: dict[str, Collected] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, name in enumerate(NAMES):
            at = BEGAN - timedelta(seconds=number % INTERVAL)
            is_streamed = name in STREAMED
            self.workers[name] = Collected(
                name, at, at, next_try_at=at + timedelta(seconds=INTERVAL), is_streamed=is_streamed
            )

    def lasting(self, mark: str) -> datetime | None:
        """Returns since when something of that mark is broken; None while it is not."""
        return min((began for fault, began in self.faults if fault.mark == mark and began <= self.now), default=None)

    def hits(self, name: str) -> set[str]:
        return {fault.mark for fault, began in self.faults if name in fault.of and began <= self.now}

    def step(self, seconds: int) -> FindableSigns:
        self.now += timedelta(seconds=seconds)
        for worker in self.workers.values():
            self._move(worker)
        return self._signs()

    def _move(self, worker: Collected) -> None:
        """Lets rows and errors of one exchange follow from what is broken."""
        hits = self.hits(worker.name)
        is_polled = not any(map(self.lasting, ("worker", "beat", "sends nothing", "valkey", "queue", "polls")))
        is_stopped = self.lasting("disk full") or self.lasting("internal")
        outcome = "failed" if is_stopped else self._outcome(hits)
        if worker.name in STREAMED:
            is_short = bool(self.lasting("streams") or "stream" in hits or outcome != "stored")
            if is_short and worker.stream_short_since is None:
                worker.stream_short_since = self.now
            elif not is_short:
                worker.stream_short_since = None
                worker.poll("stored", self.now)
                worker.stored_at = worker.heartbeat_at = self.now
            worker.is_streamed = not is_short
        if not worker.is_streamed and is_polled and "silent" not in hits:
            worker.poll(outcome, self.now)

    def _outcome(self, hits: set[str]) -> str:
        words = ("unreachable", "denied", "not_connected", "bad_reply", "throttled", "failed", "unsupported",
                 "held_back")  # fmt: skip
        return next((word for word in words if word in hits), "stored")

    # --- what is seen of it ---

    def _signs(self) -> FindableSigns:
        gaps = [
            GapSigns(name, "exchange outage", 5, self._since(name, "few markets"))
            for name in NAMES
            if "few markets" in self.hits(name)
        ]
        pair = self.lasting("pair")
        return FindableSigns(
            exchanges=[self._exchange(worker) for worker in self.workers.values()],
            alarms=self._alarms(),
            gaps=[gap for gap in gaps if (self.now - gap.since).total_seconds() > 2 * INTERVAL],
            pairs=[PairSigns("BTC/USD", ("bitstamp",), pair, 5)] if pair else [],
            is_valkey_away=self.lasting("valkey") is not None,
            is_beat_late=health.is_beat_late(self._seen(), self.now),
        )

    def _since(self, name: str, mark: str) -> datetime:
        return min(began for fault, began in self.faults if fault.mark == mark and name in fault.of)

    def _exchange(self, worker: Collected) -> ExchangeSigns:
        hits = self.hits(worker.name)
        fresh = MARKETS - (40 if "markets" in hits else 5 if "few markets" in hits else 0)
        is_silent = self.now - worker.stored_at > timedelta(minutes=5)
        facts = WorkerFacts(
            exchange=worker.name, is_collected=True, is_paused=False, error_count=worker.errors,
            last_error="said so", heartbeat_at=worker.heartbeat_at, resumed_at=LONG_AGO, stored_at=worker.stored_at,
            interval_seconds=INTERVAL, symbols_tracked=MARKETS,
        )  # fmt: skip
        status, reason = worker_status.worker_status(facts, self.now)
        signs = Signs(
            exchange=worker.name, status=status, reason=reason, status_since=LONG_AGO, interval_seconds=INTERVAL,
            outcome=worker.outcome, error_count=worker.errors, last_error="said so", stored_at=worker.stored_at,
            resumed_at=LONG_AGO, failing_since=worker.failing_since, markets=MARKETS,
            fresh=0 if is_silent else fresh, frozen=30 if "frozen" in hits else 0,
            retry_at=worker.next_try_at if worker.outcome == "throttled" else None,
            silent_since=self._since(worker.name, "markets") if "markets" in hits else None,
            old_because="spot: its stamps are old" if "old" in hits else "",
            old_since=self._since(worker.name, "old") if "old" in hits else None,
            missing_parts=self._parts(worker.name) if "part" in hits else (),
        )  # fmt: skip
        is_wanted = worker.name in STREAMED
        return ExchangeSigns(
            condition=conditions.condition(signs, self.now),
            address="proxy" if worker.name in PROXIED else "direct",
            is_streamed=worker.is_streamed,
            is_stream_wanted=is_wanted,
            stream_short_since=worker.stream_short_since,
            stored_at=worker.stored_at,
            markets=MARKETS,
            fresh=signs.fresh,
        )

    def _parts(self, name: str) -> tuple[PartSigns, ...]:
        return (PartSigns("futures", "bad_reply", "no such page", 30, self._since(name, "part"), is_left_out=False),)

    def _alarms(self) -> list[Alarm]:
        """Returns the real alarms of what the system's own signs show by now."""
        seen = self._seen()
        lag = (self.now - seen.beat_at).total_seconds() if seen.beat_at else 0
        proof = self._proof(seen, lag)
        words = filter(self.lasting, ("notifier", "channel", "heartbeat 1"))
        told = [Alarm(f"{word} is wrong", "mend it", tone=Tone.WARNING, cause=word) for word in words]
        return [*health.alarms(proof, seen, self.now), *told]

    def _seen(self) -> Seen:
        beat, sent = self.lasting("beat"), self.lasting("sends nothing")
        return Seen(
            beat_at=beat or self.now,
            pulse_at=self.now,
            rolled_up_to=LONG_AGO if self.lasting("rollups") else self.now - timedelta(minutes=2),
            backups=BackupTimes(LONG_AGO - timedelta(days=9), LONG_AGO - timedelta(days=9), LONG_AGO)
            if self.lasting("backup")
            else BackupTimes(self.now, self.now),
            archive=ArchiveTimes(),
            taken_back_at=self.lasting("stamps in the future"),
            sent_at=beat or sent or self.now,
            switched_off=("sweep",) if self.lasting("schedule") else (),
        )

    def _proof(self, seen: Seen, lag: float) -> SystemHealth:
        return SystemHealth(
            runs=100, rows=1000, queues=(("poll", None if self.lasting("valkey") else self._depth()),), beat="seen",
            is_beat_late=lag > health.BEAT_LATE_SECONDS, is_beat_dead=lag > BEAT_SILENCE.total_seconds(),
            pulse="seen", is_pulse_dead=False, stream_processes=0 if self._is_noticed("streams") else 1,
            streamed=len(STREAMED), round_trip_ms=1000 if self.lasting("database") else 2, disk=self._disk(),
            backups=seen.backups, exchanges=len(NAMES), leapt_seconds=37 if self.lasting("clock leapt") else 0,
            worker_processes=None if self.lasting("valkey") else 0 if self._is_noticed("worker") else 2,
            wrong_clocks=("worker on a, 90 s ahead",) if self.lasting("clock") else (),
        )  # fmt: skip

    def _is_noticed(self, mark: str) -> bool:
        began = self.lasting(mark)
        return began is not None and (self.now - began).total_seconds() >= NOTICED_SECONDS

    def _depth(self) -> int:
        """A poll that nobody takes is gone when the next is due; a queue that does not move holds other tasks, too."""
        queue, worker = self.lasting("queue"), self.lasting("worker") or self.lasting("polls")
        waiting = int((self.now - queue).total_seconds() * 10) if queue else 0
        return max(waiting, len(NAMES) if worker else 0)

    def _disk(self) -> DiskSpace:
        free = GIB // 4 if self.lasting("disk full") else GIB if self.lasting("disk") else 500 * GIB
        return DiskSpace(free, 1000 * GIB)


def found(world: Pretended, signs: FindableSigns) -> Found:
    """Returns what is found: of a dead pulse, by a notifier, and nothing else."""
    dead = world.lasting("pulse")
    if dead is None:
        return findings.find(signs, world.now)
    if (world.now - dead).total_seconds() <= health.PULSE_DEAD_SECONDS:
        return Found(is_partial=True)
    key = system_key("pulse")
    trouble = Trouble(key, IncidentKind.SYSTEM, "pulse", Level.CRITICAL, "The pulse does not run", dead)
    return Found((trouble,), is_partial=True)


# --- what becomes of it ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Book:
    """Open incidents in memory, as `incidents.ledger` keeps them in rows; `told`: the roots that somebody heard of."""

    held: dict[str, OpenIncident] = field(default_factory=dict)
    root_since: dict[str, datetime] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    count: int = 0

    def follow(self, wanted: Found, now: datetime) -> None:
        for change in changes.plan(list(self.held.values()), wanted, now):
            self._carry_out(change, now)
        self.held = {key: self._with_parent(each) for key, each in self.held.items()}
        for key, each in self.held.items():
            is_plain = key.startswith(("system:", "line:")) and each.cause not in FOUND_BY_EFFECT
            wait = timedelta() if is_plain else changes.JOIN_WITHIN
            if each.parent_id is None and now - self.root_since[key] >= wait and each.quiet_since is None:
                self.told.add(key)

    def _with_parent(self, each: OpenIncident) -> OpenIncident:
        parent = self.held.get(each.parent_key) if each.parent_key else None
        gone = parent.quiet_since if parent is not None else each.parent_gone_since
        return replace(each, parent_gone_since=gone)

    def _carry_out(self, change: changes.IncidentChange, now: datetime) -> None:
        handlers: dict[type, Callable[..., None]] = {
            Opens: self._opens, Joins: self._joins, Leaves: self._leaves, Heals: self._heals,
            FallsQuiet: lambda one, at: self._put(one.incident, quiet_since=at),
            ComesBack: lambda one, at: self._put(one.incident, quiet_since=None, openings=one.openings),
            Grows: lambda one, at: self._put(one.incident, severity=one.trouble.severity, cause=one.trouble.cause),
        }  # fmt: skip
        handlers[type(change)](change, now)

    def _put(self, incident: OpenIncident, **facts: object) -> None:
        self.held[incident.key] = replace(self.held[incident.key], **facts)  # type: ignore[arg-type]

    def _opens(self, change: Opens, now: datetime) -> None:
        trouble = change.trouble
        parent = self.held.get(change.parent_key)
        self.count += 1
        self.root_since[trouble.key] = now
        self.held[trouble.key] = OpenIncident(
            self.count, trouble.key, trouble.severity, trouble.cause, trouble.title, trouble.detail, trouble.exchanges,
            trouble.affected, now, openings=(now,), parent_id=parent.id if parent else None,
            parent_key=change.parent_key if parent else "",
        )  # fmt: skip

    def _joins(self, change: Joins, now: datetime) -> None:
        parent = self.held.get(change.parent_key)
        if parent is not None and parent.parent_id != change.incident.id:
            self._put(change.incident, parent_id=parent.id, parent_key=parent.key)

    def _leaves(self, change: Leaves, now: datetime) -> None:
        self.root_since[change.incident.key] = now - changes.JOIN_WITHIN
        self._put(change.incident, parent_id=None, parent_key="", parent_gone_since=None)

    def _heals(self, change: Heals, now: datetime) -> None:
        gone = self.held.pop(change.incident.key)
        for key, each in self.held.items():
            if each.parent_key == gone.key:
                self._put(each, parent_gone_since=gone.quiet_since)
                self.root_since[key] = now


# --- the truth ------------------------------------------------------------------------------------------------------


def may_be_hidden(one: Fault, other: Fault) -> bool:
    """Says whether nobody can tell of `one` while `other` lasts: it is not asked, or shows the same with both."""
    if one.root == other.root or other.hides == "all":
        return True
    if other.hides == "polled" and (one.of or one.mark in ("internal", "polls", "queue", "streams", "disk full")):
        return True
    if other.root in system_keys(OF_SYSTEM.get(one.root.partition(":")[2], ())) or _is_ambiguous(one, other):
        return True
    if other.mark == "valkey" and one.mark in ("worker", "queue", "beat", "sends nothing"):
        return True
    if other.root.startswith(("line:", "exchange:")) and one.of:
        return set(one.of) <= set(other.of)
    return other.mark == "streams" and one.mark == "stream"


def _is_ambiguous(one: Fault, other: Fault) -> bool:
    """Says whether both at once are what the second alone may look like: only a person can tell."""
    may_look_like = {
        "clock": ("denied",),
        "database": ("silent", "failed", "part", "markets", "stream", "streams"),
        "disk": ("failed",),
    }
    return one.mark in may_look_like.get(other.mark, ())


def may_be_told_instead(faults: Sequence[Fault]) -> set[str]:
    """Returns the roots that show in the place of one that is hidden: of a network that is gone, its streams."""
    is_hidden = any(each.hides == "polled" for each in faults)
    return {"system:streams"} if is_hidden and any(each.root == "line:direct" for each in faults) else set()
