"""From a list of markets to a stream that has proven to deliver them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from django.conf import settings

from collectors import quality
from collectors.streaming import rules
from collectors.streaming.rules import DialBudget, Heard
from collectors.streaming.writer import Markets
from exchanges.feeds.base import Quote
from exchanges.feeds.streams import QuoteStream

TICK_SECONDS = 0.1
COMPARE_SECONDS = 1.0


class Fault(Exception):
    """Why the stream is not, or no longer, believed."""


class Contradicted(Fault):
    """A poll says otherwise: this stream comes back when a poll agrees with it."""


class Superseded(Fault):
    """The right to store went to somebody else."""


async def dial(stream: QuoteStream, markets: Markets, budget: DialBudget) -> Heard:
    """Asks for everything, as soon as the budget of connections allows it."""
    if markets.packed is not None:
        stream.install_markets(markets.packed)
    await asyncio.sleep(budget.wait_seconds(time.monotonic(), 1))
    await stream.subscribe(markets.pipelines.keys())
    budget.spend(time.monotonic(), len(stream.groups))
    return Heard.since(time.monotonic(), stream.groups)


async def prove(stream: QuoteStream, heard: Heard, check: Callable[[], None]) -> None:
    """Returns after some good updates, of every subscription. Raises Fault, or what `check` raises."""
    good, give_up_at = 0, time.monotonic() + settings.STREAM_CONNECT_SECONDS
    while good < settings.STREAM_GOOD_UPDATES or not rules.is_complete(heard):
        await asyncio.sleep(TICK_SECONDS)
        check()
        good += any(not quality.fault(quote) for quote in take_in(stream, heard))
        if stream.is_broken or time.monotonic() > give_up_at:
            raise Fault(stream.complaint or f"no tickers within {settings.STREAM_CONNECT_SECONDS:g} s of connecting")


async def wait_for_agreement(
    stream: QuoteStream,
    heard: Heard,
    check: Callable[[], None],
    *,
    polled: Callable[[], Awaitable[Sequence[Quote]]],
    patience_seconds: float,
) -> None:
    """Returns when what polls have stored meanwhile agrees with the stream. Raises Contradicted."""
    pushed: dict[str, Quote] = {}
    reason, give_up_at = "no poll to compare with", time.monotonic() + patience_seconds
    compared_at = time.monotonic()
    while reason:
        if time.monotonic() > give_up_at:
            raise Contradicted(f"still not believed: {reason}")
        await asyncio.sleep(TICK_SECONDS)
        check()
        pushed |= {quote.symbol: quote for quote in take_in(stream, heard)}
        if stream.is_broken:
            raise Fault(stream.complaint)
        if time.monotonic() - compared_at > COMPARE_SECONDS:
            compared_at = time.monotonic()
            if quotes := await polled():
                reason = rules.contradiction(pushed, quotes, tolerance=settings.STREAM_DISAGREEMENT_SHARE)


def take_in(stream: QuoteStream, heard: Heard) -> list[Quote]:
    """What came since the last call, noted as heard."""
    quotes = stream.drain()
    heard.note([quote.symbol for quote in quotes], time.monotonic())
    return quotes
