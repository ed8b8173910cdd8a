"""Fills gaps with what the exchange really returns: closed minute candles, or trades where no minute fits.

Live polling comes first: a request is made only in the pause after a good poll, when the next is not due before the
request must have ended, one at a time and so many a minute. Nothing here moves a pipeline's live state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil, floor
from typing import Any, NamedTuple

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet

from collectors import closed_ways, ledger, markets, partitions, pauses, rollups
from collectors.models import TO_FILL, Backfill, Gap, GapState, Origin, Worker
from collectors.pauses import Turn
from exchanges.feeds import open_feed
from exchanges.feeds.base import (
    Candle,
    Capabilities,
    Feed,
    FeedError,
    MayCall,
    Superseded,
    Throttled,
    Trade,
    Unsupported,
)
from exchanges.feeds.gate import HeldBack
from exchanges.models import Exchange

log = structlog.get_logger(__name__)

MINUTE = 60.0
PAGE = 300  # rows a request; coinbase gives no more
SETTLE = timedelta(seconds=90)  # exchanges publish the last minute late
OPEN_PAUSE = timedelta(minutes=5)  # a silence that lasts is asked about again
FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=1)
THROTTLE_PAUSE = timedelta(minutes=5)


# --- what an answer holds: pure ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """What is still to be asked of one gap, in Unix seconds; both ends are rows that we have, or moments of no row."""

    gap_id: int
    pipeline_id: int
    symbol: str
    start: float
    end: float
    is_ended: bool
    expected_seconds: float
    claimed_until: datetime


class Point(NamedTuple):
    """One row to store: a price that the exchange gave for this moment."""

    at: float
    price: float


@dataclass(frozen=True, slots=True)
class Found:
    """What an answer says of a span: the rows, how far it reaches, and how many rows are missing up to there."""

    points: tuple[Point, ...]
    reached: float
    lacking: int
    origin: int


def minutes_between(start: float, end: float) -> int:
    """How many whole minutes close strictly between two moments."""
    return max(0, ceil(end / MINUTE) - 1 - floor(start / MINUTE))


def from_candles(candles: Iterable[Candle], span: Span) -> Found:
    """Each closed minute gives its close at the moment it closed. Its high and low are a minute's, not a day's."""
    closes: dict[float, float] = {}
    newest = 0.0
    for candle in candles:
        closed_at = candle.opened_at + MINUTE
        newest = max(newest, closed_at)
        if span.start < closed_at < span.end and candle.opened_at % MINUTE == 0 and candle.close > 0:
            closes[closed_at] = candle.close
    last_due = (ceil(span.end / MINUTE) - 1) * MINUTE
    last_asked = (floor(span.start / MINUTE) + PAGE) * MINUTE
    if last_due <= last_asked and (newest >= last_due or not closes):
        reached = span.end
    else:
        reached = max(closes, default=last_asked)
    due = minutes_between(span.start, reached) + (reached < span.end)
    points = tuple(Point(at, closes[at]) for at in sorted(closes))
    return Found(points, reached, max(0, due - len(points)), Origin.CANDLE)


def from_trades(trades: Sequence[Trade], span: Span) -> Found:
    """The newest trade of each expected interval. A list that reaches over both ends leaves nothing to be missed."""
    inside = sorted((t for t in trades if span.start < t.traded_at < span.end and t.price > 0), key=_traded_at)
    newest_by_interval = {_interval(span, trade.traded_at): trade for trade in inside}
    oldest = min((trade.traded_at for trade in trades), default=span.start)
    newest = max((trade.traded_at for trade in trades), default=span.start)
    is_full = len(trades) >= PAGE and newest < span.end
    reached = inside[-1].traded_at if is_full and inside else span.end
    lacking = 0
    if oldest > span.start:  # before the oldest it was perhaps quiet, and perhaps the exchange does not keep so much
        lacking = max(_interval(span, min(oldest, reached)), int(not inside))
    points = tuple(Point(trade.traded_at, trade.price) for trade in newest_by_interval.values())
    return Found(points, reached, lacking, Origin.TRADE)


def _traded_at(trade: Trade) -> float:
    return trade.traded_at


def _interval(span: Span, at: float) -> int:
    return int((at - span.start) / span.expected_seconds)


def requests_left(gap: Gap, now: datetime) -> int:
    """A forecast for people: how many requests the rest of a gap takes."""
    if gap.state not in TO_FILL:
        return 0
    rest = ((gap.ended_at or now) - (gap.filled_until or gap.started_at)).total_seconds()
    return max(1, ceil(rest / (PAGE * MINUTE)))


def retry_pause(attempts: int) -> timedelta:
    return min(LONGEST_RETRY, FIRST_RETRY * float(2 ** min(attempts, 10)))


# --- whose turn it is -------------------------------------------------------------------------------------------

TAKE_TURN = f"""
UPDATE collectors_backfill AS b SET
    busy_until = clock_timestamp() + make_interval(secs => t.seconds + 1),
    minute_at = date_trunc('minute', clock_timestamp()),
    requests_in_minute = CASE WHEN b.minute_at = date_trunc('minute', clock_timestamp())
                              THEN b.requests_in_minute + 1 ELSE 1 END
FROM ({pauses.WINDOW}) AS t
WHERE b.exchange_id = t.exchange_id AND t.seconds >= %(least)s AND %(budget)s > 0
  AND (b.busy_until IS NULL OR b.busy_until < clock_timestamp())
  AND (b.paused_until IS NULL OR b.paused_until < clock_timestamp())
  AND (b.minute_at IS DISTINCT FROM date_trunc('minute', clock_timestamp()) OR b.requests_in_minute < %(budget)s)
RETURNING t.generation, t.seconds
"""


def take_turn(exchange: Exchange) -> Turn | None:
    """None when live polling needs the exchange, the minute's budget is used up, or somebody else is filling."""
    with connection.cursor() as cursor:
        cursor.execute(
            TAKE_TURN,
            pauses.parameters(exchange, deadline_seconds=settings.BACKFILL_DEADLINE_SECONDS)
            | {"budget": settings.BACKFILL_REQUESTS_PER_MINUTE},
        )
        row = cursor.fetchone()
    return None if row is None else Turn(exchange, int(row[0]), float(row[1]))


def end_turn(exchange_id: str, **changes: Any) -> None:
    Backfill.objects.filter(pk=exchange_id).update(busy_until=None, **changes)


# --- which gap --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which gaps are to be filled; everything by default."""

    market: str = ""
    since: datetime | None = None
    until: datetime | None = None


EVERYTHING = Wanted()


def due(exchange_id: str, now: datetime, wanted: Wanted = EVERYTHING) -> QuerySet[Gap]:
    """Gaps of one exchange that may be asked about now, the newest first: exchanges forget the oldest first."""
    found = Gap.objects.filter(
        pipeline__market__exchange_id=exchange_id,
        pipeline__market__active=True,
        pipeline__market__blacklisted=False,
        pipeline__market__excluded=False,
        state__in=TO_FILL,
        started_at__lt=now - SETTLE,
    ).exclude(next_try_at__gt=now).exclude(ended_at__gt=now - SETTLE).exclude(ended_at__lt=kept_since(now))  # fmt: skip
    if wanted.market:
        found = found.filter(pipeline__market__symbol=wanted.market)
    if wanted.since:
        found = found.exclude(ended_at__lte=wanted.since)
    if wanted.until:
        found = found.filter(started_at__lt=wanted.until)
    return found.order_by("-started_at", "-id")


def claim(exchange_id: str, now: datetime, wanted: Wanted = EVERYTHING) -> Span | None:
    """The next span to ask for, taken from all others for as long as a request may take."""
    until = now + timedelta(seconds=settings.BACKFILL_DEADLINE_SECONDS + 30)
    with transaction.atomic():
        locked = due(exchange_id, now, wanted).select_for_update(of=("self",), skip_locked=True)
        gap = locked.select_related("pipeline__market").first()
        if gap is None:
            return None
        Gap.objects.filter(pk=gap.pk).update(state=GapState.FILLING, next_try_at=until)
    return _span(gap, now, until)


def _span(gap: Gap, now: datetime, claimed_until: datetime) -> Span:
    return Span(
        gap_id=gap.pk,
        pipeline_id=gap.pipeline_id,
        symbol=gap.pipeline.market.symbol,
        start=max(gap.filled_until or gap.started_at, kept_since(now)).timestamp(),
        end=(gap.ended_at or now - SETTLE).timestamp(),
        is_ended=gap.ended_at is not None,
        expected_seconds=gap.pipeline.expected_seconds,
        claimed_until=claimed_until,
    )


def kept_since(now: datetime) -> datetime:
    """Raw rows older than this are dropped again."""
    return now - timedelta(hours=settings.RAW_RETENTION_HOURS)


# --- one request ------------------------------------------------------------------------------------------------


def fill(
    exchange_id: str,
    *,
    clock: Callable[[], datetime],
    wanted: Wanted = EVERYTHING,
    seconds: float,
    patiently: bool = False,
) -> int:
    """Fills gaps of one exchange as long as its turn lasts, at most `seconds`; the number of rows stored.

    `patiently` waits for the next turn, as a command may; a task goes and comes again with the next poll.
    """
    exchange = Exchange.objects.get(pk=exchange_id)
    Backfill.objects.get_or_create(exchange=exchange)
    give_up_at, stored = time.monotonic() + seconds, 0
    while time.monotonic() < give_up_at:
        now = clock()
        if not due(exchange_id, now, wanted).exists():
            break
        turn = take_turn(exchange)
        if turn is None:
            if not patiently:
                break
            time.sleep(0.25)
            continue
        stored += _take_step(turn, now, wanted)
    return stored


def _take_step(turn: Turn, now: datetime, wanted: Wanted) -> int:
    """One request and what follows of it."""
    exchange_id, changes = turn.exchange.id, {}
    try:
        span = claim(exchange_id, now, wanted)
        if span is None:
            return 0
        try:
            found = ask(turn, span, now)
        except Superseded:
            return 0
        except HeldBack as error:
            changes = _step_back(span, error, now)
            return 0
        except closed_ways.Closed as error:
            closed_ways.remember(turn.exchange.id, error, generation=turn.generation, now=now)
            _release(span)  # there may be another way
            return 0
        except Unsupported as error:
            log.info("no_history", exchange=exchange_id, symbol=span.symbol, error=str(error))
            _remember_nothing(turn, span, str(error))
            return 0
        except FeedError as error:
            changes = _pause(turn, span, error, now)
            return 0
        return save(turn, span, found, now)
    finally:
        end_turn(exchange_id, **changes)


def ask(turn: Turn, span: Span, now: datetime) -> Found:
    """One request. Raises FeedError: Closed when we are refused this kind of history, Unsupported when the exchange has
    none of the kind that is needed."""
    feed = open_feed(turn.exchange.feed_spec(), market_cache=markets.ValkeyMarketCache())
    priority = ledger.Priority.BACKFILL
    may_call = ledger.open_gate(turn.exchange, feed.capabilities, priority=priority, generation=turn.generation)
    closed = closed_ways.of(turn.exchange.id, generation=turn.generation, now=now)
    if _candles_fit(span, feed.capabilities) and closed_ways.CANDLES not in closed:
        return _ask_for_candles(feed, turn, span, may_call)
    if closed_ways.TRADES in closed or not feed.capabilities.has.get("fetchTrades"):
        raise Unsupported("; ".join(closed.values()) or f"{turn.exchange.id} gives neither candles that fit nor trades")
    return _ask_for_trades(feed, turn, span, may_call)


def _candles_fit(span: Span, capabilities: Capabilities) -> bool:
    has_minutes = not capabilities.timeframes or "1m" in capabilities.timeframes
    return bool(capabilities.has.get("fetchOHLCV") and has_minutes and minutes_between(span.start, span.end))


def _ask_for_candles(feed: Feed, turn: Turn, span: Span, may_call: MayCall) -> Found:
    since = floor(span.start / MINUTE) * MINUTE
    with closed_ways.asking_for(closed_ways.CANDLES):
        candles = feed.fetch_candles(
            span.symbol, timeframe="1m", since=since, limit=_limit(span), deadline_seconds=turn.deadline_seconds,
            may_call=may_call,
        )  # fmt: skip
    return from_candles(candles, span)


def _limit(span: Span) -> int:
    return min(PAGE, minutes_between(span.start, span.end) + 2)


def _ask_for_trades(feed: Feed, turn: Turn, span: Span, may_call: MayCall) -> Found:
    with closed_ways.asking_for(closed_ways.TRADES):
        trades = feed.fetch_trades(
            span.symbol, since=span.start, limit=PAGE, deadline_seconds=turn.deadline_seconds, may_call=may_call
        )
    return from_trades(trades, span)


# --- what follows of an answer ----------------------------------------------------------------------------------

STORE = """
INSERT INTO collectors_tick (pipeline_id, origin, received_at, exchange_at, last)
SELECT %(pipeline)s, %(origin)s, at, at, price
FROM unnest(%(moments)s::timestamptz[], %(prices)s::float8[]) AS found (at, price)
ON CONFLICT DO NOTHING
"""


FILLED_FIELDS = (
    "filled_until", "filled_count", "lacking_count", "lacking_reason", "attempts", "state", "next_try_at"
)  # fmt: skip


def save(turn: Turn, span: Span, found: Found, now: datetime) -> int:
    """Stores the rows and how far the gap is filled, if the gap and the exchange's generation are still the same."""
    partitions.ensure_since(_moment(span.start), now)
    with transaction.atomic():
        gap = _still_ours(turn, span)
        if gap is None:
            return 0
        stored = _store(span, found)
        gap.filled_until = _moment(found.reached)
        gap.filled_count += len(found.points)
        gap.lacking_count += found.lacking
        if found.lacking:
            closed = closed_ways.of(turn.exchange.id, generation=turn.generation, now=now)
            gap.lacking_reason = "; ".join(closed.values())
        gap.attempts = 0
        gap.state, gap.next_try_at = _state_after(gap, now)
        gap.save(update_fields=FILLED_FIELDS)
        if stored:
            rollups.again(span.pipeline_id, start=_moment(span.start), end=_moment(found.reached))
    return stored


def _still_ours(turn: Turn, span: Span) -> Gap | None:
    """The locked gap, or None when it was withdrawn or claimed anew, or an operator has stopped the exchange."""
    gap = Gap.objects.select_for_update().filter(pk=span.gap_id, next_try_at=span.claimed_until).first()
    is_current = Exchange.objects.collected().filter(pk=turn.exchange.id, worker__generation=turn.generation).exists()
    return gap if is_current else None


def _store(span: Span, found: Found) -> int:
    if not found.points:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            STORE,
            {
                "pipeline": span.pipeline_id,
                "origin": int(found.origin),
                "moments": [_moment(point.at) for point in found.points],
                "prices": [point.price for point in found.points],
            },
        )
        return int(cursor.rowcount)


def _state_after(gap: Gap, now: datetime) -> tuple[str, datetime | None]:
    assert gap.filled_until is not None
    if gap.ended_at is None:
        return GapState.FILLING, now + OPEN_PAUSE
    if gap.filled_until < gap.ended_at:
        return GapState.FILLING, None  # a page was full: the rest stays open, for the next turn
    return final_state(gap.filled_count, gap.lacking_count), None


def final_state(filled_count: int, lacking_count: int) -> str:
    if filled_count == 0:
        return GapState.NOTHING
    return GapState.PARTLY_FILLED if lacking_count else GapState.FILLED


def _remember_nothing(turn: Turn, span: Span, why: str) -> None:
    """It cannot be had here: never asked again. What was filled before stays."""
    with transaction.atomic():
        gap = _still_ours(turn, span)
        if gap is None:
            return
        gap.lacking_count += max(1, int((span.end - span.start) / span.expected_seconds))
        gap.filled_until, gap.next_try_at = _moment(span.end), None
        gap.state = final_state(gap.filled_count, gap.lacking_count) if span.is_ended else GapState.FILLING
        if not span.is_ended:
            gap.next_try_at = span.claimed_until + LONGEST_RETRY
        gap.lacking_reason = why
        gap.save(update_fields=["lacking_count", "lacking_reason", "filled_until", "next_try_at", "state"])


def _pause(turn: Turn, span: Span, error: FeedError, now: datetime) -> dict[str, Any]:
    """What the exchange's refusal means for this gap, for its backfill, and for live polling, too, if it must wait."""
    gap = Gap.objects.filter(pk=span.gap_id, next_try_at=span.claimed_until).first()
    if gap is not None:
        again_at = now + retry_pause(gap.attempts)
        attempts = min(gap.attempts + 1, 1000)
        Gap.objects.filter(pk=gap.pk, next_try_at=span.claimed_until).update(attempts=attempts, next_try_at=again_at)
    log.warning("backfill_failed", exchange=turn.exchange.id, symbol=span.symbol, outcome=error.kind, error=str(error))
    if isinstance(error, Throttled):
        asked = timedelta(seconds=error.retry_after_seconds or 0)
        if asked or error.banned:
            _hold_polls(turn.exchange.id, until=now + (asked or THROTTLE_PAUSE))
        return {"paused_until": now + max(THROTTLE_PAUSE, asked)}
    return {}


def _release(span: Span) -> None:
    Gap.objects.filter(pk=span.gap_id, next_try_at=span.claimed_until).update(next_try_at=None)


def _step_back(span: Span, error: HeldBack, now: datetime) -> dict[str, Any]:
    """Nothing was asked: the gap stays due, and its exchange is left to others for a while."""
    _release(span)
    return {"paused_until": now + timedelta(seconds=max(1.0, error.wait_seconds))}


def _hold_polls(exchange_id: str, *, until: datetime) -> None:
    """The exchange told this address to wait; a poll would be held against us like any other request."""
    worker = Worker.objects.filter(pk=exchange_id)
    worker.exclude(retry_at__gte=until).update(retry_at=until, last_outcome="throttled")


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# --- the plan ---------------------------------------------------------------------------------------------------

EXPIRE = """
UPDATE collectors_gap SET next_try_at = NULL,
    state = CASE WHEN filled_count > 0 THEN 'partly filled' ELSE 'expired' END
WHERE id IN (SELECT id FROM collectors_gap WHERE state IN ('open', 'filling') AND ended_at < %s
             ORDER BY id LIMIT 10000 FOR UPDATE SKIP LOCKED)
"""


def plan(now: datetime) -> list[str]:
    """Gives up what is too old to be kept, and notes which exchanges have something to fill; their names."""
    with connection.cursor() as cursor:
        cursor.execute(EXPIRE, [kept_since(now)])
    wanted = []
    for exchange in Exchange.objects.collected().order_by("id"):
        has_work = due(exchange.id, now).exists()
        changed = Backfill.objects.filter(pk=exchange.pk).exclude(has_work=has_work).update(has_work=has_work)
        if has_work and not changed:
            Backfill.objects.get_or_create(exchange=exchange, defaults={"has_work": True})
        if has_work:
            wanted.append(exchange.id)
    return wanted


def is_wanted(exchange_id: str) -> bool:
    """Is there something to fill? One look by key, after every good poll."""
    return Backfill.objects.filter(pk=exchange_id, has_work=True).exists()
