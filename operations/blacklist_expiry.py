"""Lifts blacklist entries whose time is over."""

from __future__ import annotations

from datetime import datetime

import structlog
from django.db import DatabaseError

from exchanges.models import BlacklistEntry, MarketBlacklistEntry
from operations import exchange_commands, market_commands, transitions

log = structlog.get_logger(__name__)


def lift_expired(now: datetime) -> int:
    """Lifts what is due and returns how many; two look-ups in tiny indexes when nothing is. Runs anywhere and twice.

    One entry that cannot be lifted does not hold up the others; it is tried again by the next pulse.
    """
    markets_here = MarketBlacklistEntry.objects.filter(market__exchange__removed_at__isnull=True)
    due = [
        (exchange_commands.lift_expired_entry, pk)
        for pk in BlacklistEntry.objects.past_expiry(now).values_list("pk", flat=True)
    ]
    due += [
        (market_commands.lift_expired_market_entry, pk)
        for pk in markets_here.past_expiry(now).values_list("pk", flat=True)
    ]
    lifted = 0
    for lift, entry_id in due:
        try:
            lifted += lift(entry_id, now=now)
        except (transitions.CommandRefused, DatabaseError) as error:
            log.warning("entry_not_lifted", entry=entry_id, error=str(error))
    return lifted
