"""Which trades are stored, which are refused, and which are missing. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from collectors.rules.book_checks import EXCERPT_CHARACTERS, FUTURE_SECONDS
from feeds.base import RejectedRow, Trade, TradePage

LARGEST_NUMBER = 2**63 - 1
OWN_ID = "~"  # begins the id of a trade for which the exchange gives none


class TradeRow(NamedTuple):
    """A trade to store."""

    trade_id: str
    number: int | None
    at: float
    price: float
    amount: float
    side: str | None


class TradePosition(NamedTuple):
    """The newest stored trade of a market."""

    number: int | None
    at: float


class Hole(NamedTuple):
    """Trades that are missing between two moments; by number where the exchange counts them."""

    first_number: int | None
    last_number: int | None
    started_at: float
    ended_at: float

    @property
    def missing_count(self) -> int | None:
        if self.first_number is None or self.last_number is None:
            return None
        return self.last_number - self.first_number + 1


@dataclass(frozen=True, slots=True)
class Sorted:
    """A page of trades: those that can be stored, oldest first and each once, and those that cannot. `refused` are the
    rejected ones that have a number: they were delivered, so that they are not missing."""

    rows: tuple[TradeRow, ...]
    rejected: tuple[RejectedRow, ...] = ()
    refused: tuple[TradeRow, ...] = ()


def sort_out(page: TradePage, symbol: str, *, kept_since: float, now: float) -> Sorted:
    """Sorts a page's trades; ones older than are kept are neither stored nor rejected."""
    rows: dict[str, TradeRow] = {}
    rejected = list(page.rejected)
    repeats: dict[str, int] = {}
    refused: list[TradeRow] = []
    for trade in page.trades:
        if fault := _fault_of_trade(trade, now=now):
            rejected.append(_rejected(symbol, trade, fault))
            if (number := _number(trade.trade_id or "") if page.is_numbered else None) is not None:
                refused.append(TradeRow(str(number), number, _moment(trade, page), trade.price, trade.amount, None))
        elif trade.traded_at >= kept_since:
            id_ = trade.trade_id or _own_id(trade, repeats)
            number = _number(id_) if page.is_numbered else None
            row = TradeRow(id_, number, trade.traded_at, trade.price, trade.amount, trade.side)
            if rows.setdefault(id_, row) is not row and (page.is_numbered or rows[id_] != row):
                same = "the same" if rows[id_] == row else "other"
                rejected.append(
                    _rejected(symbol, trade, f"id {id_} sent twice in one answer, with {same} values"[:200])
                )
    ordered = sorted(rows.values(), key=_by_number)
    return Sorted(tuple(ordered), tuple(rejected), tuple(sorted(refused, key=_by_number)))


def _by_number(row: TradeRow) -> tuple[int, float]:
    return row.number or 0, row.at


def _rejected(symbol: str, trade: Trade, why: str) -> RejectedRow:
    return RejectedRow(symbol, why, repr(trade._asdict())[:EXCERPT_CHARACTERS])


def _moment(trade: Trade, page: TradePage) -> float:
    """Returns the moment of a refused trade, or of its page: the trade's time may be what was refused."""
    return trade.traded_at if 0 < trade.traded_at <= page.received_at + FUTURE_SECONDS else page.received_at


def _fault_of_trade(trade: Trade, *, now: float) -> str:
    if not all(math.isfinite(value) and value > 0 for value in (trade.price, trade.amount)):
        return "price or amount is no positive number"
    if not 0 < trade.traded_at <= now + FUTURE_SECONDS:
        return "traded at an impossible time"
    return ""


def _own_id(trade: Trade, repeats: dict[str, int]) -> str:
    """Returns the same id for a trade asked for again; equal ones of one moment are told apart by their order."""
    text = f"{OWN_ID}{trade.traded_at!r}:{trade.price!r}:{trade.amount!r}:{trade.side or ''}"
    repeats[text] = repeats.get(text, 0) + 1
    return f"{text}:{repeats[text]}"


def _number(trade_id: str) -> int | None:
    if not (trade_id.isascii() and trade_id.isdigit()):
        return None
    number = int(trade_id)
    return number if number <= LARGEST_NUMBER else None


def newer(rows: Sequence[TradeRow], position: TradePosition | None) -> tuple[TradeRow, ...]:
    """Returns the rows not stored before, where numbers tell; what is older lies in a hole or was stored."""
    if position is None or position.number is None or begins_anew(rows, position):
        return tuple(rows)
    known = position.number
    return tuple(row for row in rows if row.number is None or row.number > known)


def begins_anew(rows: Sequence[TradeRow], position: TradePosition) -> bool:
    """Says whether the exchange counts from a smaller number again: all are lower, and yet later."""
    numbers = [row.number for row in rows if row.number is not None]
    if not numbers or position.number is None:
        return False
    return max(numbers) < position.number and min(row.at for row in rows) > position.at


def position_after(
    rows: Sequence[TradeRow], position: TradePosition | None, refused: Sequence[TradeRow] = ()
) -> TradePosition | None:
    """Returns the new position, never back unless the exchange counts anew; refused trades count as delivered."""
    rows = (*rows, *refused)
    if not rows:
        return position
    if position is not None and begins_anew(rows, position):
        position = None
    newest_at = max(row.at for row in rows)
    numbers = [row.number for row in rows if row.number is not None]
    if position is None:
        return TradePosition(max(numbers, default=None), newest_at)
    known = [] if position.number is None else [position.number]
    return TradePosition(max([*known, *numbers], default=None), max(position.at, newest_at))


def holes(rows: Sequence[TradeRow], position: TradePosition | None, refused: Sequence[TradeRow] = ()) -> list[Hole]:
    """Returns what is missing between our newest trade and this page, and inside of it. `refused` was delivered.

    Without numbers only the first can be told: a page whose oldest trade is later than our newest does not touch it.
    """
    rows = sorted((*rows, *refused), key=_by_number) if refused else rows
    if position is not None and begins_anew(rows, position):
        position = None
    numbered = [row for row in rows if row.number is not None]
    if numbered:
        return _holes_in_numbers(numbered, position)
    if position is None or not rows or position.number is not None:
        return []
    oldest = min(row.at for row in rows)
    return [Hole(None, None, position.at, oldest)] if oldest > position.at else []


def _holes_in_numbers(rows: Iterable[TradeRow], position: TradePosition | None) -> list[Hole]:
    found = []
    before = position if position is not None and position.number is not None else None
    for row in rows:
        assert row.number is not None
        if before is not None and before.number is not None:
            if row.number <= before.number:
                continue
            if row.number > before.number + 1:
                started_at, ended_at = sorted((before.at, row.at))
                found.append(Hole(before.number + 1, row.number - 1, started_at, ended_at))
        before = TradePosition(row.number, row.at)
    return found


def inside(rows: Sequence[TradeRow], hole: Hole) -> tuple[TradeRow, ...]:
    """Returns those of an answer that belong into a hole."""
    if hole.first_number is None or hole.last_number is None:
        return tuple(row for row in rows if hole.started_at <= row.at <= hole.ended_at)
    first, last = hole.first_number, hole.last_number
    return tuple(row for row in rows if row.number is not None and first <= row.number <= last)


def state_of(hole: Hole, rows: Sequence[TradeRow], *, filled_count: int, stored: int) -> str:
    """Returns a hole's state after an answer. One that brought nothing new is the last: the exchange has no more."""
    if hole.missing_count is not None and filled_count >= hole.missing_count:
        return "filled"
    if hole.missing_count is None and any(row.at >= hole.ended_at for row in rows):
        return "filled"  # it was asked from the hole's start on, and the answer reaches over its end
    if stored:
        return "open"
    return "partly filled" if filled_count else "exchange has none"
