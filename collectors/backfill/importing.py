"""Fetches what an exchange keeps from before we began to collect: its own candles, or trades where it has none.

It waits behind live polls and behind gaps, takes the same request slots as they do, and goes on where it stopped,
whichever process does. Minutes that are stored already are never touched; what is new is known since now.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Min, Q, QuerySet

from collectors import rate_limits
from collectors.backfill import candle_stamps, outcome, refused_history, turns
from collectors.backfill.answers import GapSpan
from collectors.history import partitions, quality, rollups
from collectors.models import HistoryImport, ImportState, Pipeline, Rollup
from collectors.polling import market_list
from collectors.rate_limits.idle_window import RequestSlot
from collectors.rules import history_pages
from collectors.rules.history_pages import MINUTE, HistoryMinute, HistoryPage
from exchanges.models import Exchange
from feeds import open_feed
from feeds.base import Feed, FeedError, MayCall, Superseded, Unsupported
from feeds.request_gate import HeldBack

log = structlog.get_logger(__name__)

CANDLES_A_PAGE = 1000  # an exchange gives what it gives; where that is less, the next page begins there
TRADES_A_PAGE = 1000
MOST_ATTEMPTS = 10  # failed in a row; then a person looks at it
CLAIM_MARGIN = timedelta(seconds=30)
SETTLE = timedelta(seconds=90)  # exchanges publish the last minute late
TABLES = ("collectors_rollup", "collectors_minutecandle")


class CannotImport(Exception):
    """An import that cannot be; the message says why and what to do."""


def kept_since(now: datetime) -> datetime:
    """Returns the moment before which minutes are not kept, so that nothing from before it can be imported."""
    return now - timedelta(days=settings.ROLLUP_RETENTION_DAYS)


@transaction.atomic
def request(
    pipeline: Pipeline, *, start: datetime, end: datetime | None, by: str, now: datetime
) -> tuple[HistoryImport, bool]:
    """Writes down what is to be imported; returns it, and whether it is new. One that is under way goes on.

    Without an end it reaches to the first minute that is stored. Raises CannotImport.
    """
    Pipeline.objects.select_for_update().get(pk=pipeline.pk)
    running = HistoryImport.objects.filter(pipeline=pipeline, state=ImportState.RUNNING).first()
    first, last = _whole(start), _whole(min(end or _first_stored(pipeline, start, now), now - SETTLE))
    if running is not None and running.start_at <= first and running.end_at >= last:
        return running, False
    if running is not None:
        raise CannotImport(f"{pipeline.market}: an import since {running.start_at:%Y-%m-%d %H:%M} UTC is under way;"
                           " it must end or be stopped first.")  # fmt: skip
    if first < (kept := kept_since(now)):
        raise CannotImport(f"Minutes are kept since {kept:%Y-%m-%d %H:%M} UTC; for more raise ROLLUP_RETENTION_DAYS"
                           f" ({settings.ROLLUP_RETENTION_DAYS}).")  # fmt: skip
    if last <= first:
        raise CannotImport(f"{pipeline.market}: nothing is missing between {first:%Y-%m-%d %H:%M} and"
                           f" {last:%Y-%m-%d %H:%M} UTC.")  # fmt: skip
    resumed = _stopped(pipeline, first, last)
    if resumed is not None:
        return resumed, False
    made = HistoryImport.objects.create(
        pipeline=pipeline, start_at=first, end_at=last, reached_at=first, requested_at=now, requested_by=by
    )
    return made, True


def _stopped(pipeline: Pipeline, first: datetime, last: datetime) -> HistoryImport | None:
    """Goes on with the same import where it was stopped; returns it."""
    found = HistoryImport.objects.filter(pipeline=pipeline, start_at=first, state=ImportState.STOPPED).last()
    if found is None or found.end_at < last:
        return None
    found.state, found.reason, found.ended_at, found.attempts, found.next_try_at = (
        ImportState.RUNNING,
        "",
        None,
        0,
        None,
    )
    found.save()
    return found


def _first_stored(pipeline: Pipeline, start: datetime, now: datetime) -> datetime:
    stored = Rollup.objects.filter(pipeline=pipeline, minute_at__gte=start).aggregate(first=Min("minute_at"))["first"]
    return stored or now - SETTLE


def _whole(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


def stop(imports: QuerySet[HistoryImport], *, now: datetime) -> int:
    """Stops imports that run; what is stored stays. Returns how many."""
    running = imports.filter(state=ImportState.RUNNING)
    return running.update(state=ImportState.STOPPED, ended_at=now, reason="stopped by an operator")


def waiting(exchange_id: str, now: datetime) -> QuerySet[HistoryImport]:
    """Returns the imports of one exchange that may be asked for now, those first that have come least far."""
    found = HistoryImport.objects.filter(pipeline__market__exchange_id=exchange_id, state=ImportState.RUNNING)
    return found.filter(Q(next_try_at=None) | Q(next_try_at__lte=now)).order_by("attempts", "id")


# --- one request ------------------------------------------------------------------------------------------------


def take_step(turn: RequestSlot, now: datetime) -> tuple[int, dict[str, Any]]:
    """Makes one request for the next import; returns the minutes stored, and changes of the exchange's Backfill."""
    wanted = _claim(turn.exchange.id, now)
    if wanted is None:
        return 0, {}
    try:
        page = _ask(turn, wanted, now)
        return (_save(turn, wanted, page, now) if page is not None else _release(wanted)), {}
    except Superseded:
        return 0, {}
    except HeldBack as error:
        _release(wanted)
        return 0, {"paused_until": now + timedelta(seconds=max(1.0, error.wait_seconds))}
    except refused_history.Closed as error:
        refused_history.remember(turn.exchange.id, error, generation=turn.generation, now=now)
        return _release(wanted), {}  # there may be another way
    except Unsupported as error:
        return _end(wanted, ImportState.REFUSED, str(error), now), {}
    except FeedError as error:
        _put_off(wanted, error, now)
        return 0, outcome.pause_of(turn.exchange.id, error, now)


def _claim(exchange_id: str, now: datetime) -> HistoryImport | None:
    until = now + timedelta(seconds=turns.DEADLINE_SECONDS) + CLAIM_MARGIN
    with transaction.atomic():
        found = waiting(exchange_id, now).select_for_update(of=("self",), skip_locked=True)
        wanted = found.select_related("pipeline__market").first()
        if wanted is None:
            return None
        wanted.next_try_at = until
        HistoryImport.objects.filter(pk=wanted.pk).update(next_try_at=until, requests=F("requests") + 1)
    return wanted


def _ask(turn: RequestSlot, wanted: HistoryImport, now: datetime) -> HistoryPage | None:
    """Returns a page; None where the request went into learning how the exchange stamps candles. Raises FeedError."""
    feed = open_feed(turn.exchange.feed_spec(), market_cache=market_list.ValkeyMarketCache())
    priority = rate_limits.Priority.IMPORT
    may_call = rate_limits.open_gate(turn.exchange, feed.capabilities, priority=priority, generation=turn.generation)
    closed = refused_history.of(turn.exchange.id, generation=turn.generation, now=now)
    has, timeframes = feed.capabilities.has, feed.capabilities.timeframes
    if has.get("fetchOHLCV") and (not timeframes or "1m" in timeframes) and refused_history.CANDLES not in closed:
        with refused_history.asking_for(refused_history.CANDLES):
            if _learn_stamps(turn, feed, wanted, may_call, now):
                return None
            return _candles(feed, turn, wanted, may_call)
    if refused_history.TRADES in closed or not has.get("fetchTrades"):
        raise Unsupported("; ".join(closed.values()) or f"{turn.exchange.id} gives neither candles nor trades")
    with refused_history.asking_for(refused_history.TRADES):
        return _trades(feed, turn, wanted, may_call)


def _learn_stamps(turn: RequestSlot, feed: Feed, wanted: HistoryImport, may_call: MayCall, now: datetime) -> bool:
    """Compares candles with our newest minutes: of the time that is imported there are none."""
    newest = (now - SETTLE).timestamp()
    span = GapSpan(0, wanted.pipeline_id, wanted.pipeline.market.symbol, newest, newest, True, 1.0, now)
    return candle_stamps.learn_if_due(
        turn.exchange.id, feed, span, deadline_seconds=turn.deadline_seconds, may_call=may_call
    )


def _candles(feed: Feed, turn: RequestSlot, wanted: HistoryImport, may_call: MayCall) -> HistoryPage:
    shift = candle_stamps.known_shift(turn.exchange.id)
    start, end = int(wanted.reached_at.timestamp()), int(wanted.end_at.timestamp())
    found = feed.fetch_candles(
        wanted.pipeline.market.symbol, timeframe="1m", since=start + shift,
        limit=min(CANDLES_A_PAGE, (end - start) // MINUTE + 1), deadline_seconds=turn.deadline_seconds,
        may_call=may_call,
    )  # fmt: skip
    moved = (each._replace(opened_at=each.opened_at - shift) for each in found)
    return history_pages.of_candles(moved, start, end)


def _trades(feed: Feed, turn: RequestSlot, wanted: HistoryImport, may_call: MayCall) -> HistoryPage:
    start, end = int(wanted.reached_at.timestamp()), int(wanted.end_at.timestamp())
    found = feed.fetch_trades(
        wanted.pipeline.market.symbol, since=float(start), limit=TRADES_A_PAGE, deadline_seconds=turn.deadline_seconds,
        may_call=may_call,
    )  # fmt: skip
    return history_pages.of_trades(found, start, end)


# --- what follows -----------------------------------------------------------------------------------------------

# Only minutes that nothing is stored of, and that the rollups have passed: they make the newer ones themselves.
NEW_MINUTES = """
INSERT INTO collectors_rollup (pipeline_id, minute_at, samples, open, high, low, close, volume, live, candle, trade,
                               revision, known_at)
SELECT %(pipeline)s, f.at, coalesce(f.trades, 1), f.open, f.high, f.low, f.close, f.volume, 0,
       (f.trades IS NULL)::int, coalesce(f.trades, 0), 0, %(now)s
FROM unnest(%(moments)s::timestamptz[], %(opens)s::float8[], %(highs)s::float8[], %(lows)s::float8[],
            %(closes)s::float8[], %(volumes)s::float8[], %(trades)s::int[])
     AS f (at, open, high, low, close, volume, trades)
WHERE f.at < (SELECT reached_at FROM collectors_cursor WHERE name = %(cursor)s)
ON CONFLICT DO NOTHING
"""


@transaction.atomic
def _save(turn: RequestSlot, wanted: HistoryImport, page: HistoryPage, now: datetime) -> int:
    """Stores a page and how far the import has come, if nobody has stopped it or its exchange meanwhile."""
    held = HistoryImport.objects.select_for_update().filter(
        pk=wanted.pk, state=ImportState.RUNNING, next_try_at=wanted.next_try_at
    ).first()  # fmt: skip
    current = Exchange.objects.collected().filter(pk=turn.exchange.id, worker__generation=turn.generation)
    if held is None or not current.exists():
        return 0
    traded = [minute for minute in page.minutes if minute.has_trades]
    if page.minutes:
        partitions.ensure_days(TABLES, {_moment(minute.opened_at).date() for minute in page.minutes})
        outcome.keep_candles(held.pipeline_id, [each for each in page.minutes if each.trades is None], now)
    stored = _store(held.pipeline_id, traded, now) if traded else 0
    if stored:
        span = {"start": _moment(traded[0].opened_at), "end": _moment(traded[-1].opened_at)}
        quality.again(held.pipeline_id, **span, now=now)
    _note(held, page, stored, now)
    return stored


def _store(pipeline_id: int, minutes: Sequence[HistoryMinute], now: datetime) -> int:
    given: dict[str, Any] = {
        "pipeline": pipeline_id,
        "now": now,
        "cursor": rollups.CURSOR,
        "moments": [_moment(each.opened_at) for each in minutes],
        "opens": [each.open for each in minutes],
        "highs": [each.high for each in minutes],
        "lows": [each.low for each in minutes],
        "closes": [each.close for each in minutes],
        "volumes": [each.volume for each in minutes],
        "trades": [each.trades for each in minutes],
    }
    with connection.cursor() as cursor:
        cursor.execute(rollups.HOLD_THE_CURSOR, given)
        cursor.execute(NEW_MINUTES, given)
        return int(cursor.rowcount)


def _note(held: HistoryImport, page: HistoryPage, stored: int, now: datetime) -> None:
    held.reached_at = min(_moment(page.reached), held.end_at)
    held.stored_count += stored
    held.known_count += len(page.minutes) - stored
    held.lacking_count += page.lacking
    held.attempts, held.next_try_at, held.reason = 0, None, ""
    if held.reached_at >= held.end_at:
        held.state, held.ended_at = ImportState.DONE, now
        held.reason = "" if held.stored_count + held.known_count else "the exchange has nothing of this time"
    held.save()


def _release(wanted: HistoryImport) -> int:
    HistoryImport.objects.filter(pk=wanted.pk, next_try_at=wanted.next_try_at).update(next_try_at=None)
    return 0


def _end(wanted: HistoryImport, state: ImportState, reason: str, now: datetime) -> int:
    mine = HistoryImport.objects.filter(pk=wanted.pk, next_try_at=wanted.next_try_at, state=ImportState.RUNNING)
    mine.update(state=state, reason=reason, ended_at=now, next_try_at=None)
    return 0


def _put_off(wanted: HistoryImport, error: FeedError, now: datetime) -> None:
    attempts = wanted.attempts + 1
    log.warning("import_failed", exchange=wanted.pipeline.market.exchange_id, outcome=error.kind, error=str(error))
    if attempts >= MOST_ATTEMPTS:
        _end(wanted, ImportState.STOPPED, f"failed {attempts} times in a row: {error}", now)
        return
    mine = HistoryImport.objects.filter(pk=wanted.pk, next_try_at=wanted.next_try_at)
    mine.update(attempts=attempts, reason=str(error), next_try_at=now + outcome.retry_pause(wanted.attempts))


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
