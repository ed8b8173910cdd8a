"""The public's view of the collection: states in public words, uptime and incidents, read every few seconds.

It has no error texts, no addresses, nothing of keys.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple

from django.db import connection

from board import incidents, uptime
from board.incidents import PublicIncident
from board.uptime import Count
from collectors.rules import worker_status
from collectors.rules.snapshot import WorkerView
from collectors.status import workers as status
from exchanges.models import Exchange
from incidents import maintenance
from incidents.maintenance import PlannedTime
from lib import clock
from lib.published import SharedRendering

COPY_SECONDS = 3.0
MOST_NAMED = 5
SILENT_SHARE = 0.1  # of an exchange's markets: more is no longer usual quiet

OPERATIONAL, DEGRADED, DOWN, PAUSED = "operational", "degraded", "down", "paused"
ORDER = (DOWN, DEGRADED, OPERATIONAL, PAUSED)  # what concerns readers comes first

MARKET_COUNTS = """
SELECT m.exchange_id, count(*) FILTER (WHERE m.halted_at IS NULL AND p.gap_open AND p.received_at IS NOT NULL),
       count(*) FILTER (WHERE m.halted_at IS NULL AND p.frozen), count(m.halted_at)
FROM collectors_pipeline AS p JOIN exchanges_market AS m ON m.id = p.market_id AND m.is_collected
WHERE p.gap_open OR p.frozen OR m.halted_at IS NOT NULL GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class ExchangeState:
    """An exchange as the public sees it."""

    id: str
    name: str
    is_simulated: bool
    state: str
    words: str
    stored_at: datetime | None
    days: tuple[Count, ...]


@dataclass(frozen=True, slots=True)
class PublicReport:
    """All contents of the page, for one moment."""

    taken_at: datetime
    days: Sequence[date]
    exchanges: tuple[ExchangeState, ...]
    incidents: Sequence[PublicIncident]
    maintenance: Sequence[PlannedTime] = ()

    def find(self, exchange_id: str) -> ExchangeState | None:
        return next((each for each in self.exchanges if each.id == exchange_id), None)


class MarketCounts(NamedTuple):
    """The markets of an exchange that do not come, whose values stand still, and that it does not trade."""

    silent: int = 0
    frozen: int = 0
    halted: int = 0


def state_of(worker: WorkerView, *, interval_seconds: float, counts: MarketCounts, now: datetime) -> tuple[str, str]:
    """Returns the state in one word and in a few. `running` alone says nothing of the data."""
    if not worker.is_collected:
        return PAUSED, "Not collected at present"
    if worker.status == "error":
        return DOWN, "No current data"
    if worker.stored_at is None:
        return DEGRADED, "Starting: no data yet"
    if (now - worker.stored_at).total_seconds() > worker_status.silence_limit_seconds(interval_seconds):
        return DEGRADED, "Data is delayed"
    if worker.old:
        return DEGRADED, "Data is old: the exchange repeats what it said before"
    if counts.frozen > SILENT_SHARE * max(1, worker.symbols_tracked):
        return DEGRADED, "Data does not change: prices stand still"
    if worker.missing_markets or counts.silent > SILENT_SHARE * max(1, worker.symbols_tracked):
        return DEGRADED, "Part of the data is missing"
    if counts.halted and not worker.symbols_tracked:
        return DEGRADED, "Halted by the exchange"
    return (OPERATIONAL, "Operational") if worker.status == "running" else (DEGRADED, "Starting")


NOTHING_WRONG = MarketCounts()


def overall(exchanges: Sequence[ExchangeState]) -> tuple[str, str]:
    """Returns the verdict as a state and a sentence. What is paused on purpose does not count."""
    wanted = [each for each in exchanges if each.state != PAUSED]
    troubled = [each for each in wanted if each.state != OPERATIONAL]
    if not wanted:
        return PAUSED, "No exchange is collected at present."
    if not troubled:
        one = "The one exchange is" if len(wanted) == 1 else f"All {len(wanted)} exchanges are"
        return OPERATIONAL, f"{one} operational."
    state = DOWN if all(each.state == DOWN for each in wanted) else DEGRADED
    names = ", ".join(each.name for each in troubled[:MOST_NAMED]) + (" …" if len(troubled) > MOST_NAMED else "")
    have = "has" if len(troubled) == 1 else "have"
    return state, f"{len(troubled)} of {len(wanted)} exchanges {have} problems: {names}."


def read(now: datetime) -> PublicReport:
    """Reads the report: eight queries at first, then fewer, for all. Raises CollectorAbsent, DatabaseError."""
    workers = status.read(now).workers
    known = {each.id: each for each in Exchange.objects.known()}
    market_counts = _market_counts()
    counts = uptime.read(now)
    days = uptime.days_until(now.astimezone(UTC).date())
    exchanges = [
        _exchange(
            known[worker.exchange],
            worker,
            counts=market_counts.get(worker.exchange, NOTHING_WRONG),
            days=tuple(counts.get((worker.exchange, day), uptime.NOTHING) for day in days),
            now=now,
        )
        for worker in workers
        if worker.exchange in known
    ]
    exchanges.sort(key=lambda each: (ORDER.index(each.state), each.id))
    work = [each for each in maintenance.coming(now) if each.is_public]
    return PublicReport(now, days, tuple(exchanges), incidents.read(now), work)


def _exchange(
    exchange: Exchange, worker: WorkerView, *, counts: MarketCounts, days: tuple[Count, ...], now: datetime
) -> ExchangeState:
    state, words = state_of(worker, interval_seconds=exchange.poll_interval_seconds, counts=counts, now=now)
    name = unicodedata.normalize("NFKC", exchange.name or exchange.id)  # ccxt's "USDⓈ-M" is a box in many fonts
    return ExchangeState(exchange.id, name, exchange.is_simulated, state, words, worker.data_at, days)


def _market_counts() -> Mapping[str, MarketCounts]:
    with connection.cursor() as cursor:
        cursor.execute(MARKET_COUNTS)
        return {exchange: MarketCounts(*counts) for exchange, *counts in cursor.fetchall()}


# --- the copy that everybody gets ---------------------------------------------------------------------------------

COPY = SharedRendering(lambda: read(clock.now()), good_for_seconds=COPY_SECONDS)


def current() -> PublicReport:
    """Returns the report, at most COPY_SECONDS old; readers share a reading. Raises CollectorAbsent, DatabaseError."""
    return COPY.get()


def forget() -> None:
    """Makes the next reader get it anew."""
    COPY.forget()
    uptime.forget()
