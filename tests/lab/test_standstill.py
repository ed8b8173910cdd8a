"""Probes answer whatever all other requests wait for: a database that stands still, or many readers of what is dear."""

from __future__ import annotations

import contextlib
import logging
import os
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

import psutil
import pytest
import requests
from django.db import connection

from collectors.history import partitions
from lib import clock
from tests.api.conftest import fill, make_exchange
from tests.lab.visitors import read_by_fifty
from tests.status.running import Web, web

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
log = logging.getLogger(__name__)
QUICK_SECONDS = 0.1
DEAREST = ("/api/v1/pipelines?limit=1000", "/api/v1/gaps?limit=1000", "/metrics", "/metrics/history?include=snapshot")


def timed(running: Web, path: str, *, patience: float = 30.0) -> tuple[int, float]:
    began = time.monotonic()
    status = requests.get(f"{running.url}{path}", timeout=patience).status_code
    return status, time.monotonic() - began


@contextlib.contextmanager
def database_stands_still() -> Iterator[None]:
    """All of PostgreSQL's processes are stopped, so that sockets take what is sent and nobody answers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int")
        server = psutil.Process(cursor.fetchone()[0])
    connection.close()
    stopped = [server, *server.children(recursive=True)]
    for each in stopped:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.suspend()
    try:
        yield
    finally:
        for each in reversed(stopped):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.resume()


def test_probes_answer_while_the_database_stands_still() -> None:
    with web() as running, ThreadPoolExecutor(40) as pool:
        assert {status for status, _ in pool.map(lambda _: timed(running, "/api/v1/exchanges"), range(40))} == {200}
        with database_stands_still():
            for _ in range(12):  # more than there are threads: each waits for a statement that nobody answers
                pool.submit(timed, running, "/api/v1/exchanges", patience=60)
            time.sleep(0.5)
            lives = [timed(running, "/live") for _ in range(20)]
            ready = timed(running, "/ready")
            waiting = timed(running, "/api/v1/workers")
            after = timed(running, "/live")
        healed = timed(running, "/api/v1/workers")

    log.info("live %.3f s, ready %s, others %s, then %s", max(seconds for _, seconds in lives), ready, waiting, healed)
    assert {status for status, _ in [*lives, after]} == {200}
    assert statistics.median(seconds for _, seconds in lives) < QUICK_SECONDS
    assert (ready[0], ready[1] < 6) == (503, True)
    assert (waiting[0], waiting[1] < 10) == (503, True)
    assert (healed[0], healed[1] < 10) == (200, True)


@pytest.mark.parametrize("path", DEAREST)
def test_fifty_readers_of_what_is_dear_hold_no_probe_up(path: str) -> None:
    now = clock.now()
    partitions.ensure(now)
    for exchange_id in ("binance", "kraken"):
        make_exchange(exchange_id, now)
    fill(1000, now)
    context = get_context("spawn")
    stop, told = context.Event(), context.Queue()

    with web() as running:
        crowd = context.Process(target=read_by_fifty, args=(running.url, path, stop, told), daemon=True)
        crowd.start()
        time.sleep(5)
        probes = {name: [timed(running, name) for _ in range(40)] for name in ("/live", "/health", "/ready")}
        stop.set()
        said = told.get(timeout=120)
        crowd.join(60)

    medians = {name: statistics.median(seconds for _, seconds in found) for name, found in probes.items()}
    slowest = {name: max(seconds for _, seconds in found) for name, found in probes.items()}
    log.info("%s: %s; median %s, slowest %s, load %s", path, said, medians, slowest, os.getloadavg()[0])
    assert set(said) <= {200, 503}
    assert {status for name, found in probes.items() for status, _ in found if name != "/ready"} == {200}
    assert medians["/live"] < QUICK_SECONDS
