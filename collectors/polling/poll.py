"""The write path: `collect_once` fetches one exchange's quotes, judges them, and stores them in one transaction."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from django.conf import settings

from collectors import lease, rate_limits
from collectors.gaps import parts
from collectors.lease import Permit, UnknownRows
from collectors.models import RunTransport
from collectors.polling import ages, halts, market_list, notices, store
from collectors.rate_limits import Priority
from collectors.rules import breaker, gap_causes, quote_checks, worker_status
from collectors.rules.breaker import BreakerPolicy, BreakerState, CycleResult
from collectors.rules.snapshot import WorkerFacts
from exchanges.models import Transport
from feeds import open_feed
from feeds.base import BadReply, Feed, FeedError, Listing, Poll, Superseded, Throttled, Unreachable
from feeds.request_gate import HeldBack
from feeds.streams import can_stream

log = structlog.get_logger(__name__)

SKIPPED = "skipped"
RETRY_PAUSE_SECONDS = 0.2
LEAST_RETRY_SECONDS = 1.0  # a retry with less time left would only fail again


def collect_once(exchange_id: str, *, now: datetime, correlation_id: str = "") -> str:
    """Collects one exchange once and returns the outcome's word.

    Harmless when run twice at a time or twice in a slot: without the lease nobody is called. Never raises for what
    an exchange does; an error of ours is recorded as `failed` and raised.
    """
    elapsed = partial(_moment_after, now, time.monotonic())  # before the lease: taking it may have to wait
    permit = lease.take(exchange_id, lease_seconds=settings.POLL_DEADLINE_SECONDS)
    if permit is None:
        return SKIPPED
    if _is_for_streams_only(permit):
        lease.release(permit)
        return SKIPPED
    try:
        collected = _fetch_and_judge(permit, now=now)
    except FeedError as error:
        return record_failure(permit, error, started_at=now, finished_at=elapsed(), correlation_id=correlation_id)
    except Exception as error:
        ours = FeedError(f"{type(error).__name__}: {error}")
        record_failure(permit, ours, started_at=now, finished_at=elapsed(), correlation_id=correlation_id)
        raise
    return _finish_stored(permit, collected, started_at=now, finished_at=elapsed(), correlation_id=correlation_id)


def _is_for_streams_only(permit: Permit) -> bool:
    """Says whether only a stream may collect: not before the first market list, nor where an exchange cannot stream."""
    exchange = permit.exchange
    wanted = exchange.transport == Transport.STREAM and permit.markets_loaded_at is not None
    return wanted and can_stream(exchange.id)


class ExchangeBusy(Exception):
    """The exchange may not be called now: stopped, told to wait, or another run is calling it."""


def refresh_markets(exchange_id: str, *, now: datetime) -> str:
    """Reloads one exchange's market list and returns the outcome's word."""
    try:
        load_markets(
            exchange_id,
            now=now,
            patience_seconds=settings.POLL_DEADLINE_SECONDS,
            deadline_seconds=settings.MARKETS_DEADLINE_SECONDS,
        )
    except ExchangeBusy:
        return SKIPPED
    except FeedError as error:
        log.warning("markets_not_refreshed", exchange=exchange_id, outcome=error.kind, error=str(error))
        return error.kind
    return "stored"


def load_markets(
    exchange_id: str,
    *,
    now: datetime,
    patience_seconds: float,
    deadline_seconds: float,
    accepts_short: bool = False,
) -> None:
    """Reloads one exchange's market list under the same lease as polls, so that the two never call at once.

    `deadline_seconds` are for all of it; `patience_seconds` of them wait for a running poll. Raises ExchangeBusy when
    the lease is not to be had in time, FeedError for what the exchange does.
    """
    give_up_at = time.monotonic() + deadline_seconds
    permit = lease.wait_for(exchange_id, patience_seconds=patience_seconds, lease_seconds=deadline_seconds)
    if permit is None:
        raise ExchangeBusy(f"{exchange_id} may not be called now")
    try:
        seconds = give_up_at - time.monotonic()
        reload_markets(permit, now=now, deadline_seconds=seconds, accepts_short=accepts_short)
    finally:
        lease.release(permit)


def reload_markets(
    permit: Permit, *, now: datetime, deadline_seconds: float | None = None, accepts_short: bool = False
) -> int:
    """Reloads the market list for a caller that has the lease already; returns the new version of the list."""
    return _load_markets(
        permit,
        _feed(permit),
        now=now,
        deadline_seconds=deadline_seconds,
        priority=Priority.CHECK,
        accepts_short=accepts_short,
    )


def policy() -> BreakerPolicy:
    return BreakerPolicy(
        failures_until_open=settings.BREAKER_FAILURES,
        pause_max_seconds=settings.BREAKER_PAUSE_MAX_SECONDS,
        throttle_pause_seconds=breaker.THROTTLE_PAUSE_SECONDS,
        denied_pause_seconds=breaker.DENIED_PAUSE_SECONDS,
    )


@dataclass(frozen=True, slots=True)
class Collected:
    """One poll's answer as it will be stored. `usual_version` is that of the market list of which so many rows are
    usual; None where they are fewer than usual, or were read by another list."""

    poll: Poll
    verdict: quote_checks.JudgedQuotes
    usual_version: int | None
    notice: str
    unknown: UnknownRows
    pipelines: Mapping[str, int]
    traded_again: Sequence[int] = ()  # markets that the list calls halted


def _fetch_and_judge(permit: Permit, *, now: datetime) -> Collected:
    version = _markets_version(permit, _feed(permit), now=now)
    feed = _feed(permit)  # by the list that may just have been loaded
    is_in_hand = feed.recall_markets()
    known = market_list.markets_of(permit.exchange.id, version, feed.identities())
    symbols = halts.wanted(known, in_bulk=feed.capabilities.has.get("fetchTickers", True))
    fetch = partial(feed.fetch_quotes, symbols, may_call=_gate(permit, feed, Priority.LIVE))
    poll = _with_one_retry(lambda seconds: fetch(deadline_seconds=seconds), settings.POLL_DEADLINE_SECONDS)
    known = market_list.markets_of(permit.exchange.id, version, poll.identities)  # of the list that it was read by
    pipelines = known.collected
    judged = quote_checks.judge(poll.quotes, pipelines, are_chances=poll.prices_are_chances)
    verdict = replace(judged, rejected=judged.rejected + poll.rejected)
    _check_any(permit, verdict, poll)
    usual = permit.usual_count if is_in_hand and version == permit.markets_version else 0
    is_short = len(verdict.accepted) < usual * settings.MIN_SHARE_OF_USUAL_ROWS
    notice = notices.of_poll(poll, verdict, usual_count=usual if is_short else None)
    unknown = market_list.unknown_rows(permit, poll.unknown_count, version, now=now)
    back = [*halts.traded_again(permit.exchange.id, verdict.accepted), *halts.awake(permit.exchange.id, known, poll)]
    return Collected(poll, verdict, version if is_in_hand and not is_short else None, notice, unknown, pipelines, back)


def _feed(permit: Permit) -> Feed:
    return open_feed(permit.exchange.feed_spec(), market_cache=market_list.ValkeyMarketCache())


def _gate(permit: Permit, feed: Feed, priority: Priority) -> rate_limits.RequestGate:
    return rate_limits.open_gate(permit.exchange, feed.capabilities, priority=priority, generation=permit.generation)


def _markets_version(permit: Permit, feed: Feed, *, now: datetime) -> int:
    """Returns the version of the list to poll by. The hourly task reloads it; a poll does so only at the very start,
    when that task has long not come, when the list to go by is in no cache, or when it is doubtful: it was refused, or
    answers have rows of markets that it lacks. Then an old list will do where no new one is to be had: prices come from
    elsewhere."""
    if permit.markets_loaded_at is None:
        return _load_in_poll(permit, feed, now=now, seconds=settings.MARKETS_DEADLINE_SECONDS)
    is_old = now - permit.markets_loaded_at > timedelta(seconds=2 * market_list.REFRESH_SECONDS)
    is_doubtful = permit.refused_count > 0 or permit.unknown.seen > permit.unknown.accepted
    is_due = not feed.recall_markets() or is_old or is_doubtful
    if not is_due or not market_list.may_try_again(permit.exchange.id):
        return permit.markets_version
    try:
        return _load_in_poll(permit, feed, now=now, seconds=settings.POLL_DEADLINE_SECONDS)
    except (Throttled, Superseded):
        raise
    except FeedError as error:
        log.warning("markets_not_refreshed", exchange=permit.exchange.id, outcome=error.kind, error=str(error))
        return permit.markets_version


def _load_in_poll(permit: Permit, feed: Feed, *, now: datetime, seconds: float) -> int:
    lease.extend(permit, lease_seconds=seconds + settings.POLL_DEADLINE_SECONDS)
    return _load_markets(permit, feed, now=now, priority=Priority.LIVE, deadline_seconds=seconds)


def _load_markets(
    permit: Permit,
    feed: Feed,
    *,
    now: datetime,
    priority: Priority,
    deadline_seconds: float | None = None,
    accepts_short: bool = False,
) -> int:
    """Loads a list, which is judged and registered before this process or any other goes by it."""
    version = permit.markets_version

    def accept(listings: Sequence[Listing], digest: str) -> None:
        nonlocal version
        version = market_list.register(
            permit, listings, feed.capabilities, digest=digest, now=now, accepts_short=accepts_short
        )

    may_call = _gate(permit, feed, priority)
    deadline_seconds = deadline_seconds or settings.MARKETS_DEADLINE_SECONDS
    feed.load_markets(deadline_seconds=deadline_seconds, may_call=may_call, accept=accept)
    return version


def _with_one_retry(fetch: Callable[[float], Poll], deadline_seconds: float) -> Poll:
    """Fetches, with one more try, after jitter, where the exchange was out of reach, named no time to wait for, and
    time is left."""
    give_up_at = time.monotonic() + deadline_seconds
    try:
        return fetch(deadline_seconds)
    except Unreachable as error:
        if error.retry_after_seconds is not None:
            raise
        pause = RETRY_PAUSE_SECONDS * (1 + random.random())
        left = give_up_at - time.monotonic() - pause
        if left < LEAST_RETRY_SECONDS:
            raise
        time.sleep(pause)
        return fetch(left)


def _check_any(permit: Permit, verdict: quote_checks.JudgedQuotes, poll: Poll) -> None:
    """Refuses an answer without one sound row; those of a short answer are stored, and the others are silent."""
    if not verdict.accepted:
        raise BadReply(
            f"{permit.exchange.id} answered {poll.answered_count} rows, none fit to store; treated as a bad reply",
            excerpt=str([rejected._asdict() for rejected in verdict.rejected[:3]]),
        )


def _finish_stored(
    permit: Permit, collected: Collected, *, started_at: datetime, finished_at: datetime, correlation_id: str
) -> str:
    verdict = collected.verdict
    newest = max(row.quote.received_at for row in verdict.accepted)
    finished_at = max(
        finished_at, datetime.fromtimestamp(newest, UTC)
    )  # a run ends after its rows, whatever clocks say
    cycle = store.Cycle(
        started_at=started_at,
        finished_at=finished_at,
        outcome="stored",
        error_count=0,
        strikes=0,
        retry_at=None,
        status="running",
        accepted=verdict.accepted,
        rejected=verdict.rejected,
        rows_answered=collected.poll.answered_count,
        rows_repaired=len(verdict.repaired),
        excerpt=collected.notice,
        usual_version=collected.usual_version,
        answers=ages.after_poll(permit.exchange.id, permit.answers, collected.poll, verdict.accepted),
        unknown=collected.unknown,
        cause=gap_causes.cause_of(permit.last_outcome),
        correlation_id=correlation_id,
    )
    if store.finish(permit, cycle) is None:
        return _superseded(permit)
    if collected.traded_again:
        market_list.note_traded(permit.exchange.id, collected.traded_again, now=finished_at)
    if collected.poll.missing or permit.lacks_parts:
        parts.note(
            permit.exchange.id, permit.generation, collected.poll.missing, collected.pipelines,
            started_at=started_at, seen_at=finished_at,
        )  # fmt: skip
    if verdict.rejected:
        log.warning(
            "quotes_quarantined", exchange=permit.exchange.id, count=len(verdict.rejected), first=verdict.rejected[0]
        )
    return "stored"


def record_failure(
    permit: Permit,
    error: FeedError,
    *,
    started_at: datetime,
    finished_at: datetime,
    correlation_id: str = "",
    transport: str = RunTransport.POLL,
) -> str:
    """Writes down a run that brought no data, and gives the lease back; returns the outcome's word."""
    if error.kind == "superseded":
        return _superseded(permit)
    health = _health_after(permit, error, finished_at)
    cycle = store.Cycle(
        started_at=started_at,
        finished_at=finished_at,
        outcome=error.kind,
        error_count=health.error_count,
        strikes=health.strikes,
        retry_at=health.retry_at,
        status=_status_after(permit, error, health, finished_at),
        http_status=error.status,
        error=str(error),
        excerpt=error.excerpt,
        correlation_id=correlation_id,
        transport=transport,
    )
    if store.finish(permit, cycle) is None:
        return _superseded(permit)
    log.warning(
        "cycle_failed", exchange=permit.exchange.id, outcome=error.kind, error=str(error), retry_at=health.retry_at
    )
    return error.kind


def _superseded(permit: Permit) -> str:
    """Releases the lease of a run that an operator's verb has overtaken, which leaves no other trace."""
    lease.release(permit)
    log.info("cycle_superseded", exchange=permit.exchange.id, generation=permit.generation)
    return "superseded"


def _health_after(permit: Permit, error: FeedError, now: datetime) -> BreakerState:
    told = error.pause_seconds if isinstance(error, HeldBack) else error.retry_after_seconds
    is_banned = isinstance(error, Throttled) and error.banned
    return breaker.after(
        permit.health,
        CycleResult(error.kind, told, is_banned),
        now,
        interval_seconds=permit.exchange.poll_interval_seconds,
        policy=policy(),
        jitter=random.random(),
    )


def _status_after(permit: Permit, error: FeedError, health: BreakerState, now: datetime) -> str:
    facts = WorkerFacts(
        exchange=permit.exchange.id,
        is_collected=True,
        interval_seconds=permit.exchange.poll_interval_seconds,
        error_count=health.error_count,
        is_paused=error.kind in breaker.CERTAIN_AT_ONCE,
        resumed_at=permit.resumed_at,
        heartbeat_at=now,
        stored_at=None,
        symbols_tracked=0,
        last_error=str(error),
    )
    return worker_status.worker_status(facts, now)[0]


def _moment_after(now: datetime, started: float) -> datetime:
    """Returns `now` plus what a monotonic clock says has passed: if the wall clock jumps, no duration is negative."""
    return now + timedelta(seconds=time.monotonic() - started)
