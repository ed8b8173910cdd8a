"""What a worker child weighs with 100 clients of 500 markets each, after a poll of each: ours against plain ccxt.

`python -m benchmarks.memory lean|plain <sandbox url> <clients> <markets>` is the child.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.comparison import Comparison
from benchmarks.exchanges import plain_client, resident_bytes, running_sandbox
from feeds.base import FeedSpec
from feeds.ccxt import CcxtFeed
from lib.home import PROJECT_DIR

EXCHANGE = "binance"
DEADLINE_SECONDS = 60.0
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Sizes:
    clients: int
    markets: int


FULL = Sizes(clients=100, markets=500)
SMOKE = Sizes(clients=2, markets=10)


def comparisons(sizes: Sizes) -> Iterator[Comparison]:
    with running_sandbox(markets=sizes.markets) as sandbox:
        ours, other = (_weigh(side, sandbox.url, sizes) for side in ("lean", "plain"))
    yield Comparison("rss_100x500", ours, other, goal=0.5, unit="MB", at_most=True, note="a child's RSS")


def _weigh(side: str, url: str, sizes: Sizes) -> float:
    command = [sys.executable, "-m", "benchmarks.memory", side, url, str(sizes.clients), str(sizes.markets)]
    environ = {**os.environ, "CCXT_LAZY": "1" if side == "lean" else "0"}
    done = subprocess.run(command, cwd=PROJECT_DIR, env=environ, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _lean(urls: list[str], markets: int) -> list[Any]:
    feeds = [CcxtFeed(FeedSpec(EXCHANGE, base_url=url)) for url in urls]
    for feed in feeds:
        listings = feed.load_markets(deadline_seconds=DEADLINE_SECONDS)
        poll = feed.fetch_quotes([listing.symbol for listing in listings], deadline_seconds=DEADLINE_SECONDS)
        assert len(poll.quotes) == markets
    return feeds


async def _plain(urls: list[str], markets: int) -> list[Any]:
    clients = [plain_client(EXCHANGE, url) for url in urls]
    for client in clients:
        await client.load_markets()
        assert len(await client.fetch_tickers()) == markets
    for client in clients:
        await client.close()
    return clients


def main(side: str, url: str, sizes: Sizes) -> None:
    urls = [f"{url}/clone-{number}" for number in range(sizes.clients)]
    kept = _lean(urls, sizes.markets) if side == "lean" else asyncio.run(_plain(urls, sizes.markets))
    gc.collect()
    print(resident_bytes() / MEGABYTE)
    assert len(kept) == sizes.clients
    sys.stdout.flush()
    os._exit(0)  # without taking a gigabyte apart


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Sizes(int(sys.argv[3]), int(sys.argv[4])))
