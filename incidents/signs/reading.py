"""Reads the signs of one moment: what the board shows and what incidents are found from, so that they never disagree.

Ten queries whatever there is, what a changed market list costs once, and one more where polls go without a part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection

from collectors.gaps import parts
from collectors.history import names
from collectors.history.names import NameIndex
from collectors.models import TO_FILL_SQL, PartOutage, Worker
from collectors.polling import transports
from collectors.polling.transports import InUse
from collectors.rules import worker_status
from collectors.rules.gap_causes import HALTED, LABELS, NEVER_CAME, UNCOUNTED
from collectors.status import ages
from collectors.status import workers as status
from collectors.status.dialects.pipelines import DEGRADED_FROM_SECONDS
from exchanges.models import BlacklistEntry, Market, Transport
from feeds.streams import can_stream
from incidents import beats
from incidents.rules import conditions
from incidents.rules.conditions import Condition, PartSigns, Signs
from incidents.rules.verdict import Alarm
from incidents.signs import activity, health, telling
from incidents.signs.activity import LastHour
from incidents.signs.health import Seen, SystemHealth
from lib import int4
from lib.clock import FUTURE_SECONDS
from web.redaction import hide_login

ERROR_CHARACTERS = 300
LISTED_NEVER_CAME = "listed and never came"

# Fresh is what the pipelines API calls healthy, or has come within two of its own intervals where it is slower. Numbers
# come packed, see `lib.int4`. What an exchange lists and never quotes is not missed.
FRESH = f"""
SELECT string_agg(int4send(market_id), ''::bytea) FILTER (
           WHERE NOT frozen
             AND received_at > %(now)s - greatest({DEGRADED_FROM_SECONDS}, 2 * expected_seconds) * interval '1 second'
             AND received_at <= %(now)s + interval '{FUTURE_SECONDS} seconds'),
       string_agg(int4send(market_id), ''::bytea) FILTER (WHERE received_at IS NULL),
       string_agg(int4send(market_id), ''::bytea) FILTER (WHERE frozen)
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
class SourceReading:
    """One exchange: its worker's row, the rules' view of it, its condition, and how its quotes come."""

    worker: Worker
    signs: Signs
    condition: Condition
    in_use: InUse

    @property
    def is_listened_to(self) -> bool:
        """Says whether a stream is wanted, and can be had."""
        return is_listened_to(self.worker)

    @property
    def address(self) -> str:
        """Returns the outgoing address: exchanges that fail together behind one have a common cause."""
        exchange = self.worker.exchange
        if exchange.is_simulated:
            return "sandbox"
        return hide_login(exchange.proxy) if exchange.proxy else str(settings.OUTGOING_ADDRESS)


@dataclass(frozen=True, slots=True)
class AllSigns:
    """All signs at `taken_at`."""

    taken_at: datetime
    sources: tuple[SourceReading, ...]
    known: NameIndex
    fresh: frozenset[int]
    markets: Mapping[str, frozenset[int]]
    last_hour: LastHour
    gaps: Sequence[GapGroup]  # those that count
    notes: Mapping[str, tuple[str, ...]]  # by exchange: what does not come, and nobody misses
    seen: Seen
    health: SystemHealth
    alarms: Sequence[Alarm]
    absence: str

    @property
    def conditions(self) -> list[Condition]:
        return [source.condition for source in self.sources]

    def open_gaps(self) -> dict[str, int]:
        """Returns how many gaps of each exchange last."""
        counts: dict[str, int] = {}
        for row in self.gaps:
            counts[row.exchange] = counts.get(row.exchange, 0) + row.lasting
        return counts


def read(now: datetime) -> AllSigns:
    """Reads all signs. Raises DatabaseError, InterfaceError."""
    workers = _workers()
    known, last_hour = names.current(), activity.read(now)
    standing, gaps = _apart(_gaps(now))
    halted = _halted()
    fresh, never, frozen = _fresh(now)
    fresh -= ages.by_market(ages.of(workers)).keys()
    markets = _markets_by_exchange(known)
    silent_since = {row.exchange: row.lasting_since for row in reversed(gaps) if row.lasting_since}
    unmissed = never.union(*halted.values())
    missing_parts = _missing_parts(workers)
    facts = _Facts(now, fresh, unmissed, markets, _failing_since(), silent_since, _entries(), missing_parts, frozen)
    sources = tuple(_source(worker, facts) for worker in workers)
    seen, round_trip_ms = health.ask_processes()
    proof = health.assess(
        last_hour,
        seen,
        round_trip_ms,
        exchanges=sum(worker.exchange.is_collected for worker in workers),
        streamed=sum(map(is_listened_to, workers)),
        now=now,
    )
    return AllSigns(
        taken_at=now,
        sources=sources,
        known=known,
        fresh=fresh,
        markets=markets,
        last_hour=last_hour,
        gaps=gaps,
        notes=_notes(standing, halted),
        seen=seen,
        health=proof,
        alarms=[*health.alarms(proof, seen, now), *telling.alarms(now), *beats.alarms(now)],
        absence=_absence(),
    )


def is_listened_to(worker: Worker) -> bool:
    exchange = worker.exchange
    return exchange.is_collected and exchange.transport != Transport.POLL and can_stream(exchange.id)


def _absence() -> str:
    return "" if settings.COLLECTION_ENABLED else "collection is switched off (COLLECTION_ENABLED)"


# --- facts ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Facts:
    now: datetime
    fresh: frozenset[int]
    unmissed: frozenset[int]  # nobody misses what never came, or is halted
    markets: Mapping[str, frozenset[int]]
    failing_since: Mapping[str, datetime]
    silent_since: Mapping[str, datetime]
    entries: Mapping[str, BlacklistEntry]
    missing_parts: Mapping[str, tuple[PartSigns, ...]]
    frozen: frozenset[int]


def _workers() -> Sequence[Worker]:
    known = Worker.objects.filter(exchange__removed_at__isnull=True)
    return list(known.select_related("exchange", "exchange__stream").order_by("exchange_id"))


def _fresh(now: datetime) -> tuple[frozenset[int], frozenset[int], frozenset[int]]:
    """Returns the markets whose newest row is fresh, those that never had one, and those whose values stand still."""
    with connection.cursor() as cursor:
        cursor.execute(FRESH, {"now": now})
        fresh, never, frozen = cursor.fetchone()
    return frozenset(int4.unpack(fresh)), frozenset(int4.unpack(never)), frozenset(int4.unpack(frozen))


def _failing_since() -> dict[str, datetime]:
    with connection.cursor() as cursor:
        cursor.execute(FAILING_SINCE)
        return dict(cursor.fetchall())


def _entries() -> dict[str, BlacklistEntry]:
    return {entry.exchange_id: entry for entry in BlacklistEntry.objects.running()}


def _missing_parts(workers: Sequence[Worker]) -> dict[str, tuple[PartSigns, ...]]:
    """Returns what polls go without, by exchange; costs nothing while they go without nothing."""
    concerned = [each.pk for each in workers if each.missing_markets or each.left_out_markets]
    found = parts.running(concerned) if concerned else {}
    return {exchange: tuple(_part_signs(row) for row in rows if not row.is_in_turn) for exchange, rows in found.items()}


def _part_signs(row: PartOutage) -> PartSigns:
    reason = row.reason[:ERROR_CHARACTERS]
    return PartSigns(row.part, row.outcome, reason, len(row.pipelines), row.started_at, row.is_left_out)


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


def _apart(gaps: Sequence[GapGroup]) -> tuple[list[GapGroup], list[GapGroup]]:
    """Returns the gaps that count for nothing, and the others."""
    standing = [row for row in gaps if row.cause in UNCOUNTED]
    return standing, [row for row in gaps if row.cause not in UNCOUNTED]


def _halted() -> dict[str, frozenset[int]]:
    """Returns the halted markets by exchange."""
    found: dict[str, list[int]] = {}
    halted = Market.objects.collected().filter(halted_at__isnull=False, exchange__removed_at__isnull=True)
    for exchange, market in halted.values_list("exchange_id", "id"):
        found.setdefault(exchange, []).append(market)
    return {exchange: frozenset(markets) for exchange, markets in found.items()}


def _notes(standing: Sequence[GapGroup], halted: Mapping[str, frozenset[int]]) -> dict[str, tuple[str, ...]]:
    never_came = {row.exchange: row.lasting for row in standing if row.cause == NEVER_CAME and row.lasting}
    found: dict[str, tuple[str, ...]] = {}
    for exchange in sorted(never_came.keys() | halted.keys()):
        counts = (LISTED_NEVER_CAME, never_came.get(exchange, 0)), (LABELS[HALTED], len(halted.get(exchange, ())))
        found[exchange] = tuple(f"{words}: {_markets_in_words(count)}" for words, count in counts if count)
    return found


def _markets_in_words(count: int) -> str:
    return f"{count} market{'' if count == 1 else 's'}"


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


# --- one exchange -----------------------------------------------------------------------------------------------


def _source(worker: Worker, facts: _Facts) -> SourceReading:
    exchange = worker.exchange
    markets = facts.markets.get(exchange.id, frozenset()) - facts.unmissed
    signs = _signs(worker, facts, markets)
    return SourceReading(worker, signs, conditions.condition(signs, facts.now), transports.in_use(exchange, facts.now))


def _signs(worker: Worker, facts: _Facts, markets: frozenset[int]) -> Signs:
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
        markets=len(markets),
        fresh=len(markets & facts.fresh),
        frozen=len(markets & facts.frozen),
        old_because="; ".join(f"{answer.kind}: {answer.reason}" for answer in view.old)[:ERROR_CHARACTERS],
        old_since=min((answer.since for answer in view.old), default=None),
        silent_since=facts.silent_since.get(exchange.id),
        missing_parts=facts.missing_parts.get(exchange.id, ()),
    )


def _off_because(worker: Worker, entry: BlacklistEntry | None) -> str:
    if not worker.exchange.blacklisted:
        return "disabled"
    if entry is None:
        return "blacklisted"
    reason = f": {entry.reason[:ERROR_CHARACTERS]}" if entry.reason else ""
    return f"blacklisted by {entry.listed_by}{reason}"
