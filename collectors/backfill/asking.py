"""Makes one request for one gap: for minute candles where one fits, else for trades."""

from __future__ import annotations

from datetime import datetime
from math import floor

from collectors import rate_limits
from collectors.backfill import answers, candle_stamps, refused_history
from collectors.backfill.answers import MINUTE, AnswerRows, GapSpan, minutes_between
from collectors.polling import market_list
from collectors.rate_limits.idle_window import RequestSlot
from feeds import open_feed
from feeds.base import Capabilities, Feed, MayCall, Unsupported


def ask(turn: RequestSlot, span: GapSpan, now: datetime) -> AnswerRows | None:
    """Makes one request and returns its rows; None where the request went into learning how to read candles of that
    exchange, so that the span is asked for by the next one.

    Raises FeedError: Closed when we are refused this kind of history, Unsupported when the exchange has none of the
    kind that is needed."""
    feed = open_feed(turn.exchange.feed_spec(), market_cache=market_list.ValkeyMarketCache())
    priority = rate_limits.Priority.BACKFILL
    may_call = rate_limits.open_gate(turn.exchange, feed.capabilities, priority=priority, generation=turn.generation)
    closed = refused_history.of(turn.exchange.id, generation=turn.generation, now=now)
    if _candles_fit(span, feed.capabilities) and refused_history.CANDLES not in closed:
        deadline = turn.deadline_seconds
        with refused_history.asking_for(refused_history.CANDLES):
            if candle_stamps.learn_if_due(turn.exchange.id, feed, span, deadline_seconds=deadline, may_call=may_call):
                return None
        return _ask_for_candles(feed, turn, span, may_call)
    if refused_history.TRADES in closed or not feed.capabilities.has.get("fetchTrades"):
        raise Unsupported("; ".join(closed.values()) or f"{turn.exchange.id} gives neither candles that fit nor trades")
    return _ask_for_trades(feed, turn, span, may_call)


def _candles_fit(span: GapSpan, capabilities: Capabilities) -> bool:
    has_minutes = not capabilities.timeframes or "1m" in capabilities.timeframes
    return bool(capabilities.has.get("fetchOHLCV") and has_minutes and minutes_between(span.start, span.end))


def _ask_for_candles(feed: Feed, turn: RequestSlot, span: GapSpan, may_call: MayCall) -> AnswerRows:
    shift = candle_stamps.known_shift(turn.exchange.id)
    since = floor(span.start / MINUTE) * MINUTE + shift
    with refused_history.asking_for(refused_history.CANDLES):
        candles = feed.fetch_candles(
            span.symbol, timeframe="1m", since=since, limit=_limit(span), deadline_seconds=turn.deadline_seconds,
            may_call=may_call,
        )  # fmt: skip
    return answers.from_candles((each._replace(opened_at=each.opened_at - shift) for each in candles), span)


def _limit(span: GapSpan) -> int:
    return min(answers.PAGE, minutes_between(span.start, span.end) + 2)


def _ask_for_trades(feed: Feed, turn: RequestSlot, span: GapSpan, may_call: MayCall) -> AnswerRows:
    with refused_history.asking_for(refused_history.TRADES):
        trades = feed.fetch_trades(
            span.symbol, since=span.start, limit=answers.PAGE, deadline_seconds=turn.deadline_seconds, may_call=may_call
        )
    return answers.from_trades(trades, span)
