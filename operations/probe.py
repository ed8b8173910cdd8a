"""Finds out what an exchange does for us before it is added: reached, listed, polled, pushed, and what we make of it.

Every finding is a fact of this visit. What could not be asked is said to be unknown, with the reason.
"""

from __future__ import annotations

import gzip
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exchanges import connectivity
from exchanges.models import Exchange
from feeds import new_feed
from feeds.base import FeedError, Listing, MissingPart, Poll, Quote
from feeds.obstacles import explain
from feeds.streams import has_stream
from operations.visits import ExchangeVisit, StreamTrial, listen, visit

PINGS = 3
PING_SECONDS = 8.0
LIST_SECONDS = 60.0
POLL_SECONDS = 60.0
ONE_SECONDS = 15.0
STREAM_SECONDS = 20.0
STREAM_SHARE = 0.9  # of the markets; so many heard, and the proof is given before the time is over
SAMPLES = 3
MOST_PUSHED = 400  # markets to listen to: a proof needs no more
RAW_BEFORE, RAW_AFTER = 60, 340  # characters of a body around the market's id
FIELDS = ("last", "bid", "ask", "high", "low", "base_volume", "quote_volume", "exchange_at")


@dataclass(frozen=True, slots=True)
class Sample:
    """A market as the exchange sent it and as we read it."""

    symbol: str
    quote: Quote
    raw: str


@dataclass(frozen=True, slots=True)
class PolledAnswers:
    """The quotes of a poll with their markets, and which of the recorded answers were its."""

    quotes: Mapping[str, tuple[Quote, Listing]]
    answers: slice


@dataclass(slots=True)
class ProbeReport:
    """What a visit found. `failure` and `advice` are of the step that ended it; empty when all steps were made."""

    exchange: str
    address: str
    name: str = ""
    needs_credentials: tuple[str, ...] = ()
    failure: str = ""
    advice: str = ""
    latencies_ms: list[int] = field(default_factory=list)
    skew_seconds: float | None = None
    markets: Counter[str] = field(default_factory=Counter)
    inactive: int = 0
    polled: int = 0
    poll_requests: int = 0
    poll_seconds: float = 0.0
    missing: tuple[MissingPart, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)
    poll_fields: Mapping[str, float] = field(default_factory=dict)
    by_kind: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    least_interval_seconds: float = 0.0
    others: dict[str, str] = field(default_factory=dict)
    pushed: StreamTrial | None = None
    push_fields: Mapping[str, float] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    @property
    def is_usable(self) -> bool:
        return not self.failure and self.polled > 0


def say_nothing(step: str) -> None:
    """Tells nobody which step is being made."""


def probe(
    exchange: Exchange,
    *,
    now: float,
    stream_seconds: float = STREAM_SECONDS,
    say: Callable[[str], None] = say_nothing,
) -> ProbeReport:
    """Visits an exchange that need not be stored. Raises KeyError for an id that no feed speaks to, nothing else."""
    report = ProbeReport(exchange.id, exchange.base_url or "its own address")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "visit.json.gz"
        try:
            _reach(exchange, report, say)
            with visit(exchange, path, now=now) as opened:
                seen = _look_around(opened, report, stream_seconds, say)
        except FeedError as error:
            report.failure, report.advice = explain(error)
            return report
        report.samples = _samples(seen, path)
    return report


def _reach(exchange: Exchange, report: ProbeReport, say: Callable[[str], None]) -> None:
    """Asks for the cheapest thing, directly, so that what is in the way is seen as it is."""
    say("reaching it")
    feed = new_feed(exchange.feed_spec())
    try:
        report.name, report.needs_credentials = feed.capabilities.name, feed.capabilities.needs_credentials
        for _ in range(PINGS):
            began = time.monotonic()
            feed.ping(deadline_seconds=PING_SECONDS)
            report.latencies_ms.append(round((time.monotonic() - began) * 1000))
    finally:
        feed.close()


def _look_around(
    visit: ExchangeVisit, report: ProbeReport, stream_seconds: float, say: Callable[[str], None]
) -> PolledAnswers:
    say("loading its markets")
    listings = visit.feed.load_markets(deadline_seconds=LIST_SECONDS, may_call=visit.may_call)
    active = {each.symbol: each for each in listings if each.active}
    report.markets = Counter(each.kind for each in active.values())
    report.inactive = len(listings) - len(active)
    say(f"polling {len(active)} markets")
    first = visit.recording.answers
    poll = _poll(visit, report, active)
    last = visit.recording.answers
    say("trying its other calls")
    _try_others(visit, report, list(active))
    able = visit.feed.capabilities
    report.least_interval_seconds = connectivity.least_interval_seconds(
        able.rate_limit_ms, able.has, market_count=len(active)
    )
    if has_stream(report.exchange):
        say(f"listening for at most {stream_seconds:g} s")
        _listen(visit, report, poll, stream_seconds)
    return PolledAnswers({quote.symbol: (quote, active[quote.symbol]) for quote in poll.quotes}, slice(first, last))


def _poll(visit: ExchangeVisit, report: ProbeReport, active: Mapping[str, Listing]) -> Poll:
    before, began = visit.recording.answers, time.monotonic()
    poll = visit.feed.fetch_quotes(active.keys(), deadline_seconds=POLL_SECONDS, may_call=visit.may_call)
    report.poll_seconds = time.monotonic() - began
    report.poll_requests = visit.recording.answers - before
    report.polled, report.missing = len(poll.quotes), poll.missing
    report.rejected = dict(Counter(each.reason for each in poll.rejected).most_common(5))
    report.poll_fields = shares(poll.quotes)
    came = Counter(active[quote.symbol].kind for quote in poll.quotes)
    report.by_kind = {kind: (came[kind], count) for kind, count in report.markets.items()}
    if poll.server_time is not None and poll.quotes:
        report.skew_seconds = poll.server_time - max(quote.received_at for quote in poll.quotes)
    return poll


def _try_others(visit: ExchangeVisit, report: ProbeReport, symbols: Sequence[str]) -> None:
    if not symbols:
        return
    symbol, feed = symbols[0], visit.feed
    limits: dict[str, Any] = {"deadline_seconds": ONE_SECONDS, "may_call": visit.may_call}
    calls: dict[str, Callable[[], Any]] = {
        "order book": lambda: feed.fetch_order_book(symbol, depth=20, **limits),
        "trades": lambda: feed.fetch_trade_page(symbol, span=None, limit=50, **limits),
        "candles": lambda: feed.fetch_candles(symbol, timeframe="1m", since=None, limit=5, **limits),
    }
    for name, call in calls.items():
        report.others[name] = _tried(call)


def _tried(call: Callable[[], Any]) -> str:
    try:
        call()
    except FeedError as error:
        return f"{error.kind}: {explain(error)[0]}"
    return "yes"


def _listen(visit: ExchangeVisit, report: ProbeReport, poll: Poll, seconds: float) -> None:
    symbols = [quote.symbol for quote in poll.quotes][:MOST_PUSHED]

    def is_enough(pushed: StreamTrial) -> bool:
        return bool(pushed.asked) and len(pushed.quotes) >= STREAM_SHARE * pushed.asked

    if symbols:
        report.pushed = listen(visit, symbols, seconds=seconds, is_enough=is_enough)
        report.push_fields = shares(list(report.pushed.quotes.values()))


def shares(quotes: Sequence[Quote]) -> dict[str, float]:
    """Returns for each field the share of quotes that have it; empty without quotes."""
    if not quotes:
        return {}
    return {name: sum(getattr(quote, name) is not None for quote in quotes) / len(quotes) for name in FIELDS}


def lost_fields(report: ProbeReport) -> list[str]:
    """Returns the fields that polls bring and the stream does not."""
    return [
        name
        for name, share in report.poll_fields.items()
        if report.push_fields and share >= STREAM_SHARE and not report.push_fields[name]
    ]


def _samples(seen: PolledAnswers, path: Path) -> list[Sample]:
    """Returns the first markets whose id stands in an answer of the poll, with what surrounds it there."""
    bodies = _bodies(path)[seen.answers]
    found = []
    for symbol, (quote, listing) in seen.quotes.items():
        raw = next((part for body in bodies if (part := _around(body, listing.venue_id))), "")
        if raw:
            found.append(Sample(symbol, quote, raw))
        if len(found) == SAMPLES:
            break
    return found


def _bodies(path: Path) -> list[str]:
    """Returns the bodies of the recorded answers, in order."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines]
    return [event["body"] for event in events if event.get("kind") == "answer"]


def _around(body: str, venue_id: str) -> str:
    place = body.find(f'"{venue_id}"')
    if place < 0:
        return ""
    begin = max(0, place - RAW_BEFORE)
    return body[begin : place + RAW_AFTER]
