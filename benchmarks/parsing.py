"""From a venue's decoded answer to quotes: our way against plain ccxt, on the same answers, with equal values.

The answers are the sandbox's, taken once; then both sides are asked for their tickers again and again, and every
request is answered from memory. CPU time, because nothing else is spent.
"""

from __future__ import annotations

import asyncio
import gc
import queue
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from benchmarks.comparison import Comparison, alternate, seconds_of
from benchmarks.venues import plain_client, running_sandbox
from feeds.base import FeedSpec, Poll, Quote
from feeds.ccxt.feed import build_client
from feeds.ccxt.fields import FIELD_MAPS
from feeds.ccxt.lazy import known_classes
from feeds.ccxt.quotes import QuoteRoute, fetch
from feeds.loop import Call, current_call
from feeds.shared.session import open_session

MARKETS = 500
REPEATS = 5
# The promise is made for 40 µs a ticker; this is the same on a machine that is twice as fast.
WORTH_IT_SECONDS = 20e-6
FIELDS = {"last": "last", "bid": "bid", "ask": "ask", "high": "high", "low": "low"}
VOLUMES = {"base_volume": "baseVolume", "quote_volume": "quoteVolume"}
# ccxt multiplies where the venue sends nothing; we say nothing
DERIVED = {("kraken", "quote_volume"), ("bitstamp", "quote_volume")}

Asking = Callable[[], Awaitable[Any]]


def comparisons() -> Iterator[Comparison]:
    with running_sandbox(markets=MARKETS) as sandbox, asyncio.Runner() as runner:
        for exchange_id in filter(_is_compared, sandbox.venue_ids()):
            yield _compare(exchange_id, sandbox.url, runner)


def _is_compared(exchange_id: str) -> bool:
    """Native feeds have no other side, and prediction venues answer event by event."""
    package, _ = known_classes().get(exchange_id, ("", ""))
    return package == "ccxt.async_support"


def _compare(exchange_id: str, base_url: str, runner: asyncio.Runner) -> Comparison:
    ask_lean, ask_plain = runner.run(_both_sides(exchange_id, base_url))
    tickers = runner.run(ask_plain())
    _check_equal(exchange_id, runner.run(ask_lean()).quotes, tickers)
    count = len(tickers)
    ours, other = alternate([_pace(runner, ask_lean, count), _pace(runner, ask_plain, count)])
    return Comparison(
        f"parse_{exchange_id}",
        ours,
        other,
        goal=2 if 1 / other > WORTH_IT_SECONDS else None,
        unit="tickers/s",
        note=f"{count} tickers; {1e6 / ours:.1f} µs a ticker, plain ccxt {1e6 / other:.1f}",
    )


async def _both_sides(exchange_id: str, base_url: str) -> tuple[Asking, Asking]:
    """Clients that know their markets and have heard every answer that they will ask for."""
    plain, lean = plain_client(exchange_id, base_url), build_client(FeedSpec(exchange_id, base_url=base_url))
    lean.enableRateLimit, lean.session = False, open_session("")
    answers: dict[tuple[str, str], Any] = {}
    try:
        for client in (plain, lean):
            await client.load_markets()
            client.fetch = _recorded(client.fetch, answers)
        asking = _lean(exchange_id, lean, tuple(plain.markets)), plain.fetch_tickers
        for ask in asking:
            await ask()
    finally:
        await plain.close()
        await lean.session.close()
        lean.session = None
    return asking


def _recorded(fetch_over_http: Callable[..., Awaitable[Any]], answers: dict[tuple[str, str], Any]) -> Asking:
    async def replayed(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        key = url, str(body)
        if key not in answers:
            answers[key] = await fetch_over_http(url, method, headers, body)
        return answers[key]

    return replayed


def _lean(exchange_id: str, client: Any, symbols: tuple[str, ...]) -> Asking:
    route = QuoteRoute(FIELD_MAPS.get(exchange_id))

    async def ask() -> Poll:
        call = Call(None, queue.SimpleQueue(), time.monotonic() + 10, answered_at=time.time())
        token = current_call.set(call)
        try:
            return await fetch(client, call, symbols, route)
        finally:
            current_call.reset(token)

    return ask


def _pace(runner: asyncio.Runner, ask: Asking, count: int) -> Callable[[int], float]:
    """Tickers per second of CPU."""

    async def work() -> None:
        for _ in range(REPEATS):
            await ask()

    def measure(_: int) -> float:
        gc.collect()
        return REPEATS * count / seconds_of(lambda: runner.run(work()), clock=time.process_time)

    return measure


def _check_equal(exchange_id: str, quotes: tuple[Quote, ...], tickers: dict[str, Any]) -> None:
    assert {quote.symbol for quote in quotes} == set(tickers), exchange_id
    for quote in quotes:
        ticker = tickers[quote.symbol]
        for ours, theirs in {**FIELDS, **VOLUMES}.items():
            if (exchange_id, ours) not in DERIVED:
                assert getattr(quote, ours) == ticker[theirs], (exchange_id, quote, ticker)
