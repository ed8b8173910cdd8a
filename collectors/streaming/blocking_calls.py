"""Asks the database and REST for the stream process: plain functions, run in threads."""

from __future__ import annotations

import math
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog
from django.conf import settings
from django.db import connection, transaction

from collectors import lease, rate_limits
from collectors.lease import Permit
from collectors.models import Pipeline, RunTransport, Stream, Switch, Worker
from collectors.polling import ages, halts, market_list, notices, store
from collectors.polling import poll as ingest
from collectors.rules import gap_causes, quote_checks
from collectors.rules.breaker import BreakerState
from collectors.streaming.ownership import StreamTarget
from exchanges.models import Exchange, Transport
from feeds import open_feed
from feeds.base import FeedError, Identities, Poll, Quote, RejectedRow, Unreachable
from feeds.deadlines import digest_of
from feeds.streams import identities_in, market_cache_key
from lib import clock

log = structlog.get_logger(__name__)

MOST_REJECTED = 100
RUN_SECONDS = 5.0  # one run for all batches of this time: a run for each would be a row a second and exchange
NOTE_VOLUMES = """
UPDATE collectors_pipeline AS p SET quote_volume = coalesce(told.quote_volume, p.quote_volume),
       base_volume = coalesce(told.base_volume, p.base_volume)
FROM unnest(%s::int[], %s::float8[], %s::float8[]) AS told (pipeline_id, quote_volume, base_volume)
WHERE p.market_id = told.pipeline_id
"""


@dataclass(frozen=True, slots=True)
class Markets:
    """The collected markets of one version, and the venue's list as its feed packed it (None: known already).

    `digest` is the list's, `identities` are those of its markets, and `pipelines` have its symbols. A version of 0 is
    no worker's: it stands for one whose list could not be had yet.
    """

    version: int
    pipelines: Mapping[str, int]
    packed: bytes | None
    digest: str = ""
    halted: frozenset[int] = frozenset()
    identities: Identities = field(default_factory=dict)

    @property
    def pushed(self) -> Sequence[str]:
        """Returns what is subscribed to; halted markets are left to comparison polls."""
        return halts.symbols_to_push(self.pipelines, self.halted)


class Written(NamedTuple):
    """The permit for the next batch, the rows stored, and whether somebody waits for the lease."""

    permit: Permit
    stored: int
    is_asked_for: bool


class TransportChange(NamedTuple):
    """A transport change: from when on a stream delivers, or no longer does, and why."""

    is_delivering: bool
    reason: str
    happened_at: datetime


@dataclass(slots=True)
class Batch:
    """The tickers that came since the last run was written down, counted."""

    started_at: datetime
    correlation_id: str = ""  # of the connection that brings it
    rows_stored: int = 0
    overtaken: int = 0  # tickers that a newer one of the same market replaced before they were stored
    rejected: list[RejectedRow] = field(default_factory=list)
    repaired: int = 0
    last_repaired: tuple[RejectedRow, ...] = ()

    @property
    def why_not(self) -> str:
        """Says what is wrong with the newest that was not stored, as an addition to a sentence."""
        return f": {self.rejected[-1].reason}" if self.rejected else ""

    @property
    def notice(self) -> str:
        """Says what the run has to say beside its rows."""
        overtaken = f"{self.overtaken} tickers were overtaken by newer ones" if self.overtaken else ""
        repaired = notices.of_repaired(self.last_repaired) if self.last_repaired else ""
        return "; ".join(filter(None, [overtaken, repaired]))


def load_markets(wish: StreamTarget) -> Markets:
    """Loads the markets from the cache that polls share; downloads them, as a poll would, when it has no list."""
    version, digest = _newest_list(wish)
    packed = _cached(wish, digest)
    if packed is None:
        version = _download(wish.exchange_id)
        _, digest = _newest_list(wish)
        packed = _cached(wish, digest)
    return _markets(wish.exchange_id, version, packed, "" if packed is None else digest)


def _markets(exchange_id: str, version: int, packed: bytes | None, digest: str) -> Markets:
    identities = identities_in(exchange_id, packed) if packed is not None else {}
    return _named(exchange_id, version, Markets(version, {}, packed, digest, identities=identities))


def _named(exchange_id: str, version: int, held: Markets) -> Markets:
    """Returns the markets as they are now, by the symbols of the list that is held."""
    known = market_list.markets_of(exchange_id, version, held.identities)
    return replace(held, version=version, pipelines=known.collected, halted=known.halted)


def _newest_list(wish: StreamTarget) -> tuple[int, str]:
    """Returns version and digest of the list as they are now: a target may be a second old."""
    stands = Worker.objects.values_list("markets_version", "exchange__markets_digest")
    version, digest = stands.get(pk=wish.exchange_id)
    return version, digest


def _cached(wish: StreamTarget, digest: str) -> bytes | None:
    packed = market_list.ValkeyMarketCache().load(market_cache_key(wish.spec))
    return packed if packed is not None and digest_of(packed) == digest else None


def _download(exchange_id: str) -> int:
    permit = lease.wait_for(
        exchange_id, patience_seconds=settings.POLL_DEADLINE_SECONDS, lease_seconds=settings.MARKETS_DEADLINE_SECONDS
    )
    if permit is None:
        raise Unreachable("the market list is not known, and polls leave no room to ask for it")
    try:
        return ingest.reload_markets(permit, now=clock.now())
    finally:
        lease.release(permit)


def known_markets(wish: StreamTarget, held: Markets) -> Markets:
    """Loads the markets without asking the exchange; the `held` list stays until the new one is in the cache."""
    version, digest = _newest_list(wish)
    if digest == held.digest and held.packed is not None:
        return _named(wish.exchange_id, version, held)
    packed = _cached(wish, digest)
    if packed is None:
        return replace(_named(wish.exchange_id, version, held), version=0)
    return _markets(wish.exchange_id, version, packed, digest)


def take(exchange_id: str) -> Permit | None:
    """Takes the right to store, once the poll under way has ended; None while it has not."""
    return lease.take(exchange_id, lease_seconds=settings.STREAM_LEASE_SECONDS, repeat=True, despite_pause=True)


def write(permit: Permit, quotes: Sequence[Quote], pipelines: Mapping[str, int], batch: Batch) -> Written | None:
    """Stores what is fit for it and keeps the lease; None when the exchange is no longer ours."""
    now = clock.now()
    verdict = quote_checks.judge(quotes, pipelines)
    batch.rejected.extend(verdict.rejected[: MOST_REJECTED - len(batch.rejected)])
    batch.repaired += len(verdict.repaired)
    batch.last_repaired = verdict.repaired or batch.last_repaired
    batch.rows_stored += len(verdict.accepted)
    is_asked_for = lease.is_asked_for(permit.exchange.id)
    if not verdict.accepted:
        lease.extend(permit, lease_seconds=settings.STREAM_LEASE_SECONDS)
        return Written(permit, 0, is_asked_for)
    is_due = (now - batch.started_at).total_seconds() >= RUN_SECONDS
    writes_run = is_due or is_asked_for  # what others do under the lease is in no run's time but theirs
    answers = ages.after_batch(permit.exchange.id, permit.answers, verdict.accepted)
    retry_at = permit.health.retry_at if permit.health.retry_at and permit.health.retry_at > now else None
    cycle = store.Cycle(
        started_at=batch.started_at if writes_run else now,
        finished_at=now,
        outcome="stored",
        error_count=0,
        strikes=0,
        retry_at=retry_at,  # it was said to polls, and a stream makes no request
        status="running",
        accepted=verdict.accepted,
        rejected=batch.rejected if writes_run else (),
        rows_answered=batch.rows_stored + len(batch.rejected),
        rows_repaired=batch.repaired if writes_run else 0,
        excerpt=batch.notice if writes_run else "",
        cause=gap_causes.cause_of(permit.last_outcome),
        answers=answers,
        keep_seconds=settings.STREAM_LEASE_SECONDS,
        records_run=writes_run,
        stored_before=batch.rows_stored - len(verdict.accepted),
        correlation_id=batch.correlation_id,
        transport=RunTransport.STREAM,
    )
    back = halts.traded_again(permit.exchange.id, verdict.accepted)
    stored = store.finish(permit, cycle)
    if stored is None:
        return None
    if back:
        market_list.note_traded(permit.exchange.id, back, now=now)
    if writes_run:
        batch.started_at, batch.rows_stored, batch.overtaken, batch.rejected = now, 0, 0, []
        batch.repaired, batch.last_repaired = 0, ()
    health = BreakerState(0, 0, retry_at)
    permit = replace(permit, health=health, last_outcome="stored", answers=answers)
    return Written(permit, stored, is_asked_for)


def open_dial_gate(wish: StreamTarget) -> rate_limits.RequestGate:
    """Returns the gate that each handshake asks before it leaves."""
    exchange = Exchange.objects.get(pk=wish.exchange_id)
    return rate_limits.open_dial_gate(exchange, open_feed(wish.spec).capabilities, generation=wish.generation)


def compare(
    wish: StreamTarget,
    symbols: Collection[str],
    generation: int,
    unmeasured: Mapping[str, int],
    identities: Identities,
) -> Poll:
    """Makes a comparison poll beside the stream, under the stream's lease, and returns its rows of the markets that
    have the same symbol in the stream's list. Keeps the volumes it tells of `unmeasured` pipelines, of which the stream
    tells none. Raises FeedError."""
    feed = open_feed(wish.spec, market_cache=market_list.ValkeyMarketCache())
    exchange = Exchange.objects.get(pk=wish.exchange_id)
    may_call = rate_limits.open_gate(
        exchange, feed.capabilities, priority=rate_limits.Priority.SHADOW, generation=generation
    )
    poll = feed.fetch_quotes(symbols, deadline_seconds=settings.POLL_DEADLINE_SECONDS, may_call=may_call)
    poll = of_same_markets(poll, identities)
    volumes = {
        unmeasured[quote.symbol]: (_believed(quote.quote_volume), _believed(quote.base_volume))
        for quote in poll.quotes
        if quote.symbol in unmeasured
    }
    if any(told != (None, None) for told in volumes.values()):
        _note_volumes(wish.exchange_id, generation, volumes)
    return poll


def of_same_markets(poll: Poll, identities: Identities) -> Poll:
    """Returns the poll without the rows whose symbols are other markets' in the list of these identities."""
    if not identities or poll.identities == identities:
        return poll
    mine = {symbol for symbol, each in poll.identities.items() if identities.get(symbol) == each}
    return replace(poll, quotes=tuple(quote for quote in poll.quotes if quote.symbol in mine))


def _believed(volume: float | None) -> float | None:
    return volume if volume is not None and 0 <= volume < math.inf else None


def _note_volumes(exchange_id: str, generation: int, volumes: Mapping[int, tuple[float | None, float | None]]) -> None:
    """Stores volumes by pipeline. Locks the worker's row first, as every run does: pipelines' rows have no order."""
    with transaction.atomic():
        worker = Worker.objects.select_for_update(no_key=True).filter(pk=exchange_id, generation=generation)
        if worker.first() is not None:
            with connection.cursor() as cursor:
                of_quote, of_base = zip(*volumes.values(), strict=True)
                cursor.execute(NOTE_VOLUMES, [list(volumes), list(of_quote), list(of_base)])


def newest(pipelines: Mapping[str, int], since: datetime) -> list[Quote]:
    """Returns the quotes that polls have stored since then."""
    symbols = {pipeline_id: symbol for symbol, pipeline_id in pipelines.items()}
    found = Pipeline.objects.filter(pk__in=symbols, received_at__gt=since).only("market_id", "last", "received_at")
    nothing = (None,) * 6
    return [
        Quote(symbols[row.market_id], row.last, *nothing, None, row.received_at.timestamp())
        for row in found
        if row.received_at is not None
    ]


def poll(wish: StreamTarget) -> str:
    """Makes one ordinary poll, as Celery's would be; skips it when that came within an interval, so that both together
    ask no oftener than one."""
    now = clock.now()
    lately = now - timedelta(seconds=wish.interval_seconds)
    if Worker.objects.filter(pk=wish.exchange_id, cycle_started_at__gt=lately).exists():
        return ingest.SKIPPED
    correlation_id = new_correlation_id()
    with structlog.contextvars.bound_contextvars(correlation_id=correlation_id):
        return ingest.collect_once(wish.exchange_id, now=now, correlation_id=correlation_id)


def new_correlation_id() -> str:
    """Returns a new id that joins the runs of one connection, or of one poll, with its lines in the log."""
    return uuid.uuid4().hex


def end(permit: Permit, error: FeedError, silent_since: datetime, correlation_id: str) -> None:
    """Gives the right to store back, and writes down since when nothing was stored."""
    ingest.record_failure(
        permit,
        error,
        started_at=silent_since,
        finished_at=clock.now(),
        correlation_id=correlation_id,
        transport=RunTransport.STREAM,
    )


def note_failure(exchange_id: str, error: FeedError, correlation_id: str) -> None:
    """Notes, for an exchange that may only be listened to, that it still cannot be."""
    permit = take(exchange_id)
    if permit is not None:
        end(permit, error, clock.now(), correlation_id)


def explain(exchange_id: str, holder: str, reason: str) -> None:
    """Writes a reason on the stream's row, unless another process listens now."""
    held = Stream.objects.filter(exchange_id=exchange_id, holder=holder, held_until__isnull=False)
    held.exclude(reason=reason).update(reason=reason)


def switch(wish: StreamTarget, holder: str, turn: TransportChange) -> None:
    """Writes the timeline's next row, unless another process listens now, which writes its own."""
    fallback = Transport.POLL if wish.transport == Transport.AUTO else "none"
    to_transport = Transport.STREAM if turn.is_delivering else fallback
    held = Stream.objects.filter(exchange_id=wish.exchange_id, holder=holder, held_until__isnull=False)
    with transaction.atomic():
        if held.update(is_delivering=turn.is_delivering, since=turn.happened_at, reason=turn.reason):
            Switch.objects.create(
                exchange_id=wish.exchange_id,
                happened_at=turn.happened_at,
                to_transport=to_transport,
                reason=turn.reason,
            )
    log.info("transport_switched", exchange=wish.exchange_id, to=str(to_transport), reason=turn.reason)
