"""From websocket frame to committed row: ours against cryptofeed, reading the same frames from the same local exchange.

Ours is `manage.py stream` as it runs: ccxt.pro, the session with its judgement, the store with state, gaps and
history. The other is cryptofeed with its own Postgres backend: bid and ask into one table. Frames per second of the
process's own CPU, from the first frame to the last commit; the database's is told apart.

At the exchange's pace (each market once a second) both commit a row for each frame. As fast as they read, ours keeps
the newest of each market between two batches, as it means to, and cryptofeed stores all: rows are told beside.

cryptofeed brings order_book, which is GPLv3. It has a virtual environment of its own (`make bench-cryptofeed`) and is
loaded in no process of ours; where it is not installed, ours runs alone.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import psutil
import requests
from django.db import connection

from benchmarks.comparison import Comparison, alternate
from benchmarks.processes import end, free_port
from benchmarks.servers import process_ids
from benchmarks.streaming_server import Order
from embedded import process
from lib.home import PROJECT_DIR

EXCHANGE = "binance"
CRYPTOFEED = PROJECT_DIR / ".venv-cryptofeed" / "bin" / "python"
VERSION = "import importlib.metadata as metadata; print(metadata.version('cryptofeed'))"
READY_SECONDS = 90.0
DONE_SECONDS = 60.0
LOOK_SECONDS = 0.2
BUSY_SHARE = 0.3  # of a core

# What cryptofeed's own examples create, without what no one asks for here.
THEIR_TABLE = """
CREATE TABLE IF NOT EXISTS bench_ticker (id serial PRIMARY KEY, timestamp timestamp, receipt_timestamp timestamp,
exchange varchar(32), symbol varchar(32), bid numeric(64, 32), ask numeric(64, 32))
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is told, and how often in a row the same number of rows means that nothing comes any more."""

    markets: int
    rounds: int
    at_pace: Order
    at_once: Order
    lighter: Order
    unchanged_looks: int = 10


FULL = Sizes(
    markets=3000,
    rounds=3,
    at_pace=Order("ticker", True, 15, 1.0),
    at_once=Order("ticker", True, 60),
    lighter=Order("bookTicker", True, 15, 1.0),
)
SMOKE = Sizes(
    markets=500,  # fewer rows cost PostgreSQL less CPU time than can be read
    rounds=1,
    at_pace=Order("ticker", True, 10, 0.3, trickle_share=1),
    at_once=Order("ticker", True, 10, trickle_share=1),
    lighter=Order("bookTicker", True, 10, 0.3, trickle_share=1),
    unchanged_looks=5,
)


class Taken(NamedTuple):
    """One run: frames that were read, rows that are committed, CPU seconds of the process and of PostgreSQL."""

    frames: int
    rows: int
    own_seconds: float
    database_seconds: float
    wall_seconds: float


def comparisons(sizes: Sizes) -> Iterator[Comparison]:
    version = find_cryptofeed()
    with _exchange(sizes.markets) as url:
        _prepare(url)
        ours = Side(url, _our_command(), "collectors_tick", sizes)
        if version is None:
            print("skipped: cryptofeed is not installed (make bench-cryptofeed installs it), so ours runs alone")
            yield _alone(ours, sizes)
        else:
            theirs = Side(url, _their_command(url), "bench_ticker", sizes)
            yield from _against(ours, theirs, sizes, name=f"cryptofeed {version}")


def find_cryptofeed() -> str | None:
    """The version that its virtual environment holds; None where there is none."""
    if not CRYPTOFEED.exists():
        return None
    asked = subprocess.run([str(CRYPTOFEED), "-c", VERSION], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None


def _alone(ours: Side, sizes: Sizes) -> Comparison:
    pace, once = _alternate([(ours, sizes.at_pace), (ours, sizes.at_once)], sizes)
    return Comparison(
        "streaming_at_once_vs_at_pace", once, pace, unit="frames/s of a core", rounds=sizes.rounds,
        note=f"ours alone, as fast as it reads against the exchange's pace: {_words(ours.taken[sizes.at_once])}",
    )  # fmt: skip


def _against(ours: Side, theirs: Side, sizes: Sizes, *, name: str) -> Iterator[Comparison]:
    orders = sizes.at_pace, sizes.at_once
    runs = [(side, order) for order in orders for side in (ours, theirs)]
    pace, their_pace, once, their_once, lighter = _alternate([*runs, (theirs, sizes.lighter)], sizes)
    per_core, rounds = "frames/s of a core", sizes.rounds
    at_pace, at_once = (f"ours {_words(ours.taken[one])}; {name} {_words(theirs.taken[one])}" for one in orders)
    yield Comparison("streaming_frames", pace, their_pace, goal=1.0, unit=per_core, rounds=rounds, note=at_pace)
    yield Comparison("streaming_frames_at_once", once, their_once, goal=1.0, unit=per_core, rounds=rounds, note=at_once)
    yield Comparison(
        "streaming_rows", ours.rows_a_core(), theirs.rows_a_core(), goal=1.0, unit="committed rows/s of a core",
        rounds=rounds, note="at the exchange's pace",
    )  # fmt: skip
    yield Comparison(
        "streaming_lighter_frames", pace, lighter, unit=per_core, rounds=rounds,
        note=f"{name} reads bookTicker, ours ticker",
    )  # fmt: skip
    yield Comparison(
        "streaming_database", ours.database(), theirs.database(), goal=1.0, unit="us of PostgreSQL/row", at_most=True,
        rounds=rounds, note=f"ours: history with its index, state, gaps; {name}: history",
    )  # fmt: skip


def _alternate(runs: Sequence[tuple[Side, Order]], sizes: Sizes) -> list[float]:
    sides = [functools.partial(_run, side, order) for side, order in runs]
    return alternate(sides, rounds=sizes.rounds, warm_up_rounds=0)


def _run(side: Side, order: Order, _: int) -> float:
    return side.run(order)


def _words(runs: Sequence[Taken]) -> str:
    frames, rows, wall = (sum(getattr(one, name) for one in runs) for name in ("frames", "rows", "wall_seconds"))
    return f"committed {rows:,} rows of {frames:,} frames, {frames / wall:,.0f} frames/s of wall time"


@dataclass
class Side:
    """A process that listens, and the table that its rows come to."""

    url: str
    command: Sequence[str]
    table: str
    sizes: Sizes
    taken: dict[Order, list[Taken]] = field(default_factory=lambda: defaultdict(list))

    def run(self, order: Order) -> float:
        """Frames a second of the process's CPU, from the first frame to the last commit."""
        requests.post(f"{self.url}/_bench/record", json=asdict(order), timeout=60).raise_for_status()
        with self._started() as listener:
            self._wait_until_ready(listener)
            taken = self._measure(listener)
        self.taken[order].append(taken)
        return taken.frames / taken.own_seconds

    def rows_a_core(self) -> float:
        """Committed rows a second of the process's CPU, at the exchange's pace."""
        runs = self.taken[self.sizes.at_pace]
        return sum(one.rows for one in runs) / sum(one.own_seconds for one in runs)

    def database(self) -> float:
        """Microseconds of PostgreSQL's CPU for a committed row, at the exchange's pace."""
        runs = self.taken[self.sizes.at_pace]
        return sum(one.database_seconds for one in runs) / sum(one.rows for one in runs) * 1e6

    @contextlib.contextmanager
    def _started(self) -> Iterator[psutil.Process]:
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {self.table}")
        environ = {**os.environ, "LOG_LEVEL": "WARNING"}
        with tempfile.TemporaryFile() as log:
            one = process.spawn(self.command, environ=environ, cwd=PROJECT_DIR, output=log)
            try:
                yield psutil.Process(one.pid)
            except RuntimeError as error:
                log.seek(0)
                raise RuntimeError(f"{error}\n{log.read().decode()[-2000:]}") from None
            finally:
                end(one)

    def _wait_until_ready(self, listener: psutil.Process) -> None:
        """Everything is asked for, and what is told is stored."""
        give_up_at = time.monotonic() + READY_SECONDS
        wanted = self.sizes.markets
        while self._report()["asked"] < wanted or self._row_count() < wanted:
            if time.monotonic() > give_up_at or listener.status() == psutil.STATUS_ZOMBIE:
                raise RuntimeError(f"{self.command[-1]} does not listen: {self._report()}, {self._row_count()} rows")
            time.sleep(LOOK_SECONDS)

    def _measure(self, listener: psutil.Process) -> Taken:
        database = psutil.Process(process_ids()["postgres"])
        before, began = self._row_count(), time.monotonic()
        own, others = _cpu_seconds(listener), _cpu_seconds(database)
        requests.post(f"{self.url}/_bench/start", timeout=10).raise_for_status()
        rows, unchanged, seen, best = before, 0, own + others, (own, others, began)
        while unchanged < self.sizes.unchanged_looks:
            time.sleep(LOOK_SECONDS)
            now = _cpu_seconds(listener), _cpu_seconds(database), time.monotonic()
            if now[2] - began > DONE_SECONDS:
                raise RuntimeError(f"{self.command[-1]} is not done: {self._report()}, {rows - before} rows")
            is_busy = now[0] + now[1] - seen > BUSY_SHARE * LOOK_SECONDS
            count, seen = self._row_count(), now[0] + now[1]
            unchanged = unchanged + 1 if count == rows and self._report()["is_done"] and not is_busy else 0
            rows, best = count, best if unchanged else now
        frames = int(self._report()["sent"])
        return Taken(frames, rows - before, best[0] - own, best[1] - others, best[2] - began)

    def _report(self) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = requests.get(f"{self.url}/_bench", timeout=10).json()
        return answer

    def _row_count(self) -> int:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {self.table}")
            return int(cursor.fetchone()[0])


@contextlib.contextmanager
def _exchange(markets: int) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.streaming_server", str(port), str(markets)]
    server = process.spawn(command, environ=os.environ, cwd=PROJECT_DIR, output=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(lambda: requests.get(f"{url}/_bench", timeout=2).ok)
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)


def _wait_for(is_so: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + READY_SECONDS
    while time.monotonic() < give_up_at:
        with contextlib.suppress(requests.ConnectionError):
            if is_so():
                return
        time.sleep(LOOK_SECONDS)
    raise RuntimeError("the local exchange did not come up")


def _prepare(url: str) -> None:
    """One exchange that is only listened to, with its market list, and the other side's table."""
    from collectors import lease
    from collectors.history import partitions
    from collectors.polling import poll
    from exchanges.models import Exchange
    from lib import clock
    from operations import exchange_commands

    now = clock.now()
    partitions.ensure(now)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE collectors_tick, collectors_rollup, exchanges_exchange CASCADE")
        cursor.execute(THEIR_TABLE)
    Exchange.objects.filter(pk=EXCHANGE).delete()
    exchange_commands.create(EXCHANGE, by="bench", now=now, base_url=url, transport="stream")
    permit = lease.take(EXCHANGE, lease_seconds=60, repeat=True)
    assert permit is not None
    poll.reload_markets(permit, now=now, deadline_seconds=60)
    lease.release(permit)


def _our_command() -> list[str]:
    return [sys.executable, "manage.py", "stream"]


def _their_command(url: str) -> list[str]:
    """asyncpg connects where we do: over the same socket."""
    at = connection.get_connection_params()
    where = [str(at.get(name) or "") for name in ("host", "port", "user", "password", "dbname")]
    program = [str(CRYPTOFEED), "-m", "benchmarks.streaming_cryptofeed"]
    return [*program, url, where[0], where[1] or "5432", *where[2:]]


def _cpu_seconds(root: psutil.Process) -> float:
    """Of a process, its children, and those that have ended."""
    total = 0.0
    for one in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(one.cpu_times()[:4])
    return total
