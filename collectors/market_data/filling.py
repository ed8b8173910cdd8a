"""Asks for trades that were missed, where the exchange can be asked by number or by time; the newest hole first."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import QuerySet

from collectors import rate_limits
from collectors.market_data import store, turns
from collectors.models.market_data import DepthKind, HoleState, TradeHole
from collectors.polling import market_list
from collectors.rate_limits.idle_window import RequestSlot
from collectors.rules import trade_rows
from exchanges.models import Exchange
from feeds import open_feed
from feeds.base import FeedError, Superseded, Throttled, TradePage, TradeSpan, Unsupported
from feeds.request_gate import HeldBack

log = structlog.get_logger(__name__)

PAGE = 1000  # trades a request; no exchange of ours gives more
REQUESTS_A_ROUND = 2
FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=1)


def fill(exchange: Exchange, *, clock: Callable[[], datetime], until: float) -> int:
    """Makes a few requests for what is missing, until a monotonic moment; returns the number of trades stored."""
    stored = 0
    for _ in range(REQUESTS_A_ROUND):
        if time.monotonic() > until or not _due(exchange.id, clock()).exists():
            break
        turn = turns.take(exchange)
        if turn is None:
            break
        try:
            stored += _take_step(turn, clock)
        finally:
            turns.give_back(turn)
    return stored


def expire(now: datetime) -> int:
    """Gives up what is older than trades are kept."""
    lost = TradeHole.objects.filter(state=HoleState.OPEN, ended_at__lt=store.kept_since(now))
    lost.filter(filled_count__gt=0).update(state=HoleState.PARTLY_FILLED, next_try_at=None)
    return lost.update(state=HoleState.EXPIRED, next_try_at=None)


def _due(exchange_id: str, now: datetime) -> QuerySet[TradeHole]:
    """Returns the holes that may be asked about now, of markets whose trades are still wanted."""
    return TradeHole.objects.filter(
        state=HoleState.OPEN,
        pipeline__market__exchange_id=exchange_id,
        pipeline__market__depth_series__kind=DepthKind.TRADES,
        ended_at__gte=store.kept_since(now),
    ).exclude(next_try_at__gt=now)


def _claim(exchange_id: str, now: datetime) -> TradeHole | None:
    """Returns the newest hole, claimed for as long as a request may take; None when there is none."""
    with transaction.atomic():
        locked = _due(exchange_id, now).select_for_update(of=("self",), skip_locked=True)
        hole = locked.select_related("pipeline__market").order_by("-started_at", "-id").first()
        if hole is not None:
            hole.next_try_at = now + timedelta(seconds=turns.DEADLINE_SECONDS + 30)
            hole.save(update_fields=["next_try_at"])
    return hole


def _take_step(turn: RequestSlot, clock: Callable[[], datetime]) -> int:
    """Makes one request and stores what follows from it; returns the number of trades stored."""
    hole = _claim(turn.exchange.id, clock())
    if hole is None:
        return 0
    assert hole.next_try_at is not None
    symbol = hole.pipeline.market.symbol
    try:
        page = _ask(turn, hole, symbol)
        now = clock()
        found = trade_rows.sort_out(page, symbol, kept_since=store.kept_since(now).timestamp(), now=now.timestamp())
        return store.fill_hole(turn, hole.pk, hole.next_try_at, found, received_at=page.received_at, now=now)
    except (Superseded, HeldBack):
        _settle(hole, next_try_at=None)  # nothing was asked
    except Unsupported as error:
        log.info("trades_not_to_be_had", exchange=turn.exchange.id, symbol=symbol, error=str(error))
        state = HoleState.PARTLY_FILLED if hole.filled_count else HoleState.NOTHING
        _settle(hole, state=state, next_try_at=None)
    except FeedError as error:
        _try_later(turn, hole, error, clock())
    return 0


def _ask(turn: RequestSlot, hole: TradeHole, symbol: str) -> TradePage:
    """Asks for a page of missing trades. Raises FeedError; Unsupported where the exchange gives no earlier ones."""
    feed = open_feed(turn.exchange.feed_spec(), market_cache=market_list.ValkeyMarketCache())
    gate = rate_limits.open_gate(
        turn.exchange, feed.capabilities, priority=rate_limits.Priority.BACKFILL, generation=turn.generation
    )
    number, since, until = store.first_missing(hole)
    span = TradeSpan(number, since.timestamp(), until.timestamp())
    return feed.fetch_trade_page(symbol, span=span, limit=PAGE, deadline_seconds=turn.deadline_seconds, may_call=gate)


def _try_later(turn: RequestSlot, hole: TradeHole, error: FeedError, now: datetime) -> None:
    pause = min(LONGEST_RETRY, FIRST_RETRY * float(2 ** min(hole.attempts, 10)))
    _settle(hole, attempts=min(hole.attempts + 1, 1000), next_try_at=now + pause)
    if isinstance(error, Throttled):
        turns.heed(turn.exchange.id, error, now=now)
    log.warning("hole_not_filled", exchange=turn.exchange.id, outcome=error.kind, error=str(error)[:300])


def _settle(hole: TradeHole, **changes: object) -> None:
    TradeHole.objects.filter(pk=hole.pk, next_try_at=hole.next_try_at).update(**changes)
