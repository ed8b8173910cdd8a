"""The read path against the other ways to answer: DRF serializers, a static file, and a handler written by hand.

50,000 pipelines over HTTP while 5,000 rows a second are written. Everything of Django's runs in the same server; the
sides take turns. Seconds of one uncached answer, and requests per second of the cached one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from access import keys
from access.models import Endpoint, Tier
from benchmarks import world
from benchmarks.comparison import Comparison
from benchmarks.reading_client import Load, load, request, seconds_of_one
from collectors.models import Pipeline
from collectors.status import published
from lib import clock, valkey

PROJECT = Path(__file__).resolve().parents[1]
ROUNDS = 5
ROUNDS_ONE_SOURCE = 25
SLICE_SECONDS = 2.0
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Sites:
    """Ports: ours as it is and ours without any cache in the same code, and FastAPI's (None: not installed)."""

    cached: int
    uncached: int
    by_hand: int | None
    free_key: dict[str, str]
    metered_key: dict[str, str]


def comparisons() -> Iterator[Comparison]:
    world.seed(clock.now())
    Pipeline.objects.update(received_at=clock.now())
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        static = Path(folder)
        _write_static(static)
        free_key, metered_key = _keys()
        stack.enter_context(_running([sys.executable, "-m", "benchmarks.reading_ingestion"]))
        sites = Sites(
            cached=stack.enter_context(_site("rsgi", "benchmarks.reading_site:application", static)),
            uncached=stack.enter_context(
                _site("rsgi", "benchmarks.reading_site:application", static, STATUS_BODY_MAX_AGE_SECONDS="0")
            ),
            by_hand=_by_hand(stack, static),
            free_key=free_key,
            metered_key=metered_key,
        )
        yield from _uncached(sites)
        stack.enter_context(_running([sys.executable, "-m", "benchmarks.reading_pulse"]))
        _wait_for_bodies()
        yield from _cached(sites)


# --- what is compared -------------------------------------------------------------------------------------------


def _uncached(sites: Sites) -> Iterator[Comparison]:
    status, drf = request("/v1/status/pipelines", sites.free_key), request("/bench/drf", {})
    ours, by_drf = _alternate([(sites.uncached, status), (sites.uncached, drf)], ROUNDS)
    yield _times("status_50000_uncached_vs_drf", ours, by_drf, 25.0)
    if sites.by_hand is None:
        return
    by_hand = request("/status", {})
    ours, other = _alternate([(sites.uncached, status), (sites.by_hand, by_hand)], 2 * ROUNDS)
    yield _times("status_50000_uncached_vs_fastapi", ours, other, 1.8)
    status, by_hand = (
        request("/v1/status/pipelines?source=venue042", sites.free_key),
        request("/status?source=venue042", {}),
    )
    ours, other = _alternate([(sites.uncached, status), (sites.by_hand, by_hand)], ROUNDS_ONE_SOURCE)
    yield _times("status_one_source_uncached_vs_fastapi", ours, other, 1.0)


def _cached(sites: Sites) -> Iterator[Comparison]:
    accept = {"Accept-Encoding": "gzip"}
    status = request("/v1/status/pipelines", sites.free_key | accept)
    metered = request("/v1/status/pipelines", sites.metered_key | accept)
    file = request("/static/bench.json", accept)
    ours, static, paid = _loads(sites.cached, [status, file, metered])
    yield Comparison(
        "status_50000_cached_vs_static_file",
        ours.per_second,
        static.per_second,
        goal=0.45,
        unit="requests/s",
        rounds=ROUNDS,
        note="gzip, 8 connections, key checked, caller unmetered",
    )
    yield Comparison(
        "status_50000_cached_p99_vs_static_file",
        ours.p99_seconds * 1000,
        static.p99_seconds * 1000,
        goal=5.0,
        unit="ms",
        at_most=True,
        rounds=ROUNDS,
    )
    yield Comparison(
        "status_50000_cached_and_metered_vs_static_file",
        paid.per_second,
        static.per_second,
        unit="requests/s",
        rounds=ROUNDS,
        note="25 credits a call, a committed transaction each, all calls on one key",
    )


def _times(name: str, ours: float, other: float, goal: float) -> Comparison:
    """As rates, so that more is better."""
    return Comparison(name, 1 / ours, 1 / other, goal=goal, unit="answers/s", note="one connection, p50")


def _alternate(sides: Sequence[tuple[int, bytes]], rounds: int) -> list[float]:
    measured = [[seconds_of_one(port, asked) for port, asked in sides] for _ in range(rounds + 1)][1:]
    return [statistics.median(column) for column in zip(*measured, strict=True)]


def _loads(port: int, sides: Sequence[bytes]) -> list[Load]:
    measured = [[load(port, asked, seconds=SLICE_SECONDS) for asked in sides] for _ in range(ROUNDS + 1)][1:]
    return [
        Load(
            statistics.median(one.per_second for one in column),
            statistics.median(one.p99_seconds for one in column),
        )
        for column in zip(*measured, strict=True)
    ]


# --- who is asked -----------------------------------------------------------------------------------------------


def _keys() -> tuple[dict[str, str], dict[str, str]]:
    now = clock.now()
    rows = {"rank": 99, "max_rows": 1_000_000, "endpoints": list(Endpoint.values)}
    made = []
    for name, is_metered in (("bench-unmetered", False), ("bench-metered", True)):
        tier, _ = Tier.objects.get_or_create(name=name, defaults={**rows, "is_metered": is_metered})
        made.append({"X-API-Key": keys.issue(name, tier, now=now).text})
    return made[0], made[1]


def _write_static(folder: Path) -> None:
    """A file of the same bytes, and its compressed neighbour that WhiteNoise prefers."""
    body = published.all_pipelines(clock.now(), accepts_gzip=False).content
    (folder / "bench.json").write_bytes(body)
    (folder / "bench.json.gz").write_bytes(published.compressed(body))


def _by_hand(stack: contextlib.ExitStack, static: Path) -> int | None:
    if not all(importlib.util.find_spec(name) for name in ("fastapi", "asyncpg")):
        print("FastAPI and asyncpg are not installed: no comparison with a handler written by hand", flush=True)
        return None
    return stack.enter_context(_site("asgi", "benchmarks.reading_fastapi:application", static))


def _wait_for_bodies() -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not valkey.client().exists(published.PIPELINES):
        if time.monotonic() > give_up_at:
            raise RuntimeError("the pulse renders nothing")
        time.sleep(0.05)


@contextlib.contextmanager
def _site(interface: str, application: str, static: Path, **more: str) -> Iterator[int]:
    port = _free_port()
    command = [
        sys.executable, "-m", "granian", "--interface", interface, "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--http", "1", "--log-level", "error", "--no-ws", application,
    ]  # fmt: skip
    with _running(command, STATIC_ROOT=str(static), LOG_LEVEL="INFO", **more) as server:
        _wait(port, server)
        yield port


@contextlib.contextmanager
def _running(command: Sequence[str], **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    server = subprocess.Popen(
        command, cwd=PROJECT, env={**os.environ, **environ}, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        yield server
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(port: int, server: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if server.poll() is not None or time.monotonic() > give_up_at:
            raise RuntimeError(f"{server.args!r} did not come up")
        time.sleep(0.05)
