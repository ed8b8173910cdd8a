"""Makes one round at one exchange: what is due is asked for, judged and stored, by request, between the polls.

Nothing here touches the worker's health: what an exchange cannot give besides tickers is not its worker's error. Only
an exchange's word that this address shall wait reaches the polls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from collectors import rate_limits
from collectors.market_data import filling, series, store, turns
from collectors.models import reports
from collectors.models.market_data import DepthRun, DepthSeries
from collectors.polling import market_list
from collectors.rate_limits.idle_window import RequestSlot
from collectors.rules import book_checks, funding_checks, trade_rows
from exchanges.depth_settings import BOOKS, FUNDING, TRADES, WantedData
from exchanges.models import Exchange
from feeds import open_feed
from feeds.base import BadReply, Feed, FeedError, RejectedRow, Superseded, Throttled, Unsupported
from feeds.request_gate import HeldBack

log = structlog.get_logger(__name__)

TRADE_PAGE = 500  # what binance gives when it is not told a number
ABILITY = {BOOKS: ("fetchOrderBook",), TRADES: ("fetchTrades",), FUNDING: ("fetchFundingRates", "fetchFundingRate")}


@dataclass(slots=True)
class RoundTally:
    """The part of a round that is of one kind, as it will be written down. The first failure says how it went."""

    started_at: datetime
    outcome: str = "stored"
    requests: int = 0
    answered: int = 0
    stored: int = 0
    seconds: float = 0.0
    rejected: list[RejectedRow] = field(default_factory=list)
    repaired: dict[str, int] = field(default_factory=dict)  # levels of a market's books that were put right
    error: FeedError | None = None

    def fail(self, error: FeedError) -> None:
        if self.error is None:
            self.outcome, self.error = error.kind, error


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """The result of one request."""

    answered: int
    sound: int
    stored: int
    rejected: tuple[RejectedRow, ...] = ()
    repaired: Mapping[str, int] = field(default_factory=dict)


def collect(exchange_id: str, *, clock: Callable[[], datetime], seconds: float) -> dict[str, int]:
    """Asks for what is due, for at most `seconds`; returns rows stored by kind. Harmless when run twice at a time: a
    request slot is one request's, and what was asked for is no longer due. Never raises for what an exchange does."""
    exchange = Exchange.objects.collected().filter(pk=exchange_id).first()
    if exchange is None or not turns.is_well(exchange_id):
        return {}
    wanted = series.sync(exchange, clock())
    round_seconds = min((each.seconds for each in wanted.values()), default=0.0)
    give_up_at, tallies = time.monotonic() + seconds, dict[str, RoundTally]()
    try:
        for one in series.due(exchange_id, clock(), round_seconds=round_seconds):
            tally = tallies.setdefault(one.kind, RoundTally(clock()))
            if time.monotonic() > give_up_at or not _ask_in_turn(exchange, one, wanted[one.kind], tally, clock):
                break
        else:
            if TRADES in wanted:
                tally = tallies.setdefault(TRADES, RoundTally(clock()))
                tally.stored += filling.fill(exchange, clock=clock, until=give_up_at)
    finally:
        _write_down(exchange_id, tallies)
    return {kind: tally.stored for kind, tally in tallies.items() if tally.requests}


def _ask_in_turn(
    exchange: Exchange, one: DepthSeries, wanted: WantedData, tally: RoundTally, clock: Callable[[], datetime]
) -> bool:
    """Waits for a request slot and asks; returns False when the rest of the round would fare no better."""
    turn = turns.wait_for(exchange)
    if turn is None:
        return False
    try:
        if not series.claim(one, seconds=wanted.seconds, now=clock()):
            return True  # somebody else has just asked
        return _ask(turn, one, wanted, tally, clock)
    finally:
        turns.give_back(turn)


def _ask(
    turn: RequestSlot, one: DepthSeries, wanted: WantedData, tally: RoundTally, clock: Callable[[], datetime]
) -> bool:
    began = time.monotonic()
    try:
        answer = KINDS[one.kind](turn, one, wanted, clock)
    except (Superseded, HeldBack) as error:
        log.info("depth_not_asked", exchange=turn.exchange.id, kind=one.kind, reason=str(error))
        return False
    except FeedError as error:
        tally.requests += not isinstance(error, Unsupported)
        tally.fail(error)
        _remember_failure(turn, one, wanted, error, clock())
        return error.kind in ("bad_reply", "unsupported")
    finally:
        tally.seconds += time.monotonic() - began
    tally.requests += 1
    tally.answered += answer.answered
    tally.stored += answer.stored
    tally.rejected += answer.rejected
    tally.repaired |= answer.repaired
    if answer.sound:
        series.note(one, "stored", seconds=wanted.seconds, now=clock())
    else:
        unfit = BadReply(f"{turn.exchange.id} answered nothing fit to store: {answer.rejected[0].reason}")
        tally.fail(unfit)
        _remember_failure(turn, one, wanted, unfit, clock())
    return True


def _remember_failure(turn: RequestSlot, one: DepthSeries, wanted: WantedData, error: FeedError, now: datetime) -> None:
    series.note(one, error.kind, error=str(error), seconds=wanted.seconds, now=now)
    if isinstance(error, Throttled):
        turns.heed(turn.exchange.id, error, now=now)
    log.warning("depth_failed", exchange=turn.exchange.id, kind=one.kind, outcome=error.kind, error=str(error)[:300])


# --- the three kinds ------------------------------------------------------------------------------------------------


def _collect_book(
    turn: RequestSlot, one: DepthSeries, wanted: WantedData, clock: Callable[[], datetime]
) -> RequestOutcome:
    """Asks for a market's book and stores it. Raises FeedError; BadReply for a book that is not sound."""
    feed = _feed(turn, BOOKS)
    symbol = _symbol(one, wanted)
    book = feed.fetch_order_book(symbol, depth=wanted.levels, **_bounds(turn, feed))
    fault = book_checks.fault_of(book, now=clock().timestamp())
    if not fault:
        return RequestOutcome(1, 1, store.save_book(turn, one, book), repaired=reports.put_right({symbol: book}))
    if not book.bids and not book.asks:
        raise BadReply(f"{turn.exchange.id} answered an empty book of {symbol}; treated as a bad reply")
    return RequestOutcome(1, 0, 0, (book_checks.put_aside(symbol, book, fault),))


def _collect_trades(
    turn: RequestSlot, one: DepthSeries, wanted: WantedData, clock: Callable[[], datetime]
) -> RequestOutcome:
    """Asks for a market's trades and stores them. Raises FeedError; BadReply for an answer without a single trade."""
    feed = _feed(turn, TRADES)
    symbol = _symbol(one, wanted)
    page = feed.fetch_trade_page(symbol, span=None, limit=TRADE_PAGE, **_bounds(turn, feed))
    if not page.trades and not page.rejected:
        raise BadReply(f"{turn.exchange.id} answered no trades of {symbol}; treated as a bad reply")
    now = clock()
    found = trade_rows.sort_out(page, symbol, kept_since=store.kept_since(now).timestamp(), now=now.timestamp())
    sound = len(page.trades) + len(page.rejected) - len(found.rejected)
    saved = store.save_trades(turn, one, found, received_at=page.received_at, now=now)
    if saved.holes:
        log.info("trades_missing", exchange=turn.exchange.id, symbol=symbol, holes=saved.holes)
    return RequestOutcome(len(page.trades) + len(page.rejected), sound, saved.count, found.rejected)


def _collect_funding(
    turn: RequestSlot, one: DepthSeries, wanted: WantedData, clock: Callable[[], datetime]
) -> RequestOutcome:
    """Asks for funding and stores it. Raises FeedError; Unsupported without a request where nothing is funded."""
    pipelines = series.perpetuals(turn.exchange, wanted)
    if not pipelines:
        raise Unsupported(f"{turn.exchange.id} has no perpetual or future that is collected")
    feed = _feed(turn, FUNDING)
    rates = feed.fetch_funding(pipelines.keys(), **_bounds(turn, feed))
    now = clock().timestamp()
    faults = {rate.symbol: funding_checks.fault_of_rate(rate, now=now) for rate in rates}
    rejected = tuple(RejectedRow(rate.symbol, faults[rate.symbol], repr(rate)[:200]) for rate in rates
                     if faults[rate.symbol])  # fmt: skip
    sound = [rate for rate in rates if not faults[rate.symbol]]
    return RequestOutcome(len(rates), len(sound), store.save_funding(turn, sound, pipelines), rejected)


KINDS: dict[str, Callable[[RequestSlot, DepthSeries, WantedData, Callable[[], datetime]], RequestOutcome]] = {
    BOOKS: _collect_book,
    TRADES: _collect_trades,
    FUNDING: _collect_funding,
}


def _feed(turn: RequestSlot, kind: str) -> Feed:
    """Opens the exchange's feed. Raises Unsupported before any request where the client says that it cannot."""
    feed = open_feed(turn.exchange.feed_spec(), market_cache=market_list.ValkeyMarketCache())
    if not any(feed.capabilities.has.get(name) for name in ABILITY[kind]):
        raise Unsupported(f"{turn.exchange.id} gives no {'funding rates' if kind == FUNDING else kind}")
    return feed


def _bounds(turn: RequestSlot, feed: Feed) -> dict[str, Any]:
    gate = rate_limits.open_gate(
        turn.exchange, feed.capabilities, priority=rate_limits.Priority.SHADOW, generation=turn.generation
    )
    return {"deadline_seconds": turn.deadline_seconds, "may_call": gate}


def _symbol(one: DepthSeries, wanted: WantedData) -> str:
    if one.market is None:
        raise Unsupported(
            f"{one.exchange_id} tells no volumes, so that its {wanted.top} largest markets are not known: "
            f"name them in markets, instead of top"
        )
    return one.market.symbol


def _write_down(exchange_id: str, tallies: dict[str, RoundTally]) -> None:
    DepthRun.objects.bulk_create(
        DepthRun(
            exchange_id=exchange_id,
            kind=kind,
            started_at=tally.started_at,
            duration_ms=round(tally.seconds * 1000),
            outcome=tally.outcome,
            requests=tally.requests,
            rows_answered=tally.answered,
            rows_stored=tally.stored,
            rows_quarantined=len(tally.rejected),
            rows_repaired=len(tally.repaired),
            quarantine=reports.samples(tally.rejected),
            http_status=tally.error.status if tally.error else None,
            error=reports.clean(str(tally.error)) if tally.error else "",
            excerpt=reports.clean(tally.error.excerpt if tally.error else reports.of_levels(tally.repaired)),
        )
        for kind, tally in tallies.items()
        if tally.requests or tally.error
    )
