"""Against running servers: the documents' own clients, and exactness with 64 callers at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db.models import Sum

from access.models import Allowance, CreditEntry, UsageDay
from tests.status.conftest import Venue
from tests.status.running import Web, web

CALLERS = 64
pytestmark = pytest.mark.django_db(transaction=True)

# --- the documents' own snippets, with only the host and the key replaced -----------------------------------------

PAIRS_PYTHON = """
import requests

response = requests.get(
    "https://api.moxiemetrx.com/v1/status",
    headers={"X-API-Key": "your_key"},
)

data = response.json()
print(f"System: {data['status']}")
for pair in data["pairs"]:
    print(f"  {pair['pair']}: {pair['status']} ({pair['freshness_seconds']}s)")
"""
PAIRS_CURL = """
curl -X GET "https://api.moxiemetrx.com/v1/status" \\
  -H "X-API-Key: your_key"
"""
PIPELINES_CURL = """
curl "https://kwery-api.com/v1/status?api-key=YOUR_KEY&source=binance_spot&symbol=BTC"
"""
PIPELINES_PYTHON = """
import requests
resp = requests.get("https://kwery-api.com/v1/status", params={
    "api-key": "YOUR_KEY",
    "source": "binance_spot",
    "symbol": "BTC",
})
data = resp.json()
for pipeline in data["data"]:
    print(f"{pipeline['source']} {pipeline['symbol']}: {pipeline['status']}")
"""
PIPELINES_TYPESCRIPT = """
const params = new URLSearchParams({
  "api-key": "YOUR_KEY",
  source: "binance_spot",
  symbol: "BTC",
});
const res = await fetch(`https://kwery-api.com/v1/status?${params}`);
const data = await res.json();
for (const pipeline of data.data) {
  console.log(`${pipeline.source} ${pipeline.symbol}: ${pipeline.status}`);
}
"""


@pytest.fixture
def one_server(venue: Callable[..., Venue]) -> Iterator[Web]:
    venue("binance").market("BTC", "USDT", source="binance_spot", age=2)
    with web() as running:
        yield running


def run(program: str, snippet: str, server: Web, key: str) -> str:
    for host in ("https://api.moxiemetrx.com", "https://kwery-api.com"):
        snippet = snippet.replace(host, server.url)
    snippet = snippet.replace("your_key", key).replace("YOUR_KEY", key)
    command = {
        "python": [sys.executable, "-c", snippet],
        "sh": ["sh", "-c", snippet],
        "node": ["node", "--input-type=module", "-e", snippet],
    }[program]
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, env=environ).stdout


def test_the_documents_own_clients(one_server: Web, key_of: Callable[..., str]) -> None:
    key = key_of("pro")

    pairs = run("python", PAIRS_PYTHON, one_server, key)
    pairs_json = run("sh", PAIRS_CURL, one_server, key)
    pipelines = run("python", PIPELINES_PYTHON, one_server, key)
    pipelines_json = run("sh", PIPELINES_CURL, one_server, key)

    assert pairs.startswith("System: operational\n  BTCUSDT: fresh (")
    assert pairs_json.startswith('{"status":"operational","collectors":[{"exchange":"binance","status":"running"')
    assert pipelines == "binance_spot BTC: healthy\n"
    assert pipelines_json.startswith('{"data":[{"source":"binance_spot","symbol":"BTC","last_ingested":"2')


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_typescript_client(one_server: Web, key_of: Callable[..., str]) -> None:
    assert run("node", PIPELINES_TYPESCRIPT, one_server, key_of("pro")) == "binance_spot BTC: healthy\n"


# --- exactness --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_processes(django_db_setup: None) -> Iterator[Web]:
    with web(processes=2) as running:
        yield running


@pytest.fixture
def world(venue: Callable[..., Venue]) -> None:
    venue("luno").market("BTC", "NGN", age=2)


def storm(server: Web, key: str, calls: int, at_an_eighth: Callable[[], Any] = lambda: None) -> Counter[int | None]:
    """Calls from 64 threads that begin together; `at_an_eighth` runs when so many were answered.

    A call that had to wait too long was told 503, neither served nor paid for, and is made again as that answer asks.
    """
    begun, answered, reached = threading.Barrier(CALLERS), Counter[str](), threading.Event()

    def caller(number: int) -> list[int | None]:
        begun.wait()
        seen = []
        for _ in range(calls // CALLERS):
            while (status := server.status("/v1/status/pipelines", key)) == 503:
                time.sleep(0.1)
            seen.append(status)
            answered["all"] += 1
            if answered["all"] >= calls // 8 and not reached.is_set():
                reached.set()
                at_an_eighth()
        return seen

    with ThreadPoolExecutor(CALLERS) as pool:
        return Counter(status for seen in pool.map(caller, range(CALLERS)) for status in seen)


def paid() -> int:
    """Credits by the ledger; the allowance and the day must say the same."""
    ledger = CreditEntry.objects.aggregate(total=Sum("credits"))["total"] or 0
    assert Allowance.objects.get().credits_used == ledger
    assert (UsageDay.objects.aggregate(total=Sum("credits"))["total"] or 0) == ledger
    return int(ledger)


UNLIMITED = {"requests_per_minute": None, "requests_per_hour": None}


@pytest.mark.usefixtures("world")
def test_accepted_calls_are_the_limit_exactly(two_processes: Web, key_of: Callable[..., str]) -> None:
    key = key_of("pro", tier_changes={"requests_per_minute": 100, "requests_per_hour": 90})

    seen = storm(two_processes, key, 320)

    assert seen == {200: 90, 429: 230}
    assert paid() == 90 * 25


@pytest.mark.usefixtures("world")
def test_served_calls_are_paid_calls_exactly(two_processes: Web, key_of: Callable[..., str]) -> None:
    key = key_of("pro", tier_changes={**UNLIMITED, "monthly_credits": 2_510})

    seen = storm(two_processes, key, 320)

    assert seen == {200: 100, 402: 220}
    assert paid() == 2_500


@pytest.mark.usefixtures("world")
def test_a_web_process_killed_in_the_middle_sells_nothing_twice(key_of: Callable[..., str]) -> None:
    key = key_of("pro", tier_changes={**UNLIMITED, "monthly_credits": 5_000})

    with web(processes=2) as server:  # its own: the others' must not feel a process come back
        seen = storm(server, key, 640, lambda: server.workers()[0].kill())

    assert seen[None] <= CALLERS
    assert paid() == 5_000
    # A call may have been paid for in the moment its process died; none was served that was not paid for.
    assert 200 - seen[None] <= seen[200] <= 200
