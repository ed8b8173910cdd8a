"""Makes a stream of a list of markets, and has it prove that it delivers them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from django.conf import settings

from collectors.rules import quote_checks, streams
from collectors.rules.streams import DialBudget, Heard
from collectors.streaming.blocking_calls import Markets
from feeds.base import BadReply, FeedError, NotConnected, Quote, Unreachable
from feeds.streams import QuoteStream

TICK_SECONDS = 0.1
COMPARE_SECONDS = 1.0
GOOD_UPDATES = 3  # batches of sound tickers that prove delivery: the first may be a snapshot without more to come


class StreamFault(Exception):
    """A reason not to believe the stream, or to believe it no longer."""

    blame: type[FeedError] = Unreachable


class Unfit(StreamFault):
    """The stream delivers, but nothing that may be stored."""

    blame = BadReply


class Contradicted(StreamFault):
    """A poll contradicts the stream, which comes back when a poll agrees with it."""

    blame = BadReply


class LeaseLost(StreamFault):
    """The right to store went to somebody else, or this process stood still."""

    blame = FeedError


def in_words(error: Exception) -> str:
    return str(error).strip() or type(error).__name__


def for_the_record(error: Exception) -> FeedError:
    """Returns the error as a stream's end is written down: ours where neither the stream nor its feed is to blame."""
    return _blame(error)(f"websocket: {in_words(error)}")


def _blame(error: Exception) -> type[FeedError]:
    if isinstance(error, StreamFault):
        return error.blame
    if isinstance(error, NotConnected):
        return NotConnected  # its own class is made of an address
    return type(error) if isinstance(error, FeedError) else FeedError


async def dial(stream: QuoteStream, markets: Markets, budget: DialBudget) -> Heard:
    """Asks for everything, as soon as the budget of connections allows it."""
    if markets.packed is not None:
        stream.install_markets(markets.packed)
    await asyncio.sleep(budget.wait_seconds(time.monotonic(), 1))
    await stream.subscribe(markets.pushed)
    budget.spend(time.monotonic(), len(stream.groups))
    return Heard.since(time.monotonic(), stream.groups)


async def prove(stream: QuoteStream, heard: Heard, check: Callable[[], None]) -> None:
    """Waits for some good updates, of every subscription. Raises StreamFault, or what `check` raises."""
    good, unfit, give_up_at = 0, "", time.monotonic() + settings.STREAM_CONNECT_SECONDS
    rejected_before = stream.rejected_frames
    while good < GOOD_UPDATES or not streams.is_complete(heard):
        await asyncio.sleep(TICK_SECONDS)
        check()
        faults = [quote_checks.fault(quote) for quote in take_in(stream, heard)]
        good += "" in faults
        unfit = max(faults, default=unfit)
        if stream.is_broken or time.monotonic() > give_up_at:
            is_unfit = not good and not stream.is_broken and bool(unfit or stream.rejected_frames > rejected_before)
            raise _not_proven(stream.complaint or unfit, is_unfit=is_unfit)


def _not_proven(complaint: str, *, is_unfit: bool) -> StreamFault:
    within = f"within {settings.STREAM_CONNECT_SECONDS:g} s of connecting"
    if is_unfit:
        return Unfit(f"no ticker fit to store {within}: {complaint}")
    return StreamFault(complaint or f"no tickers {within}")


async def wait_for_agreement(
    stream: QuoteStream,
    heard: Heard,
    check: Callable[[], None],
    *,
    polled: Callable[[], Awaitable[Sequence[Quote]]],
    patience_seconds: float,
) -> None:
    """Waits until what polls have stored meanwhile agrees with the stream. Raises Contradicted."""
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
            raise StreamFault(stream.complaint)
        if time.monotonic() - compared_at > COMPARE_SECONDS:
            compared_at = time.monotonic()
            subscribed = frozenset[str]().union(*stream.groups)
            if quotes := [quote for quote in await polled() if quote.symbol in subscribed]:
                reason = streams.contradiction(pushed, quotes, tolerance=streams.DISAGREEMENT_SHARE)


def take_in(stream: QuoteStream, heard: Heard) -> list[Quote]:
    """Returns what came since the last call, noted as heard."""
    quotes = stream.drain()
    heard.note([quote.symbol for quote in quotes], time.monotonic())
    return quotes
