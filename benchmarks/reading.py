"""The read path against the other ways to answer: DRF serializers, a static file, and a handler written by hand.

50,000 pipelines over HTTP while 5,000 rows a second are written. Everything of Django's runs in the same server; the
sides take turns. Seconds of one uncached answer, and requests per second of the cached one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import statistics
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
from benchmarks.processes import PATIENCE_SECONDS, Site, running, running_sites
from benchmarks.reading_client import Load, load, request, seconds_of_one
from benchmarks.world import World
from collectors.models import Pipeline
from collectors.status import published
from lib import clock, valkey


@dataclass(frozen=True, slots=True)
class Sizes:
    world: World
    rounds: int
    rounds_of_one_source: int
    slice_seconds: float


FULL = Sizes(world.PROMISED, rounds=5, rounds_of_one_source=25, slice_seconds=2.0)
SMOKE = Sizes(world.TINY, rounds=1, rounds_of_one_source=1, slice_seconds=0.2)


@dataclass(frozen=True, slots=True)
class Sites:
    """Ports: ours as it is and ours without any cache in the same code, and FastAPI's (None: not installed)."""

    cached: int
    uncached: int
    by_hand: int | None
    free_key: dict[str, str]
    metered_key: dict[str, str]


def comparisons(sizes: Sizes) -> Iterator[Comparison]:
    world.seed(sizes.world, clock.now())
    Pipeline.objects.update(received_at=clock.now())
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        _write_static(Path(folder))
        stack.enter_context(running([sys.executable, "-m", "benchmarks.reading_ingestion"]))
        sites = stack.enter_context(_sites(Path(folder)))
        yield from _uncached(sites, sizes)
        stack.enter_context(running([sys.executable, "-m", "benchmarks.reading_pulse"]))
        _wait_for_bodies()
        yield from _cached(sites, sizes)


# --- what is compared -------------------------------------------------------------------------------------------


def _uncached(sites: Sites, sizes: Sizes) -> Iterator[Comparison]:
    status, drf = request("/v1/status/pipelines", sites.free_key), request("/bench/drf", {})
    ours, by_drf = _alternate([(sites.uncached, status), (sites.uncached, drf)], sizes.rounds)
    yield _times("status_50000_uncached_vs_drf", ours, by_drf, 25.0)
    if sites.by_hand is None:
        return
    by_hand = request("/status", {})
    ours, other = _alternate([(sites.uncached, status), (sites.by_hand, by_hand)], 2 * sizes.rounds)
    yield _times("status_50000_uncached_vs_fastapi", ours, other, 1.8)
    source = sizes.world.exchange_ids[-1]
    status = request(f"/v1/status/pipelines?source={source}", sites.free_key)
    by_hand = request(f"/status?source={source}", {})
    ours, other = _alternate([(sites.uncached, status), (sites.by_hand, by_hand)], sizes.rounds_of_one_source)
    yield _times("status_one_source_uncached_vs_fastapi", ours, other, 1.0)


def _cached(sites: Sites, sizes: Sizes) -> Iterator[Comparison]:
    accept = {"Accept-Encoding": "gzip"}
    status = request("/v1/status/pipelines", sites.free_key | accept)
    metered = request("/v1/status/pipelines", sites.metered_key | accept)
    file = request("/static/bench.json", accept)
    ours, static, paid = _loads(sites.cached, [status, file, metered], sizes)
    yield Comparison(
        "status_50000_cached_vs_static_file",
        ours.per_second,
        static.per_second,
        goal=0.45,
        unit="requests/s",
        rounds=sizes.rounds,
        note="gzip, 8 connections, key checked, caller unmetered",
    )
    yield Comparison(
        "status_50000_cached_p99_vs_static_file",
        ours.p99_seconds * 1000,
        static.p99_seconds * 1000,
        goal=5.0,
        unit="ms",
        at_most=True,
        rounds=sizes.rounds,
    )
    yield Comparison(
        "status_50000_cached_and_metered_vs_static_file",
        paid.per_second,
        static.per_second,
        unit="requests/s",
        rounds=sizes.rounds,
        note="25 credits a call, a committed transaction each, all calls on one key",
    )


def _times(name: str, ours: float, other: float, goal: float) -> Comparison:
    """As rates, so that more is better."""
    return Comparison(name, 1 / ours, 1 / other, goal=goal, unit="answers/s", note="one connection, p50")


def _alternate(sides: Sequence[tuple[int, bytes]], rounds: int) -> list[float]:
    measured = [[seconds_of_one(port, asked) for port, asked in sides] for _ in range(rounds + 1)][1:]
    return [statistics.median(column) for column in zip(*measured, strict=True)]


def _loads(port: int, sides: Sequence[bytes], sizes: Sizes) -> list[Load]:
    rounds = [[load(port, asked, seconds=sizes.slice_seconds) for asked in sides] for _ in range(sizes.rounds + 1)]
    return [
        Load(
            statistics.median(one.per_second for one in column),
            statistics.median(one.p99_seconds for one in column),
        )
        for column in zip(*rounds[1:], strict=True)
    ]


# --- who is asked -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _sites(static: Path) -> Iterator[Sites]:
    free_key, metered_key = _keys()
    environ = {"STATIC_ROOT": str(static), "LOG_LEVEL": "INFO"}
    ours = "benchmarks.reading_site:application"
    cached, uncached = Site(ours, environ=environ), Site(ours, environ=environ | {"STATUS_BODY_MAX_AGE_SECONDS": "0"})
    by_hand = [Site("benchmarks.reading_fastapi:application", "asgi", environ)] if _has_fastapi() else []
    with running_sites(cached, uncached, *by_hand) as ports:
        yield Sites(ports[0], ports[1], ports[2] if by_hand else None, free_key, metered_key)


def _has_fastapi() -> bool:
    if all(importlib.util.find_spec(name) for name in ("fastapi", "asyncpg")):
        return True
    print("skipped: FastAPI and asyncpg are not installed (make bench installs them), so nothing is compared with them")
    return False


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


def _wait_for_bodies() -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not valkey.client().exists(published.PIPELINES):
        if time.monotonic() > give_up_at:
            raise RuntimeError("the pulse renders nothing")
        time.sleep(0.05)
