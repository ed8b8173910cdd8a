"""An operator's word against what we have learned: ask again although we were told to wait, believe a short list."""

from __future__ import annotations

from datetime import datetime

import redis
import structlog
from django.conf import settings
from django.db import transaction

from collectors import rate_limits
from collectors.models import Worker
from collectors.polling import poll
from exchanges.models import Exchange, Market
from feeds.base import FeedError
from operations import transitions
from operations.transitions import CommandRefused

log = structlog.get_logger(__name__)

LIST_PATIENCE_SECONDS = 10.0


def ask_again(exchange_id: str, *, by: str, now: datetime, origin: str = "", reason: str = "") -> bool:
    """Ends the pause that the exchange asked for or that our failures have made, and polls at once.

    False when there was no pause. Refused where the exchange is not collected, or where the shared pause cannot be
    ended because Valkey is away.
    """
    with transaction.atomic():
        exchange = transitions.locked(exchange_id)
        transitions.require_collected(exchange)
        retry_at = Worker.objects.values_list("retry_at", flat=True).get(pk=exchange_id)
        transitions.renew(exchange_id, now)  # first: a cycle under way could tell the pause again
        left = _lift_pause(exchange)
        is_needed = left > 0 or (retry_at is not None and retry_at > now)
        transitions.record(
            "ask again", by=by, now=now, exchange=exchange_id, why=reason, origin=origin, changed=is_needed,
            before={"retry_at": retry_at and retry_at.isoformat(), "pause_seconds": round(left, 1)},
        )  # fmt: skip
        transitions.poll_on_commit(exchange_id)
    log.info("exchange_asked_again", exchange=exchange_id, by=by, pause_seconds=left, retry_at=retry_at)
    return is_needed


def accept_list(exchange_id: str, *, by: str, now: datetime, origin: str = "", reason: str = "") -> int:
    """Loads the market list and believes it, however short it is; the number of its active markets.

    Refused where the exchange is not collected, may not be called now, or answers no list.
    """
    exchange = Exchange.objects.known().filter(pk=exchange_id).first()
    if exchange is None:
        raise transitions.NotFound(f"there is no exchange {exchange_id}")
    transitions.require_collected(exchange)
    before = _count(exchange_id)
    try:
        poll.load_markets(
            exchange_id,
            now=now,
            patience_seconds=LIST_PATIENCE_SECONDS,
            deadline_seconds=LIST_PATIENCE_SECONDS + settings.MARKETS_DEADLINE_SECONDS,
            accepts_short=True,
        )
    except poll.ExchangeBusy:
        raise CommandRefused(f"{exchange_id} may not be called now; `ask-again` ends a pause") from None
    except FeedError as error:
        raise CommandRefused(f"{exchange_id} gave no list: {error.kind}: {error}"[:500]) from error
    after = _count(exchange_id)
    transitions.record(
        "accept list", by=by, now=now, exchange=exchange_id, why=reason, origin=origin,
        before={"active_markets": before}, changed=before != after,
    )  # fmt: skip
    log.info("market_list_accepted", exchange=exchange_id, by=by, before=before, after=after)
    return after


def _lift_pause(exchange: Exchange) -> float:
    try:
        return rate_limits.lift_pause(exchange)
    except redis.RedisError as error:
        raise CommandRefused(f"the pause of {exchange.id} cannot be ended while Valkey is away") from error


def _count(exchange_id: str) -> int:
    return Market.objects.filter(exchange_id=exchange_id, active=True).count()
