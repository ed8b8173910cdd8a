"""The board's content at one moment, read in a fixed number of queries into values that can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from board import open_incidents
from board.open_incidents import OpenIncidents
from collectors.history.names import NameIndex
from exchanges.models import Transport
from incidents.rules import verdict
from incidents.rules.conditions import OLD, Condition, SourceState, left_out
from incidents.rules.verdict import Elsewhere
from incidents.signs import health, reading
from incidents.signs.activity import NO_ACTIVITY
from incidents.signs.health import SystemHealth
from incidents.signs.reading import ERROR_CHARACTERS, AllSigns, GapGroup, SourceReading

SHOWN_EVENTS = 15
SHOWN_GAP_ROWS = 12
SHOWN_LINES = 12

EVENTS = """
(SELECT t.happened_at, t.exchange_id, t.from_status, t.to_status, t.reason, 'status'
 FROM collectors_transition AS t JOIN exchanges_exchange AS e ON e.id = t.exchange_id AND e.removed_at IS NULL
 ORDER BY t.happened_at DESC, t.id DESC LIMIT %(most)s)
UNION ALL
(SELECT s.happened_at, s.exchange_id, '', s.to_transport, s.reason, 'transport'
 FROM collectors_switch AS s JOIN exchanges_exchange AS e ON e.id = s.exchange_id AND e.removed_at IS NULL
 ORDER BY s.happened_at DESC, s.id DESC LIMIT %(most)s)
ORDER BY 1 DESC LIMIT %(most)s
"""


@dataclass(frozen=True, slots=True)
class Tile:
    """The tile of an exchange, without when it last stored a row: that changes with every poll, see `Board.newest`."""

    exchange: str
    name: str
    condition: Condition
    next_try_at: datetime | None
    fresh: int
    markets: int
    error_percent: int | None
    transport: str
    transport_note: str
    is_simulated: bool
    is_blacklisted: bool
    open_gaps: int
    rows: tuple[int, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gaps:
    """The gaps of all exchanges. `standing` says of which markets nothing is missed though nothing comes."""

    rows: tuple[GapGroup, ...]
    lasting: int
    to_fill: int
    hidden: int
    standing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a worker's status, or of the transport that is used."""

    happened_at: datetime
    exchange: str
    before: str
    after: str
    why: str
    kind: str
    is_old: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """All contents of the board at `taken_at`. `newest`: Unix seconds of the newest row of each exchange, of all
    (`*`), and of beat's last sign of life; kept apart because they change every second and nothing else does."""

    taken_at: datetime
    verdict: verdict.OverallState
    newest: Mapping[str, int]
    health: SystemHealth
    tiles: tuple[Tile, ...]
    gaps: Gaps
    incidents: OpenIncidents
    events: tuple[Event, ...]


def read(now: datetime) -> Board:
    """Reads the whole board, with as many queries whatever there is, and what a changed market list costs once. Raises
    DatabaseError, InterfaceError."""
    return compose(reading.read(now))


def compose(signs: AllSigns) -> Board:
    """Returns the board that shows these signs. One query more. Raises DatabaseError, InterfaceError."""
    open_gaps, conditions = signs.open_gaps(), signs.conditions
    return Board(
        taken_at=signs.taken_at,
        verdict=verdict.judge(
            conditions,
            absence=signs.absence,
            elsewhere=_elsewhere(conditions, signs.known, signs.fresh, signs.markets),
            alarms=signs.alarms,
        ),
        newest=health.newest([source.worker for source in signs.sources], signs.seen),
        health=signs.health,
        tiles=tuple(sorted((_tile(source, signs, open_gaps) for source in signs.sources), key=_urgency)),
        gaps=_shown(signs.gaps, signs.notes),
        incidents=open_incidents.read(signs.taken_at),
        events=_events(signs.taken_at),
    )


def _shown(gaps: Sequence[GapGroup], notes: Mapping[str, tuple[str, ...]]) -> Gaps:
    lines = [f"{words} of {exchange}" for exchange, said in notes.items() for words in said]
    more = len(lines) - SHOWN_LINES
    return Gaps(
        standing=(*lines[:SHOWN_LINES], *([f"and {more} more"] if more > 0 else [])),
        rows=tuple(gaps[:SHOWN_GAP_ROWS]),
        lasting=sum(row.lasting for row in gaps),
        to_fill=sum(row.to_fill for row in gaps),
        hidden=max(0, len(gaps) - SHOWN_GAP_ROWS),
    )


def _events(now: datetime) -> tuple[Event, ...]:
    with connection.cursor() as cursor:
        cursor.execute(EVENTS, {"most": SHOWN_EVENTS})
        return tuple(
            Event(at, exchange, before, after, why[:ERROR_CHARACTERS], kind, is_old=now - at > OLD)
            for at, exchange, before, after, why, kind in cursor.fetchall()
        )


# --- tiles ------------------------------------------------------------------------------------------------------


def _tile(source: SourceReading, signs: AllSigns, open_gaps: Mapping[str, int]) -> Tile:
    worker, condition = source.worker, source.condition
    exchange = worker.exchange
    done = signs.last_hour.exchanges.get(exchange.id, NO_ACTIVITY)
    is_bad = condition.state in (SourceState.DOWN, SourceState.DEGRADED)
    transport, note = _transport(source)
    return Tile(
        exchange=exchange.id,
        name=exchange.name or exchange.id,
        condition=condition,
        next_try_at=worker.retry_at if is_bad else None,
        fresh=source.signs.fresh if exchange.is_collected else 0,
        markets=source.signs.markets,
        error_percent=done.error_percent,
        transport=transport,
        transport_note=note,
        is_simulated=exchange.is_simulated,
        is_blacklisted=exchange.blacklisted,
        open_gaps=open_gaps.get(exchange.id, 0),
        rows=done.rows,
        notes=_notes(source, signs),
    )


def _notes(source: SourceReading, signs: AllSigns) -> tuple[str, ...]:
    not_asked = left_out(source.signs.missing_parts)
    return (*signs.notes.get(source.worker.exchange_id, ()), *filter(None, [not_asked]))


def _urgency(tile: Tile) -> tuple[int, str]:
    return list(SourceState).index(tile.condition.state), tile.exchange


def _transport(source: SourceReading) -> tuple[str, str]:
    """Returns what is really used, and why not the stream where there could be one."""
    used = source.in_use
    is_short = source.is_listened_to and used.word != Transport.STREAM
    return used.word, used.why[:ERROR_CHARACTERS] if is_short else ""


def _elsewhere(
    conditions: Sequence[Condition], known: NameIndex, fresh: frozenset[int], markets: Mapping[str, frozenset[int]]
) -> dict[str, Elsewhere]:
    """Returns what still comes of the named sources' pairs; costs nothing while all is well."""
    bad = {each.exchange for each in conditions if each.state != SourceState.DELIVERS}
    wanted = [each.exchange for each in verdict.named(conditions)]
    if not wanted:
        return {}
    rows = _pair_rows(known)
    fresh_pairs = {
        exchange: {rows[market] for market in numbers & fresh}
        for exchange, numbers in markets.items()
        if exchange not in bad
    }
    return {exchange: _others(markets.get(exchange, frozenset()), rows, fresh_pairs) for exchange in wanted}


def _others(numbers: frozenset[int], rows: Mapping[int, int], fresh_pairs: Mapping[str, set[int]]) -> Elsewhere:
    mine = {rows[market] for market in numbers}
    shared = [mine & theirs for theirs in fresh_pairs.values() if mine & theirs]
    return Elsewhere(pairs=len(set().union(*shared)), sources=len(shared))


# The row of each market's pair in a listing.
_rows: tuple[NameIndex | None, dict[int, int]] = (None, {})


def _pair_rows(known: NameIndex) -> dict[int, int]:
    global _rows
    held, rows = _rows
    if held is not known:
        rows = {market: row for row, market in enumerate(known.pairs.firsts)}
        rows |= {market: row for row, numbers in known.pairs.several for market in numbers}
        _rows = (known, rows)
    return rows
