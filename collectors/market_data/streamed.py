"""Stores books and trades that a stream brings, through the same rules and the same store as those of requests.

A row that a stream has stored moves the time at which its series is asked for, in the same transaction: requests begin
again by themselves when rows stop coming.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from django.db import transaction

from collectors.market_data import series, store
from collectors.models import reports
from collectors.models.market_data import DepthRun, DepthSeries
from collectors.rate_limits.idle_window import RequestSlot
from collectors.rules import book_checks, trade_rows
from exchanges.depth_settings import BOOKS, TRADES, WantedData
from exchanges.models import Exchange
from feeds.base import OrderBook, RejectedRow
from feeds.streams import TakenTrades

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """The market data wanted of one exchange by symbol, as it stood at one moment."""

    turn: RequestSlot
    wanted: Mapping[str, WantedData]
    books: Mapping[str, DepthSeries]
    trades: Mapping[str, DepthSeries]


@dataclass(slots=True)
class StreamTally:
    """The rows of one kind since the last run was written down."""

    started_at: datetime
    answered: int = 0
    stored: int = 0
    rejected: list[RejectedRow] = field(default_factory=list)
    repaired: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Saved:
    """The result of a save; `unsound` are the markets whose books were put aside."""

    answered: int
    stored: int
    rejected: tuple[RejectedRow, ...] = ()
    unsound: tuple[str, ...] = ()
    repaired: Mapping[str, int] = field(default_factory=dict)


def plan(exchange_id: str, generation: int, *, now: datetime) -> Plan | None:
    """Returns what is wanted of an exchange; None when it is no longer collected."""
    exchange = Exchange.objects.collected().filter(pk=exchange_id).first()
    if exchange is None:
        return None
    wanted = series.sync(exchange, now)
    rows = DepthSeries.objects.filter(exchange=exchange, market__isnull=False).select_related("market")
    by_kind: dict[str, dict[str, DepthSeries]] = {BOOKS: {}, TRADES: {}}
    for row in rows:
        if row.market is not None and row.kind in by_kind:
            by_kind[row.kind][row.market.symbol] = row
    return Plan(RequestSlot(exchange, generation, 0.0), wanted, by_kind[BOOKS], by_kind[TRADES])


def save_books(plan: Plan, books: Mapping[str, OrderBook], *, now: datetime) -> Saved:
    """Stores each sound book in a transaction of its own. Raises Superseded."""
    stored, rejected, unsound = 0, [], []
    for symbol, book in books.items():
        if fault := book_checks.fault_of(book, now=now.timestamp()):
            rejected.append(book_checks.put_aside(symbol, book, fault))
            unsound.append(symbol)
            continue
        one = plan.books[symbol]
        with transaction.atomic():
            count = store.save_book(plan.turn, one, book)
            if count:
                series.delivered(one, seconds=plan.wanted[BOOKS].seconds, now=now)
        stored += count
    sound = {symbol: book for symbol, book in books.items() if symbol not in unsound}
    return Saved(len(books), stored, tuple(rejected), tuple(unsound), reports.put_right(sound))


def save_trades(plan: Plan, symbol: str, taken: TakenTrades, *, now: datetime) -> Saved:
    """Stores one market's trades in one transaction. Raises Superseded."""
    one, page = plan.trades[symbol], taken.page
    found = trade_rows.sort_out(page, symbol, kept_since=store.kept_since(now).timestamp(), now=now.timestamp())
    answered = len(page.trades) + len(page.rejected)
    if not found.rows and not found.refused:
        return Saved(answered, 0, found.rejected)
    with transaction.atomic():
        saved = store.save_trades(plan.turn, one, found, received_at=page.received_at, now=now, follows=taken.follows)
        if saved.count:
            series.delivered(one, seconds=plan.wanted[TRADES].seconds, now=now)
    if saved.holes:
        log.info("trades_missing", exchange=plan.turn.exchange.id, symbol=symbol, holes=saved.holes)
    return Saved(answered, saved.count, found.rejected)


def write_down(exchange_id: str, kind: str, tally: StreamTally, *, now: datetime) -> None:
    """Writes down a run of a stream, which made no request."""
    DepthRun.objects.create(
        exchange_id=exchange_id,
        kind=kind,
        started_at=tally.started_at,
        duration_ms=round((now - tally.started_at).total_seconds() * 1000),
        outcome="stored" if tally.stored or not tally.rejected else "bad_reply",
        rows_answered=tally.answered,
        rows_stored=tally.stored,
        rows_quarantined=len(tally.rejected),
        rows_repaired=len(tally.repaired),
        excerpt=reports.of_levels(tally.repaired),
        quarantine=reports.samples(tally.rejected),
    )
