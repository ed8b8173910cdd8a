"""Records an exchange for a while: lists, polls, a few books, trades and candles, and its stream, in one file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exchanges.models import Exchange
from feeds.base import FeedError
from feeds.streams import has_stream
from operations.visits import ExchangeVisit, listen, visit

LIST_SECONDS = 60.0
CALL_SECONDS = 20.0
LEAST_PAUSE_SECONDS = 2.0
FEW = 3  # markets whose books, trades and candles are asked for


@dataclass(frozen=True, slots=True)
class RecordingSummary:
    """What a recording holds. `faults` are what calls ended with, which is often why somebody records."""

    answers: int
    frames: int
    left_out: int
    faults: tuple[str, ...]


def record(exchange: Exchange, path: Path, *, seconds: float, now: float) -> RecordingSummary:
    """Records for about so many seconds. Raises KeyError for an id that no feed speaks to, and OSError for the file."""
    faults: list[str] = []
    with visit(exchange, path, now=now) as opened:
        end_at = time.monotonic() + seconds
        symbols = _symbols(opened, faults)
        with ThreadPoolExecutor(1, thread_name_prefix="stream") as pool:
            pushed = pool.submit(_listen, opened, symbols, seconds)
            _ask(opened, symbols, exchange.poll_interval_seconds, end_at, faults)
            faults += pushed.result()
        recording = opened.recording
    return RecordingSummary(recording.answers, recording.frames, recording.left_out, tuple(dict.fromkeys(faults)))


def _symbols(visit: ExchangeVisit, faults: list[str]) -> list[str]:
    _call(faults, visit.feed.ping, deadline_seconds=CALL_SECONDS, may_call=visit.may_call)
    listings = _call(faults, visit.feed.load_markets, deadline_seconds=LIST_SECONDS, may_call=visit.may_call)
    return [each.symbol for each in listings or () if each.active]


def _ask(visit: ExchangeVisit, symbols: Sequence[str], interval: float, end_at: float, faults: list[str]) -> None:
    """Polls again and again, and between the first two polls asks for a few markets' other data."""
    limits: dict[str, Any] = {"deadline_seconds": CALL_SECONDS, "may_call": visit.may_call}
    feed, is_first = visit.feed, True
    while symbols and (is_first or time.monotonic() < end_at):
        _call(faults, feed.fetch_quotes, symbols, **limits)
        if is_first:
            for symbol in symbols[:FEW]:
                _call(faults, feed.fetch_order_book, symbol, depth=20, **limits)
                _call(faults, feed.fetch_trade_page, symbol, span=None, limit=100, **limits)
                _call(faults, feed.fetch_candles, symbol, timeframe="1m", since=None, limit=60, **limits)
        is_first = False
        time.sleep(max(0.0, min(max(interval, LEAST_PAUSE_SECONDS), end_at - time.monotonic())))


def _listen(visit: ExchangeVisit, symbols: Sequence[str], seconds: float) -> list[str]:
    if not symbols or not has_stream(visit.spec.exchange_id):
        return []
    complaint = listen(visit, symbols, seconds=seconds, is_enough=lambda pushed: False).complaint
    return [f"stream: {complaint}"] if complaint else []


def _call(faults: list[str], call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    try:
        return call(*arguments, **options)
    except FeedError as error:
        faults.append(f"{error.kind}: {error}")
        return None
