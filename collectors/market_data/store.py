"""Writes books, trades and funding rates: each answer in one short transaction, under the generation it was asked
under, so that an exchange that an operator has stopped meanwhile stores nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max

from collectors.history import partitions
from collectors.models.market_data import DepthKind, DepthSeries, PublicTrade, TradeHole
from collectors.rate_limits.idle_window import RequestSlot
from collectors.rules import trade_rows
from feeds.base import FundingRate, OrderBook, Superseded

TRADE_TABLE = ("collectors_trade",)
BORDER = timedelta(seconds=1)  # around a hole, for stamps that were rounded

# Verbs hold the exchange's row while they change it or its worker: shared, it lets no stop be committed before what was
# stored under the old generation is. Polls do not wait for it, as they would for the worker's. The second statement has
# a snapshot of its own, so that it sees the verb for which the first one has waited.
FENCE = """
SELECT 1 FROM exchanges_exchange WHERE id = %(exchange)s FOR SHARE;
SELECT w.resumed_at FROM collectors_worker AS w JOIN exchanges_exchange AS e ON e.id = w.exchange_id
WHERE e.id = %(exchange)s AND e.is_collected AND w.generation = %(generation)s
"""
BOOK = """
INSERT INTO collectors_orderbook
    (pipeline_id, received_at, exchange_at, sequence, bid_prices, bid_amounts, ask_prices, ask_amounts)
VALUES (%(pipeline)s, %(received_at)s, %(exchange_at)s, %(sequence)s,
        %(bid_prices)s::float8[], %(bid_amounts)s::float8[], %(ask_prices)s::float8[], %(ask_amounts)s::float8[])
ON CONFLICT DO NOTHING
"""
# The series' row is locked, so nobody inserts the same market's trades at the same time. An exchange may round a stamp
# differently from one answer to the next: the same id within a day is the same trade.
TRADES = """
INSERT INTO collectors_trade
    (pipeline_id, trade_id, number, traded_at, received_at, price, amount, side, is_filled)
SELECT %(pipeline)s, f.trade_id, f.number, f.traded_at, %(received_at)s, f.price, f.amount, f.side, %(is_filled)s
FROM unnest(%(ids)s::text[], %(numbers)s::bigint[], %(moments)s::timestamptz[], %(prices)s::float8[],
            %(amounts)s::float8[], %(sides)s::text[])
     AS f (trade_id, number, traded_at, price, amount, side)
WHERE NOT EXISTS (
    SELECT 1 FROM collectors_trade AS t
    WHERE t.pipeline_id = %(pipeline)s AND t.trade_id = f.trade_id
      AND t.traded_at BETWEEN f.traded_at - interval '1 day' AND f.traded_at + interval '1 day')
ON CONFLICT DO NOTHING
"""
FUNDING = """
INSERT INTO collectors_funding
    (pipeline_id, received_at, exchange_at, rate, interval_seconds, next_at, mark_price, index_price)
SELECT p.market_id, %(received_at)s, f.exchange_at, f.rate, f.interval_seconds, f.next_at, f.mark_price, f.index_price
FROM unnest(%(pipelines)s::int[], %(stamps)s::timestamptz[], %(rates)s::float8[], %(intervals)s::float8[],
            %(nexts)s::timestamptz[], %(marks)s::float8[], %(indexes)s::float8[])
     AS f (pipeline_id, exchange_at, rate, interval_seconds, next_at, mark_price, index_price)
JOIN collectors_pipeline AS p ON p.market_id = f.pipeline_id
ON CONFLICT DO NOTHING
"""
FIRST_MISSING = """
SELECT number, traded_at, following_number, following_at FROM (
    SELECT number, traded_at, lead(number) OVER by_number AS following_number,
           lead(traded_at) OVER by_number AS following_at
    FROM collectors_trade
    WHERE pipeline_id = %(pipeline)s AND number BETWEEN %(first)s - 1 AND %(last)s + 1
      AND traded_at BETWEEN %(start)s AND %(end)s
    WINDOW by_number AS (ORDER BY number)
) AS stored WHERE following_number > number + 1 ORDER BY number LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class StoredTrades:
    """The result of storing a page of trades."""

    count: int
    holes: int = 0


def kept_since(now: datetime) -> datetime:
    """Returns the moment before which trades are dropped again."""
    return now - timedelta(days=settings.TRADE_RETENTION_DAYS)


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def moment_if(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)


@transaction.atomic
def save_book(turn: RequestSlot, series: DepthSeries, book: OrderBook) -> int:
    """Stores a book; returns the number of rows. Raises Superseded, as the others do."""
    _fence(turn)
    with connection.cursor() as cursor:
        cursor.execute(
            BOOK,
            {
                "pipeline": series.market_id,
                "received_at": moment(book.received_at),
                "exchange_at": moment_if(book.exchange_at),
                "sequence": book.sequence,
                "bid_prices": [price for price, _ in book.bids],
                "bid_amounts": [amount for _, amount in book.bids],
                "ask_prices": [price for price, _ in book.asks],
                "ask_amounts": [amount for _, amount in book.asks],
            },
        )
        return int(cursor.rowcount)


def save_trades(
    turn: RequestSlot,
    series: DepthSeries,
    page: trade_rows.Sorted,
    *,
    received_at: float,
    now: datetime,
    follows: bool = False,
) -> StoredTrades:
    """Stores what is new of a page, and writes down what is missing before and inside of it: what was delivered and
    refused is not. `follows`: whoever brings it has missed nothing since the page before, so that only numbers can say
    that something is missing."""
    rows, refused = page.rows, page.refused
    _make_partitions(rows, now)
    with transaction.atomic():
        resumed_at = _fence(turn)
        locked = DepthSeries.objects.select_for_update().filter(pk=series.pk).first()
        if locked is None:
            raise Superseded(f"{series} is no longer wanted")
        position = _position(locked, resumed_at)
        found = trade_rows.holes(rows, position, refused)
        missing = [hole for hole in found if hole.first_number is not None or not follows]
        assert series.market_id is not None
        count = _insert(series.market_id, trade_rows.newer(rows, position), received_at=received_at, is_filled=False)
        TradeHole.objects.bulk_create([_hole(series.market_id, hole, now) for hole in missing], ignore_conflicts=True)
        after = trade_rows.position_after(rows, position, refused)
        if after is not None:
            locked.newest_number, locked.newest_at = after.number, moment(after.at)
        locked.stored_at = now if rows else locked.stored_at
        locked.save(update_fields=["newest_number", "newest_at", "stored_at"])
    return StoredTrades(count, len(missing))


@transaction.atomic
def save_funding(turn: RequestSlot, rates: Sequence[FundingRate], pipelines: dict[str, int]) -> int:
    _fence(turn)
    known = [rate for rate in rates if rate.symbol in pipelines]
    if not known:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            FUNDING,
            {
                "pipelines": [pipelines[rate.symbol] for rate in known],
                "received_at": moment(known[0].received_at),
                "stamps": [moment_if(rate.exchange_at) for rate in known],
                "rates": [rate.rate for rate in known],
                "intervals": [rate.interval_seconds for rate in known],
                "nexts": [moment_if(rate.next_at) for rate in known],
                "marks": [rate.mark_price for rate in known],
                "indexes": [rate.index_price for rate in known],
            },
        )
        return int(cursor.rowcount)


def fill_hole(
    turn: RequestSlot,
    hole_id: int,
    claimed_until: datetime,
    page: trade_rows.Sorted,
    *,
    received_at: float,
    now: datetime,
) -> int:
    """Stores what an answer holds of a hole, and writes down what is still missing; returns the number of trades. What
    it holds and cannot be stored is not missing. Raises Superseded."""
    rows = page.rows
    _make_partitions(rows, now)
    with transaction.atomic():
        _fence(turn)
        hole = TradeHole.objects.select_for_update().filter(pk=hole_id, next_try_at=claimed_until).first()
        if hole is None:
            return 0
        # the same lock as for live trades
        DepthSeries.objects.select_for_update().filter(market_id=hole.pipeline_id, kind=DepthKind.TRADES).first()
        known = as_rule(hole)
        stored = _insert(hole.pipeline_id, trade_rows.inside(rows, known), received_at=received_at, is_filled=True)
        hole.filled_count += stored
        hole.attempts, hole.next_try_at = 0, None
        refused = len(trade_rows.inside(page.refused, known))
        delivered = hole.filled_count + refused if hole.filled_count else 0
        hole.state = trade_rows.state_of(known, rows, filled_count=delivered, stored=stored)
        hole.save(update_fields=["filled_count", "attempts", "next_try_at", "state"])
    return stored


def first_missing(hole: TradeHole) -> tuple[int | None, datetime, datetime]:
    """Returns the first number that is still missing, and the moments of the stored trades around it."""
    if hole.first_number is None:
        newest = PublicTrade.objects.filter(
            pipeline_id=hole.pipeline_id, traded_at__gte=hole.started_at, traded_at__lt=hole.ended_at, is_filled=True
        ).aggregate(at=Max("traded_at"))["at"]
        return None, newest or hole.started_at, hole.ended_at
    parameters = {
        "pipeline": hole.pipeline_id, "first": hole.first_number, "last": hole.last_number,
        "start": hole.started_at - BORDER, "end": hole.ended_at + BORDER,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(FIRST_MISSING, parameters)
        row = cursor.fetchone()
    if row is None:
        return hole.first_number, hole.started_at, hole.ended_at
    return int(row[0]) + 1, row[1], row[3]


def as_rule(hole: TradeHole) -> trade_rows.Hole:
    return trade_rows.Hole(hole.first_number, hole.last_number, hole.started_at.timestamp(), hole.ended_at.timestamp())


def _fence(turn: RequestSlot) -> datetime:
    with connection.cursor() as cursor:
        cursor.execute(FENCE, {"exchange": turn.exchange.id, "generation": turn.generation})
        row = cursor.fetchone()
    if row is None:
        raise Superseded("an operator stopped or restarted this exchange while it was asked")
    resumed_at: datetime = row[0]
    return resumed_at


def _position(series: DepthSeries, resumed_at: datetime) -> trade_rows.TradePosition | None:
    """Returns the newest stored trade; None at the start and after a planned stop: what nobody asked for is no hole."""
    if series.newest_at is None or series.stored_at is None or series.stored_at < resumed_at:
        return None
    return trade_rows.TradePosition(series.newest_number, series.newest_at.timestamp())


def _insert(pipeline_id: int, rows: Sequence[trade_rows.TradeRow], *, received_at: float, is_filled: bool) -> int:
    if not rows:
        return 0
    parameters: dict[str, Any] = {
        "pipeline": pipeline_id,
        "received_at": moment(received_at),
        "is_filled": is_filled,
        "ids": [row.trade_id.replace("\x00", "") for row in rows],
        "numbers": [row.number for row in rows],
        "moments": [moment(row.at) for row in rows],
        "prices": [row.price for row in rows],
        "amounts": [row.amount for row in rows],
        "sides": [row.side for row in rows],
    }
    with connection.cursor() as cursor:
        cursor.execute(TRADES, parameters)
        return int(cursor.rowcount)


def _make_partitions(rows: Sequence[trade_rows.TradeRow], now: datetime) -> None:
    """Makes the partitions of past days that rows need: a quiet market's newest trades may be days old."""
    oldest = moment(min((row.at for row in rows), default=now.timestamp()))
    if oldest.date() < (now - timedelta(days=1)).date():
        partitions.ensure_since(oldest, now, tables=TRADE_TABLE)


def _hole(pipeline_id: int, hole: trade_rows.Hole, now: datetime) -> TradeHole:
    return TradeHole(
        pipeline_id=pipeline_id, first_number=hole.first_number, last_number=hole.last_number,
        started_at=moment(hole.started_at), ended_at=moment(hole.ended_at), missing_count=hole.missing_count,
        detected_at=now,
    )  # fmt: skip
