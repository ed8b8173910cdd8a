"""From websocket frame to committed row: ours against cryptofeed, reading the same frames from the same local venue.

Ours is `manage.py stream` as it runs: ccxt.pro, the session with its judgement, the store with state, gaps and
history. The other is cryptofeed with its own Postgres backend: bid and ask into one table. Frames per second of the
process's own CPU, from the first frame to the last commit; the database's is told apart.

At the venue's pace (each market once a second) both commit a row for each frame. As fast as they read, ours keeps the
newest of each market between two batches, as it means to, and cryptofeed stores all: rows are told beside.
"""

from __future__ import annotations

import contextlib
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
from benchmarks.streaming_server import Order
from benchmarks.venues import PORTS, is_free
from embedded import process
from lib.home import PROJECT_DIR

MARKETS = 3000
ROUNDS = 3
AT_PACE = Order("ticker", True, 15, 1.0)
AT_ONCE = Order("ticker", True, 60)
LIGHTER = Order("bookTicker", True, 15, 1.0)
EXCHANGE = "binance"
READY_SECONDS = 90.0
DONE_SECONDS = 60.0
LOOK_SECONDS = 0.2
UNCHANGED_LOOKS = 10  # so often the same number of rows, and nobody works: nothing comes any more
BUSY_SHARE = 0.3  # of a core

# What cryptofeed's own examples create, without what no one asks for here.
THEIR_TABLE = """
CREATE TABLE IF NOT EXISTS bench_ticker (id serial PRIMARY KEY, timestamp timestamp, receipt_timestamp timestamp,
exchange varchar(32), symbol varchar(32), bid numeric(64, 32), ask numeric(64, 32))
"""


class Taken(NamedTuple):
    """One run: frames that were read, rows that are committed, CPU seconds of the process and of PostgreSQL."""

    frames: int
    rows: int
    own_seconds: float
    database_seconds: float
    wall_seconds: float


def comparisons() -> Iterator[Comparison]:
    with _venue() as url:
        _prepare(url)
        ours, theirs = Side(url, _our_command(), "collectors_tick"), Side(url, _their_command(url), "bench_ticker")
        runs = [(ours, AT_PACE), (theirs, AT_PACE), (ours, AT_ONCE), (theirs, AT_ONCE), (theirs, LIGHTER)]
        pace, their_pace, once, their_once, lighter = alternate(
            [lambda _, side=side, order=order: side.run(order) for side, order in runs],  # type: ignore[misc]
            rounds=ROUNDS, warm_up_rounds=0,
        )  # fmt: skip
    yield _compare("streaming_frames", pace, their_pace, note=_note(ours, theirs, AT_PACE))
    yield _compare("streaming_frames_at_once", once, their_once, note=_note(ours, theirs, AT_ONCE))
    yield Comparison(
        "streaming_rows", _rows_a_core(ours), _rows_a_core(theirs), goal=1.0, unit="committed rows/s of a core",
        rounds=ROUNDS, note="at the venue's pace",
    )  # fmt: skip
    yield _compare(
        "streaming_lighter_frames", pace, lighter, goal=None, note="cryptofeed reads bookTicker, ours ticker"
    )
    yield Comparison(
        "streaming_database", _database(ours), _database(theirs), goal=1.0, unit="us of PostgreSQL/row", at_most=True,
        rounds=ROUNDS, note="ours: history with its index, state, gaps; cryptofeed: history",
    )  # fmt: skip


def _compare(name: str, ours: float, other: float, *, note: str, goal: float | None = 1.0) -> Comparison:
    return Comparison(name, ours, other, goal=goal, unit="frames/s of a core", rounds=ROUNDS, note=note)


def _note(ours: Side, theirs: Side, order: Order) -> str:
    return f"ours {_words(ours.taken[order])}; cryptofeed {_words(theirs.taken[order])}"


def _rows_a_core(side: Side) -> float:
    runs = side.taken[AT_PACE]
    return sum(one.rows for one in runs) / sum(one.own_seconds for one in runs)


def _database(side: Side) -> float:
    runs = side.taken[AT_PACE]
    return sum(one.database_seconds for one in runs) / sum(one.rows for one in runs) * 1e6


def _words(runs: Sequence[Taken]) -> str:
    frames, rows, wall = (sum(getattr(one, name) for one in runs) for name in ("frames", "rows", "wall_seconds"))
    return f"committed {rows:,} rows of {frames:,} frames, {frames / wall:,.0f} frames/s of wall time"


@dataclass
class Side:
    """A process that listens, and the table that its rows come to."""

    url: str
    command: Sequence[str]
    table: str
    taken: dict[Order, list[Taken]] = field(default_factory=lambda: defaultdict(list))

    def run(self, order: Order) -> float:
        """Frames a second of the process's CPU, from the first frame to the last commit."""
        requests.post(f"{self.url}/_bench/record", json=asdict(order), timeout=60).raise_for_status()
        with self._started() as listener:
            self._wait_until_ready(listener)
            taken = self._measure(listener)
        self.taken[order].append(taken)
        return taken.frames / taken.own_seconds

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
                one.send_signal(signal.SIGTERM)
                try:
                    one.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill_group(one.pid, signal.SIGKILL)

    def _wait_until_ready(self, listener: psutil.Process) -> None:
        """Everything is asked for, and what is told is stored."""
        give_up_at = time.monotonic() + READY_SECONDS
        while self._report()["asked"] < MARKETS or self._row_count() < MARKETS:
            if time.monotonic() > give_up_at or listener.status() == psutil.STATUS_ZOMBIE:
                raise RuntimeError(f"{self.command[-1]} does not listen: {self._report()}, {self._row_count()} rows")
            time.sleep(LOOK_SECONDS)

    def _measure(self, listener: psutil.Process) -> Taken:
        database = _database_process()
        before, began = self._row_count(), time.monotonic()
        own, others = _cpu_seconds(listener), _cpu_seconds(database)
        requests.post(f"{self.url}/_bench/start", timeout=10).raise_for_status()
        rows, unchanged, seen, best = before, 0, own + others, (own, others, began)
        while unchanged < UNCHANGED_LOOKS:
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
def _venue() -> Iterator[str]:
    port = next(port for port in PORTS if is_free(port))
    command = [sys.executable, "-m", "benchmarks.streaming_server", str(port), str(MARKETS)]
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
    raise RuntimeError("the local venue did not come up")


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
    return [sys.executable, "-m", "benchmarks.streaming_cryptofeed", url, where[0], where[1] or "5432", *where[2:]]


def _database_process() -> psutil.Process:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        parent = psutil.Process(cursor.fetchone()[0]).parent()
    assert parent is not None
    return parent


def _cpu_seconds(root: psutil.Process) -> float:
    """Of a process, its children, and those that have ended."""
    total = 0.0
    for one in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(one.cpu_times()[:4])
    return total
