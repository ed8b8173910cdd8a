"""What a worker child weighs with 100 clients of 500 markets each, after a poll of each: ours against plain ccxt.

`python -m benchmarks.memory lean|plain <sandbox url>` is the child.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.comparison import Comparison
from benchmarks.venues import plain_client, resident_bytes, running_sandbox
from feeds.base import FeedSpec
from feeds.ccxt import CcxtFeed
from lib.home import PROJECT_DIR

CLIENTS = 100
MARKETS = 500
VENUE = "binance"
DEADLINE_SECONDS = 60.0
MEGABYTE = 1e6


def comparisons() -> Iterator[Comparison]:
    with running_sandbox(markets=MARKETS) as sandbox:
        ours, other = (_weigh(side, sandbox.url) for side in ("lean", "plain"))
    yield Comparison("rss_100x500", ours, other, goal=0.5, unit="MB", at_most=True, rounds=1, note="a child's RSS")


def _weigh(side: str, url: str) -> float:
    command = [sys.executable, "-m", "benchmarks.memory", side, url]
    environ = {**os.environ, "CCXT_LAZY": "1" if side == "lean" else "0"}
    done = subprocess.run(command, cwd=PROJECT_DIR, env=environ, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _lean(urls: list[str]) -> list[Any]:
    feeds = [CcxtFeed(FeedSpec(VENUE, base_url=url)) for url in urls]
    for feed in feeds:
        listings = feed.load_markets(deadline_seconds=DEADLINE_SECONDS)
        poll = feed.fetch_quotes([listing.symbol for listing in listings], deadline_seconds=DEADLINE_SECONDS)
        assert len(poll.quotes) == MARKETS
    return feeds


async def _plain(urls: list[str]) -> list[Any]:
    clients = [plain_client(VENUE, url) for url in urls]
    for client in clients:
        await client.load_markets()
        assert len(await client.fetch_tickers()) == MARKETS
    for client in clients:
        await client.close()
    return clients


def main(side: str, url: str) -> None:
    urls = [f"{url}/clone-{number}" for number in range(CLIENTS)]
    kept = _lean(urls) if side == "lean" else asyncio.run(_plain(urls))
    gc.collect()
    print(resident_bytes() / MEGABYTE)
    assert len(kept) == CLIENTS
    sys.stdout.flush()
    os._exit(0)  # without taking a gigabyte apart


if __name__ == "__main__":
    main(*sys.argv[1:])
