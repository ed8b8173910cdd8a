"""The whole system for as long as you like, with faults: `python -m benchmarks.soak --minutes 60`.

A real `manage.py up` in a home of its own. The simulated exchanges fail at random, worker children and the stream
process are killed; meanwhile memory (PSS; of PostgreSQL what is not shared) and open files of every process are noted.
At the end: who grows, and whether what was stored is what should have been.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import itertools
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import psutil
import psycopg2
import requests

from benchmarks.comparison import Comparison
from benchmarks.processes import free_port
from lib.home import PROJECT_DIR

QUIET_SHARE = 0.1  # of the run, at its end: no more faults, everything comes back
WARM_UP_SECONDS = 180.0  # of a process: imports, caches and connections that come with its first work
WARM_UP_SHARE = 1 / 3  # of its life, when that is longer: what only fills up levels off, what leaks goes on
SHORTEST_LIFE_SECONDS = 240.0  # measured after that, or no verdict
START_SECONDS = 120.0
RECOVERY_SECONDS = 120.0
FRESH_SECONDS = 30.0
# Less is not told from noise in a quarter of an hour: malloc keeps what a burst needed, caches fill.
LEAK_MB_PER_HOUR, LEAK_MB = 30.0, 4.0
LEAK_FILES_PER_HOUR, LEAK_FILES = 20.0, 4.0

NAMES: Mapping[str, str] = {
    "postgres": r"^(\S*/)?postgres(:| )",
    "valkey": r"valkey-server|redis-server",
    "sandbox": r"-m sandbox",
    "web": r"-m granian|granian",
    "worker": r"celery.* worker|celeryd",
    "beat": r"celery.* beat",
    "pulse": r"manage\.py pulse",
    "stream": r"manage\.py stream",
    "up": r"manage\.py up|-m embedded",
}
NAMED_BY_ITS_HOME = frozenset({"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "ADMIN_API_KEY"})
SHARES_BUFFERS = frozenset({"postgres"})  # which fill up to their size: only what is not shared is measured
OF_REST: Sequence[Mapping[str, Any]] = (
    {"kind": "status", "params": {"code": 500}},
    {"kind": "status", "params": {"code": 429, "retry_after": 5}},
    {"kind": "reset"},
    {"kind": "hang"},
    {"kind": "html"},
    {"kind": "truncated"},
    {"kind": "bad_gzip"},
    {"kind": "drip"},
    {"kind": "delay", "params": {"seconds": 4.0}},
)
OF_WEBSOCKETS: Sequence[Mapping[str, Any]] = tuple(
    {"kind": f"ws_{word}"}
    for word in (
        *("close", "reset", "silence", "broken", "nan", "unknown_symbol"),
        *("refuse", "no_answer", "no_pong", "burst"),
    )
)
ONCE = frozenset({"ws_close", "ws_reset", "ws_burst"})  # on every tick they would be an exchange that is shut

NOT_DELIVERING = """
SELECT e.id FROM exchanges_exchange e JOIN collectors_worker w ON w.exchange_id = e.id
WHERE e.is_collected AND (w.status <> 'running' OR NOT EXISTS (
    SELECT 1 FROM exchanges_market m JOIN collectors_pipeline p ON p.market_id = m.id
    WHERE m.exchange_id = e.id AND p.received_at > now() - %s * interval '1 second'))
"""
SUMMARY = """
SELECT (SELECT count(*) FROM collectors_tick), (SELECT count(*) FROM collectors_gap),
       (SELECT count(*) FROM collectors_switch), (SELECT count(*) FROM exchanges_exchange WHERE enabled)
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long, and how often something is measured and goes wrong."""

    seconds: float
    sample_seconds: float = 10.0
    fault_every_seconds: float = 12.0
    child_killed_every_seconds: float = 150.0
    stream_killed_at: Sequence[float] = (0.1, 0.2)  # shares of the run: what is left is long enough to see it grow
    seed: int = 1  # of the faults


FULL = Sizes(seconds=3600.0)
SMOKE = Sizes(
    seconds=6.0, sample_seconds=1.0, fault_every_seconds=2.0, child_killed_every_seconds=4.0, stream_killed_at=()
)


class Sample(NamedTuple):
    """Of one process."""

    at: float
    megabytes: float
    files: int


Samples: TypeAlias = Mapping[tuple[str, int], list[Sample]]  # by name and process id


@dataclass
class System:
    """A running marketmon, seen from outside."""

    process: psutil.Process
    home: Path
    sandbox_url: str

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        lines = (self.home / "runtime.env").read_text(encoding="utf-8").splitlines()
        url = dict(line.split("=", 1) for line in lines if "=" in line)["DATABASE_URL"]
        with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())

    def verify(self) -> bool:
        """`manage.py verify`, with all that it says."""
        environ = _environ_of(self.home)
        return not subprocess.call([sys.executable, "manage.py", "verify"], cwd=PROJECT_DIR, env=environ)

    def silent_exchanges(self) -> list[str]:
        """Empty, too, before there are any."""
        return [name for (name,) in self.sql(NOT_DELIVERING, FRESH_SECONDS)]

    def processes(self) -> Iterator[tuple[str, psutil.Process]]:
        """Named, those of the same name parents first."""
        for one in [self.process, *self.process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                line = " ".join(one.cmdline())
                yield next((name for name, pattern in NAMES.items() if re.search(pattern, line)), line[:40]), one

    def fault(self, order: Mapping[str, Any]) -> None:
        requests.post(f"{self.sandbox_url}/_sandbox/faults", json=order, timeout=10).raise_for_status()

    def heal(self) -> None:
        requests.delete(f"{self.sandbox_url}/_sandbox/faults", timeout=10).raise_for_status()

    def exchange_ids(self) -> list[str]:
        return [name for (name,) in self.sql("SELECT id FROM exchanges_exchange WHERE enabled ORDER BY id")]


@dataclass
class Trouble:
    """What goes wrong, and when. The same seed makes the same plan."""

    system: System
    sizes: Sizes
    faults: int = 0
    kills: list[str] = field(default_factory=list)
    _next_fault: float = 0.0
    _is_over: bool = False

    def __post_init__(self) -> None:
        self._dice = random.Random(self.sizes.seed)
        self._next_child = self.sizes.child_killed_every_seconds / 2

    def act(self, elapsed: float) -> None:
        if elapsed > self.sizes.seconds * (1 - QUIET_SHARE):
            if not self._is_over:
                self.system.heal()
                self._is_over = True
            return
        if elapsed >= self._next_fault:
            self._next_fault = elapsed + self._dice.uniform(0.5, 1.5) * self.sizes.fault_every_seconds
            self._break_an_exchange()
        if elapsed >= self._next_child:
            self._next_child = elapsed + self.sizes.child_killed_every_seconds
            self._kill("worker", children_only=True)
        due = [share for share in self.sizes.stream_killed_at if elapsed >= share * self.sizes.seconds]
        if self.kills.count("stream") < len(due):
            self._kill("stream")

    def _break_an_exchange(self) -> None:
        fault = self._dice.choice([*OF_REST, *OF_WEBSOCKETS])
        lasts = {"count": 1} if fault["kind"] in ONCE else {"for_seconds": self._dice.uniform(3, 25)}
        self.system.fault({"exchange": self._dice.choice(self.system.exchange_ids()), **fault, **lasts})
        self.faults += 1

    def _kill(self, name: str, *, children_only: bool = False) -> None:
        found = [one for other, one in self.system.processes() if other == name]
        victim = self._dice.choice(found[1:]) if children_only else found[0]
        victim.kill()
        self.kills.append(name)


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    outcome = _soak(Sizes(seconds=options.minutes * 60, seed=options.seed))
    if options.samples:
        _write_samples(outcome.samples, options.samples)
    is_flat = _print_processes(outcome.samples)
    print(f"soak {outcome.trouble}")
    return 0 if is_flat and outcome.is_true else 1


def comparisons(sizes: Sizes) -> Iterator[Comparison]:
    """All processes' memory at the end against the beginning. Raises when what was stored is wrong or incomplete."""
    outcome = _soak(sizes)
    if not outcome.is_true:
        raise RuntimeError("what was stored is not what should have been")
    every = [sample for of_one in outcome.samples.values() for sample in of_one]
    first, last = (sum(one.megabytes for one in every if one.at == at) for at in _ends(every))
    yield Comparison("soak_memory", last, first, unit="MB", at_most=True, note=outcome.trouble)


def _ends(samples: Sequence[Sample]) -> tuple[float, float]:
    moments = [one.at for one in samples]
    return min(moments), max(moments)


@dataclass(frozen=True, slots=True)
class Outcome:
    samples: Samples
    is_true: bool
    trouble: str


def _soak(sizes: Sizes) -> Outcome:
    with _running() as system:
        _wait("every exchange delivers", lambda: _is_complete(system), seconds=START_SECONDS)
        trouble = Trouble(system, sizes)
        samples = _watch(system, trouble)
        _wait("every exchange delivers again", lambda: not system.silent_exchanges(), seconds=RECOVERY_SECONDS)
        is_true = _print_truths(system)
    said = f"{trouble.faults} faults, killed {', '.join(trouble.kills) or 'nothing'}, seed {sizes.seed}"
    return Outcome(samples, is_true, said)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="of the faults")
    parser.add_argument("--samples", type=Path, help="a CSV file for all that was measured")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _running() -> Iterator[System]:
    home = Path(tempfile.mkdtemp(prefix="marketmon-soak-"))
    home.chmod(0o711)  # the servers run as nobody when we are root
    port, sandbox_port = (os.environ.get(name) or str(free_port()) for name in ("PORT", "SANDBOX_PORT"))
    environ = {**_environ_of(home), "PORT": port, "SANDBOX_PORT": sandbox_port}
    with (home / "up.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up"], cwd=PROJECT_DIR, env=environ, stdout=output, stderr=output
        )
    try:
        yield System(psutil.Process(process.pid), home, f"http://127.0.0.1:{sandbox_port}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(home, ignore_errors=True)


def _environ_of(home: Path) -> dict[str, str]:
    """Ours, without what names other servers: the system makes its own, and their secrets."""
    ours = {name: value for name, value in os.environ.items() if name not in NAMED_BY_ITS_HOME}
    return {**ours, "MARKETMON_HOME": str(home)}


def _is_complete(system: System) -> bool:
    try:
        return bool(system.exchange_ids()) and not system.silent_exchanges()
    except (OSError, KeyError, psycopg2.Error):
        return False


def _wait(what: str, is_so: Callable[[], bool], *, seconds: float) -> None:
    """Prints how long it took. Goes on, too, when it does not come: the truths will say so."""
    began = time.monotonic()
    while not is_so() and time.monotonic() - began < seconds:
        time.sleep(1)
    print(f"soak waited {time.monotonic() - began:.0f} s until {what}", flush=True)


def _watch(system: System, trouble: Trouble) -> Samples:
    samples: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    began = time.monotonic()
    for number in itertools.count():
        elapsed = time.monotonic() - began
        if elapsed > trouble.sizes.seconds:
            return samples
        with contextlib.suppress(requests.RequestException, psutil.Error):
            trouble.act(elapsed)
        every = trouble.sizes.sample_seconds
        if elapsed >= number * every:
            _note(system, samples, elapsed)
        time.sleep(max(0.0, began + (number + 1) * every - time.monotonic()))
    return samples


def _note(system: System, samples: dict[tuple[str, int], list[Sample]], elapsed: float) -> None:
    for name, one in system.processes():
        with contextlib.suppress(psutil.Error):
            memory = one.memory_full_info()
            used = memory.uss if name in SHARES_BUFFERS else memory.pss
            samples[name, one.pid].append(Sample(elapsed, used / 1e6, one.num_fds()))


def _write_samples(samples: Samples, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as output:
        rows = csv.writer(output)
        rows.writerow(["process", "pid", "seconds", "megabytes", "files"])
        for (name, pid), of_one in samples.items():
            rows.writerows((name, pid, f"{one.at:.0f}", f"{one.megabytes:.2f}", one.files) for one in of_one)


class Trend(NamedTuple):
    """The medians of the first and the last quarter, and the median of all slopes between samples."""

    first: float
    last: float
    per_hour: float

    def is_above(self, per_hour: float, growth: float) -> bool:
        return self.per_hour > per_hour and self.last - self.first > growth


class Verdict(NamedTuple):
    """On one process, after its warm-up."""

    name: str
    pid: int
    seconds: float
    megabytes: Trend
    files: Trend

    @property
    def grown(self) -> list[str]:
        limits = {"megabytes": (LEAK_MB_PER_HOUR, LEAK_MB), "files": (LEAK_FILES_PER_HOUR, LEAK_FILES)}
        return [which for which, limit in limits.items() if getattr(self, which).is_above(*limit)]

    def levels_off(self, others: Iterable[Verdict]) -> bool:
        """It grows to no more than one of its kind, older than it, stays at: each child meets its work one by one."""
        return any(
            other.name == self.name and other.seconds > self.seconds and not other.grown
            and all(getattr(other, which).last >= getattr(self, which).last for which in self.grown)
            for other in others
        )  # fmt: skip


def _print_processes(samples: Samples) -> bool:
    """Whether none grows. Of those that lived too short to be judged it prints the number only."""
    settled = {key: _settled(of_one) for key, of_one in sorted(samples.items())}
    verdicts = [
        Verdict(name, pid, ends[-1].at - ends[0].at, _trend(ends, "megabytes"), _trend(ends, "files"))
        for (name, pid), ends in settled.items()
        if ends
    ]
    for verdict in verdicts:
        word = "flat" if not verdict.grown else "levels off" if verdict.levels_off(verdicts) else "GROWS"
        memory, files = verdict.megabytes, verdict.files
        print(
            f"soak {verdict.name}:{verdict.pid} over {verdict.seconds:.0f} s: {memory.first:.1f} to "
            f"{memory.last:.1f} MB, {memory.per_hour:+.1f} MB/h; files {files.first:.0f} to {files.last:.0f}, "
            f"{files.per_hour:+.1f}/h: {word}"
        )
    short = Counter(name for (name, _), ends in settled.items() if not ends)
    print(f"soak lived too short to judge: {', '.join(f'{count} x {name}' for name, count in short.items()) or 'none'}")
    return all(verdict.levels_off(verdicts) for verdict in verdicts if verdict.grown)


def _settled(samples: Sequence[Sample]) -> Sequence[Sample]:
    """After its warm-up. Empty when the rest is too short to judge."""
    lived = samples[-1].at - samples[0].at
    settled = [one for one in samples if one.at >= samples[0].at + max(WARM_UP_SECONDS, WARM_UP_SHARE * lived)]
    return settled if settled and settled[-1].at - settled[0].at >= SHORTEST_LIFE_SECONDS else []


def _trend(samples: Sequence[Sample], which: str) -> Trend:
    points = [(one.at, float(getattr(one, which))) for one in samples]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.combinations(points, 2)]
    quarter = max(1, len(points) // 4)
    first, last = (statistics.median(value for _, value in part) for part in (points[:quarter], points[-quarter:]))
    return Trend(first, last, statistics.median(slopes) * 3600)


def _print_truths(system: System) -> bool:
    rows, gaps, switches, exchanges = system.sql(SUMMARY)[0]
    print(f"soak stored {rows} rows of {exchanges} exchanges, {gaps} gaps, {switches} switches of transport")
    silent = system.silent_exchanges()
    print(f"soak exchanges that do not deliver: {', '.join(silent) or 'none'}")
    return system.verify() and not silent


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
