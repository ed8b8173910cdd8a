"""The metrics webhook API's routes while the running system's database stores nothing, or its Valkey says nothing."""

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest
import requests

from tests.system.conftest import System

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
READS = ("/metrics/history", "/regime/current", "/grids/status", "/metrics")
GRID = {
    "market": "BTC/USDT",
    "exchange": "binance",
    "price_range": {"lower_bound": 1, "upper_bound": 2},
    "grid_structure": {"levels": 5, "amount_per_grid": 1},
}


def test_a_read_only_database_is_read_from_and_not_called_healthy(system: System):
    collect(system, "before")
    with read_only_database(system):
        system.wait_until(lambda: system.get("/health").status_code == 500, seconds=5, what="/health notices")

        failed = collect(system, "during")
        assert failed.status_code == 500
        assert failed.json() | {"timestamp": "", "error": ""} == {
            "status": "error",
            "collection_id": "failed",
            "timestamp": "",
            "data_points_collected": 0,
            "storage_status": "failed",
            "dashboard_updated": False,
            "trigger_source": "test",
            "error": "",
        }
        assert system.get("/ready").json()["services"]["database"] == "not ready"
        assert {path: system.get(path).status_code for path in READS} == dict.fromkeys(READS, 200)
        assert collect(system, "before").json()["status"] == "success"  # its outcome is known
        for path, body in (("/regime/analyze", {}), ("/grids/create", GRID)):
            answer = requests.post(system.url + path, json=body, timeout=15)
            assert (answer.status_code, answer.json()["status"]) == (503, "error")

    assert collect(system, "during").json()["status"] == "success"
    assert system.get("/health").status_code == 200


def test_without_valkey_a_collection_is_stored_and_only_the_dashboard_is_not_told(system: System):
    (pid,) = system.pids("valkey-server")
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = collect(system, "silent")
        health = system.get("/health").status_code
        reads = {path: system.get(path) for path in READS}
    finally:
        os.kill(pid, signal.SIGCONT)

    assert answer.status_code == 200
    assert answer.json()["data_points_collected"] > 0
    assert (answer.json()["storage_status"], answer.json()["dashboard_updated"]) == ("committed", False)
    assert health == 500
    assert {path: read.status_code for path, read in reads.items()} == dict.fromkeys(READS, 200)
    assert re.search(r'marketmon_component_up\{component="valkey"\} 0', reads["/metrics"].text)
    assert "marketmon_queue_depth{" not in reads["/metrics"].text
    system.wait_until(lambda: system.get("/health").status_code == 200, seconds=10, what="well again")


def test_twenty_calls_across_a_kill_of_web_leave_one_outcome(system: System):
    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(try_to_collect, system, "killed") for _ in range(20)]
        system.kill(r"granian")
        first = {call.result() for call in calls} - {b""}
        system.wait_until(lambda: answers(system, "/live"), seconds=15, what="web is back")
        again = set(pool.map(lambda _: try_to_collect(system, "killed"), range(20)))

    assert len(again) == 1
    assert first <= again
    assert system.sql("SELECT count(*) FROM metrics_collection WHERE collection_id = 'killed'") == [(1,)]
    ((told, stored),) = system.sql(
        "SELECT data_points_collected, (SELECT count(*) FROM metrics_marketpoint p WHERE p.collection_id = c.id)"
        " + (SELECT count(*) FROM metrics_verdict v WHERE v.collection_id = c.id)"
        " + (SELECT count(*) FROM metrics_gridreading g WHERE g.collection_id = c.id)"
        " + (SELECT count(*) FROM metrics_balance b WHERE b.collection_id = c.id)"
        " FROM metrics_collection c WHERE collection_id = 'killed'"
    )
    assert told == stored > 0


def collect(system: System, collection_id: str) -> Any:
    body = {"source": "test", "collection_id": collection_id}
    return requests.post(f"{system.url}/metrics/collect", json=body, timeout=40)


def try_to_collect(system: System, collection_id: str) -> bytes:
    """The body of a success, else nothing."""
    try:
        answer = collect(system, collection_id)
    except requests.RequestException:
        return b""
    return bytes(answer.content) if answer.status_code == 200 else b""


def answers(system: System, path: str) -> bool:
    try:
        return bool(system.get(path).ok)
    except requests.RequestException:
        return False


@contextlib.contextmanager
def read_only_database(system: System) -> Iterator[None]:
    """For every connection, also those that are open."""
    with contextlib.closing(psycopg2.connect(system.environment("runtime.env")["DATABASE_URL"])) as connection:
        connection.set_session(readonly=False, autocommit=True)
        with connection.cursor() as cursor:
            cursor.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            cursor.execute("SELECT pg_reload_conf()")
            try:
                yield
            finally:
                cursor.execute("ALTER SYSTEM RESET default_transaction_read_only")
                cursor.execute("SELECT pg_reload_conf()")
    system.wait_until(lambda: system.get("/health").status_code == 200, seconds=5, what="stores again")
