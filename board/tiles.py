"""The board's content at one moment, read in a fixed number of queries into values that can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection

from board import activity, health
from board.activity import NO_ACTIVITY, LastHour
from board.health import SystemHealth
from board.rules import verdict
from board.rules.verdict import Condition, Elsewhere, Signs, SourceState
from collectors.history import names
from collectors.history.names import NameIndex
from collectors.models import TO_FILL_SQL, Worker
from collectors.polling import transports
from collectors.rules import worker_status
from collectors.status import workers as status
from collectors.status.dialects.pipelines import DEGRADED_FROM_SECONDS
from exchanges.models import BlacklistEntry, Transport
from feeds.streams import can_stream
from lib import int4

SHOWN_EVENTS = 15
SHOWN_GAP_ROWS = 12
ERROR_CHARACTERS = 300

# Fresh is what the pipelines API calls healthy, or has come within two of its own intervals where it is slower. Numbers
# come packed, see `lib.int4`. What an exchange lists and never quotes is not missed.
FRESH = f"""
SELECT string_agg(int4send(market_id), ''::bytea) FILTER (
           WHERE received_at > %(now)s - greatest({DEGRADED_FROM_SECONDS}, 2 * expected_seconds) * interval '1 second'),
       string_agg(int4send(market_id), ''::bytea) FILTER (WHERE received_at IS NULL)
FROM collectors_pipeline
"""
FAILING_SINCE = """
SELECT w.exchange_id, r.started_at FROM collectors_worker AS w
CROSS JOIN LATERAL (
    SELECT started_at FROM collectors_run
    WHERE exchange_id = w.exchange_id AND started_at > coalesce(w.stored_at, w.resumed_at)
      AND outcome NOT IN ('stored', 'superseded')
    ORDER BY started_at LIMIT 1
) AS r WHERE w.error_count > 0
"""
GAPS = f"""
SELECT m.exchange_id, g.cause, count(*) FILTER (WHERE g.ended_at IS NULL),
       count(*) FILTER (WHERE g.ended_at IS NOT NULL), min(g.started_at),
       min(g.started_at) FILTER (WHERE g.ended_at IS NULL), max(g.evidence), sum(g.filled_count),
       avg(CASE WHEN g.state NOT IN ({TO_FILL_SQL}) THEN 1 ELSE least(1, greatest(0,
           extract(epoch FROM coalesce(g.filled_until, g.started_at) - g.started_at)
           / greatest(1, extract(epoch FROM coalesce(g.ended_at, %(now)s) - g.started_at)))) END)
FROM collectors_gap AS g JOIN exchanges_market AS m ON m.id = g.pipeline_id
JOIN exchanges_exchange AS e ON e.id = m.exchange_id AND e.removed_at IS NULL
WHERE g.ended_at IS NULL OR g.state IN ({TO_FILL_SQL})
GROUP BY 1, 2
"""
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


@dataclass(frozen=True, slots=True)
class GapGroup:
    """The gaps of one exchange that have one cause: those that last, and those that wait to be filled."""

    exchange: str
    cause: str
    lasting: int
    to_fill: int
    since: datetime
    lasting_since: datetime | None
    evidence: str
    filled_rows: int
    percent: int


@dataclass(frozen=True, slots=True)
class Gaps:
    rows: tuple[GapGroup, ...]
    lasting: int
    to_fill: int
    hidden: int


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
    events: tuple[Event, ...]


def read(now: datetime) -> Board:
    """Reads the whole board, with nine queries whatever there is, and what a changed market list costs once. Raises
    DatabaseError, InterfaceError."""
    workers = _workers()
    known, last_hour, gaps = names.current(), activity.read(now), _gaps(now)
    fresh, never = _fresh(now)
    markets = _markets_by_exchange(known)
    silent_since = {row.exchange: row.lasting_since for row in reversed(gaps) if row.lasting_since}
    facts = _Facts(now, fresh, never, markets, last_hour, _failing_since(), silent_since, _entries(), _open_gaps(gaps))
    tiles = tuple(sorted((_tile(worker, facts) for worker in workers), key=_urgency))
    conditions = [tile.condition for tile in tiles]
    seen, round_trip_ms = health.ask_processes()
    proof = health.assess(last_hour, seen, round_trip_ms, streamed=sum(map(_is_listened_to, workers)), now=now)
    return Board(
        taken_at=now,
        verdict=verdict.judge(
            conditions,
            absence=_absence(),
            elsewhere=_elsewhere(conditions, known, fresh, markets),
            alarms=health.alarms(proof, seen, now),
        ),
        newest=health.newest(workers, seen),
        health=proof,
        tiles=tiles,
        gaps=_shown(gaps),
        events=_events(now),
    )


def _absence() -> str:
    return "" if settings.COLLECTION_ENABLED else "collection is switched off (COLLECTION_ENABLED)"


# --- facts ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Facts:
    now: datetime
    fresh: frozenset[int]
    never: frozenset[int]
    markets: Mapping[str, frozenset[int]]
    last_hour: LastHour
    failing_since: Mapping[str, datetime]
    silent_since: Mapping[str, datetime]
    entries: Mapping[str, BlacklistEntry]
    open_gaps: Mapping[str, int]


def _workers() -> Sequence[Worker]:
    known = Worker.objects.filter(exchange__removed_at__isnull=True)
    return list(known.select_related("exchange", "exchange__stream").order_by("exchange_id"))


def _fresh(now: datetime) -> tuple[frozenset[int], frozenset[int]]:
    """Returns the markets whose newest row is fresh, and those that never had one."""
    with connection.cursor() as cursor:
        cursor.execute(FRESH, {"now": now})
        fresh, never = cursor.fetchone()
    return frozenset(int4.unpack(fresh)), frozenset(int4.unpack(never))


def _failing_since() -> dict[str, datetime]:
    with connection.cursor() as cursor:
        cursor.execute(FAILING_SINCE)
        return dict(cursor.fetchall())


def _entries() -> dict[str, BlacklistEntry]:
    return {entry.exchange_id: entry for entry in BlacklistEntry.objects.running()}


def _gaps(now: datetime) -> list[GapGroup]:
    with connection.cursor() as cursor:
        cursor.execute(GAPS, {"now": now})
        rows = [
            GapGroup(
                exchange, cause, lasting, to_fill, lasting_since or since, lasting_since,
                (evidence or "")[:ERROR_CHARACTERS], int(filled), int(20 * share) * 5,
            )
            for exchange, cause, lasting, to_fill, since, lasting_since, evidence, filled, share in cursor.fetchall()
        ]  # fmt: skip
    return sorted(rows, key=lambda row: (not row.lasting, row.since, row.exchange, row.cause))


def _open_gaps(gaps: Sequence[GapGroup]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in gaps:
        counts[row.exchange] = counts.get(row.exchange, 0) + row.lasting
    return counts


def _shown(gaps: Sequence[GapGroup]) -> Gaps:
    return Gaps(
        rows=tuple(gaps[:SHOWN_GAP_ROWS]),
        lasting=sum(row.lasting for row in gaps),
        to_fill=sum(row.to_fill for row in gaps),
        hidden=max(0, len(gaps) - SHOWN_GAP_ROWS),
    )


def _events(now: datetime) -> tuple[Event, ...]:
    with connection.cursor() as cursor:
        cursor.execute(EVENTS, {"most": SHOWN_EVENTS})
        return tuple(
            Event(at, exchange, before, after, why[:ERROR_CHARACTERS], kind, is_old=now - at > verdict.OLD)
            for at, exchange, before, after, why, kind in cursor.fetchall()
        )


# The markets of a listing by exchange: made once for each listing, which lives until a market changes.
_markets: tuple[NameIndex | None, dict[str, frozenset[int]]] = (None, {})


def _markets_by_exchange(known: NameIndex) -> dict[str, frozenset[int]]:
    global _markets
    held, markets = _markets
    if held is not known:
        lists: dict[str, list[int]] = {}
        for market, exchange in known.exchanges.items():
            lists.setdefault(exchange, []).append(market)
        markets = {exchange: frozenset(numbers) for exchange, numbers in lists.items()}
        _markets = (known, markets)
    return markets


# --- tiles ------------------------------------------------------------------------------------------------------


def _tile(worker: Worker, facts: _Facts) -> Tile:
    exchange = worker.exchange
    markets = facts.markets.get(exchange.id, frozenset()) - facts.never
    fresh = len(markets & facts.fresh)
    condition = verdict.condition(_signs(worker, facts, len(markets), fresh), facts.now)
    done = facts.last_hour.exchanges.get(exchange.id, NO_ACTIVITY)
    is_bad = condition.state in (SourceState.DOWN, SourceState.DEGRADED)
    transport, note = _transport(worker, facts.now)
    return Tile(
        exchange=exchange.id,
        name=exchange.name or exchange.id,
        condition=condition,
        next_try_at=worker.retry_at if is_bad else None,
        fresh=fresh if exchange.is_collected else 0,
        markets=len(markets),
        error_percent=done.error_percent,
        transport=transport,
        transport_note=note,
        is_simulated=exchange.is_simulated,
        is_blacklisted=exchange.blacklisted,
        open_gaps=facts.open_gaps.get(exchange.id, 0),
        rows=done.rows,
    )


def _urgency(tile: Tile) -> tuple[int, str]:
    return list(SourceState).index(tile.condition.state), tile.exchange


def _signs(worker: Worker, facts: _Facts, markets: int, fresh: int) -> Signs:
    exchange = worker.exchange
    view = worker_status.view(status.facts(worker), facts.now)
    entry = facts.entries.get(exchange.id)
    return Signs(
        exchange=exchange.id,
        status=view.status,
        reason=view.reason[:ERROR_CHARACTERS],
        status_since=entry.listed_at if entry else worker.status_since,
        interval_seconds=exchange.poll_interval_seconds,
        is_wanted=exchange.is_collected,
        off_because=_off_because(worker, entry),
        outcome=worker.last_outcome,
        error_count=worker.error_count,
        last_error=worker.last_error[:ERROR_CHARACTERS],
        retry_at=worker.retry_at,
        stored_at=worker.stored_at,
        resumed_at=worker.resumed_at,
        failing_since=facts.failing_since.get(exchange.id),
        markets=markets,
        fresh=fresh,
        silent_since=facts.silent_since.get(exchange.id),
    )


def _off_because(worker: Worker, entry: BlacklistEntry | None) -> str:
    if not worker.exchange.blacklisted:
        return "disabled"
    if entry is None:
        return "blacklisted"
    reason = f": {entry.reason[:ERROR_CHARACTERS]}" if entry.reason else ""
    return f"blacklisted by {entry.listed_by}{reason}"


def _transport(worker: Worker, now: datetime) -> tuple[str, str]:
    """Returns what is really used, and why not the stream where there could be one."""
    used = transports.in_use(worker.exchange, now)
    is_short = _is_listened_to(worker) and used.word != Transport.STREAM
    return used.word, used.why[:ERROR_CHARACTERS] if is_short else ""


def _is_listened_to(worker: Worker) -> bool:
    exchange = worker.exchange
    return exchange.is_collected and exchange.transport != Transport.POLL and can_stream(exchange.id)


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
