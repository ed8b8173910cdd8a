"""The whole system at work: real beat, workers, pulse and web on durable servers, collecting from the sandbox.

Prints and keeps how late slots began, how many were done, and what each group of processes used meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.comparison import Comparison
from benchmarks.exchanges import Sandbox, running_sandbox
from benchmarks.processes import end, free_port
from benchmarks.servers import durable_servers, prepare_django, process_ids
from benchmarks.usage import Usage
from embedded import process
from embedded.settings import application_specs, read_settings
from lib.home import PROJECT_DIR

PROCESSES = ("worker", "beat", "pulse", "web")
WARM_UP_SECONDS = 180.0
SETTLE_INTERVALS = 5  # the queue of first polls, each with its market list, is worked off by then
CPU_GOAL_CORES = 0.6
LAG_GOAL_SECONDS = 1.0
SHARE_GOAL = 0.98


@dataclass(frozen=True, slots=True)
class Sizes:
    """So many exchanges with so many markets, polled every `interval` seconds, measured for so many seconds."""

    exchanges: int
    markets: int
    interval: float
    seconds: float
    concurrency: int  # of the worker's processes


FULL = Sizes(exchanges=100, markets=500, interval=10.0, seconds=180.0, concurrency=4)
SMOKE = Sizes(exchanges=2, markets=5, interval=1.0, seconds=4.0, concurrency=2)


def main(arguments: Sequence[str]) -> int:
    sizes = _sizes(arguments)
    with durable_servers() as environ:
        prepare_django(environ)
        figures = _figures(sizes)
    for name, value in figures.items():
        print(f"system {name} {value}")
    results.keep_system_run(f"{sizes.exchanges}x{sizes.markets}", figures, now=datetime.now(UTC))
    return 0 if figures["is_good"] else 1


def comparisons(sizes: Sizes) -> Iterator[Comparison]:
    """The system against what was asked of it, on the servers of this process."""
    figures = _figures(sizes)
    yield Comparison("system_slots", figures["slots_stored"], figures["slots_expected"], unit="slots")
    yield Comparison(
        "system_rows", figures["rows_per_second"], figures["rows_per_second_wanted"], note="stored, and asked for"
    )
    yield Comparison(
        "system_cores", figures["cores_without_sandbox"], CPU_GOAL_CORES, unit="cores", at_most=True,
        note="used, and promised for 50,000 pipelines every 10 s",
    )  # fmt: skip


def _figures(sizes: Sizes) -> dict[str, Any]:
    with running_sandbox(markets=sizes.markets) as sandbox:
        _schedule(sizes, sandbox)
        with _running(sizes) as roots:
            _wait_until_all_have_stored(sizes.exchanges)
            time.sleep(SETTLE_INTERVALS * sizes.interval)
            return _measure(sizes, {**roots, "sandbox": sandbox.pid})


def _sizes(arguments: Sequence[str]) -> Sizes:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.system", description=__doc__)
    parser.add_argument("--exchanges", type=int, default=FULL.exchanges)
    parser.add_argument("--markets", type=int, default=FULL.markets)
    parser.add_argument("--interval", type=float, default=FULL.interval)
    parser.add_argument("--seconds", type=float, default=FULL.seconds)
    parser.add_argument("--concurrency", type=int, default=FULL.concurrency, help="worker processes")
    return Sizes(**vars(parser.parse_args(arguments)))


def _schedule(sizes: Sizes, sandbox: Sandbox) -> None:
    from benchmarks import fleet, world
    from collectors.history import partitions
    from collectors.polling import schedule
    from lib import clock
    from operations import commands

    now = clock.now()
    world.clear()
    partitions.ensure(now)
    for exchange_id in fleet.members(sizes.exchanges):
        url = f"{sandbox.url}/clone-{exchange_id}"
        commands.create(exchange_id, by="bench", now=now, base_url=url, poll_interval_seconds=sizes.interval)
    schedule.sync(now=now)


@contextlib.contextmanager
def _running(sizes: Sizes) -> Iterator[dict[str, int]]:
    """The commands of `make run`; the worker knows the fleet. Their pids by name, the servers' among them."""
    environ = {
        **os.environ,
        "PORT": str(free_port()),
        "WORKER_CONCURRENCY": str(sizes.concurrency),
        "PYTHONUNBUFFERED": "1",
    }
    specs = application_specs(read_settings(environ, with_sandbox=False), environ)
    started: dict[str, subprocess.Popen[bytes]] = {}
    with contextlib.ExitStack() as stack:
        for name in PROCESSES:
            command = ["benchmarks.fleet" if part == "marketmon" and name == "worker" else str(part)
                       for part in specs[name].command]  # fmt: skip
            log = stack.enter_context((Path(environ["MARKETMON_HOME"]) / f"{name}.log").open("wb"))
            started[name] = process.spawn(command, environ=environ, cwd=PROJECT_DIR, output=log)
            stack.callback(end, started[name])
        yield {**{name: one.pid for name, one in started.items()}, **process_ids()}


def _wait_until_all_have_stored(exchanges: int) -> None:
    from collectors.models import Run

    give_up_at = time.monotonic() + WARM_UP_SECONDS
    while (stored := Run.objects.filter(outcome="stored").values("exchange").distinct().count()) < exchanges:
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"only {stored} of {exchanges} exchanges have stored rows within {WARM_UP_SECONDS} s")
        time.sleep(1)


def _measure(sizes: Sizes, roots: Mapping[str, int]) -> dict[str, Any]:
    from lib import clock

    begun, started = clock.now(), time.monotonic()
    with Usage(roots) as usage:
        time.sleep(sizes.seconds)
    seconds = time.monotonic() - started
    cores = {group: round(used / seconds, 3) for group, used in usage.cpu_seconds().items()}
    memory = {group: round(megabytes) for group, megabytes in usage.memory_mb().items()}
    total = round(sum(cores.values()) - cores["sandbox"], 3)
    figures = _slots(sizes, begun, seconds)
    is_good = figures["lag_max_seconds"] < LAG_GOAL_SECONDS and figures["share_of_slots"] >= SHARE_GOAL
    return figures | {
        "cores": cores,
        "cores_without_sandbox": total,
        "goal_cores": CPU_GOAL_CORES,
        "pss_mb": memory,
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "is_good": is_good and total <= CPU_GOAL_CORES * 1.25,
    }


def _slots(sizes: Sizes, begun: datetime, seconds: float) -> dict[str, Any]:
    from collectors.models import Gap, Run

    runs = list(
        Run.objects.filter(started_at__gte=begun, started_at__lt=begun + timedelta(seconds=seconds))
        .order_by("started_at")
        .values_list("exchange_id", "started_at", "duration_ms", "outcome", "rows_stored")
    )
    stored = [run for run in runs if run[3] == "stored"]
    late = sorted(_lags(stored, sizes.interval))
    lags = [lag for lag, _ in late]
    durations = sorted(run[2] for run in stored)
    expected = sizes.exchanges * seconds / sizes.interval
    return {
        "exchanges": sizes.exchanges,
        "markets": sizes.markets,
        "interval_seconds": sizes.interval,
        "seconds": round(seconds),
        "concurrency": sizes.concurrency,
        "slots_expected": round(expected),
        "slots_stored": len(stored),
        "share_of_slots": round(len(stored) / expected, 4),
        "other_outcomes": len(runs) - len(stored),
        "rows_per_second": round(sum(run[4] for run in stored) / seconds, 1),
        "rows_per_second_wanted": round(sizes.exchanges * sizes.markets / sizes.interval, 1),
        "lag_p50_seconds": round(statistics.median(lags), 3),
        "lag_p99_seconds": round(lags[int(len(lags) * 0.99)], 3),
        "lag_max_seconds": round(lags[-1], 3),
        "drift_seconds_per_slot": round(_drift(stored, sizes.interval), 4),
        "late_at_seconds": sorted({int(at - begun.timestamp()) for lag, at in late if lag > LAG_GOAL_SECONDS / 2}),
        "poll_p50_ms": durations[len(durations) // 2],
        "poll_p99_ms": durations[int(len(durations) * 0.99)],
        "gaps": Gap.objects.filter(detected_at__gte=begun).count(),
    }


def _lags(runs: Sequence[tuple[Any, ...]], interval: float) -> Iterator[tuple[float, float]]:
    """How late each run began, and when: a slot is due an interval after the slot before it was."""
    for moments in _starts(runs).values():
        for before, moment in itertools.pairwise(moments):
            slots = max(1, round((moment - before) / interval))
            yield max(0.0, moment - before - slots * interval), moment


def _drift(runs: Sequence[tuple[Any, ...]], interval: float) -> float:
    """Seconds by which a slot is longer than it should be: what lateness adds up to."""
    spans = [(moments[-1] - moments[0], len(moments) - 1) for moments in _starts(runs).values() if len(moments) > 1]
    return sum(span for span, _ in spans) / sum(slots for _, slots in spans) - interval


def _starts(runs: Sequence[tuple[Any, ...]]) -> Mapping[str, list[float]]:
    starts: dict[str, list[float]] = defaultdict(list)
    for exchange_id, started_at, *_ in runs:
        starts[exchange_id].append(started_at.timestamp())
    return starts


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
