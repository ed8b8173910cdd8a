"""Remembers which history an exchange refuses us though its polls are good, such as candles without a key.

The reason is kept, so that a gap is filled another way or given up, and nobody asks every hour in vain. What an
operator changes or restarts is asked anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta

import structlog
from django.db import transaction

from collectors.models import Backfill
from feeds.base import Denied

log = structlog.get_logger(__name__)

CANDLES, TRADES = "candles", "trades"
REMEMBERED = timedelta(days=1)  # the exchange may have changed its mind


class Closed(Denied):
    """The exchange gives us none of this kind; the message is its reason."""

    def __init__(self, way: str, denied: Denied) -> None:
        super().__init__(f"no {way}: {denied}", status=denied.status, excerpt=denied.excerpt)
        self.way = way


@contextmanager
def asking_for(way: str) -> Iterator[None]:
    try:
        yield
    except Denied as error:
        raise Closed(way, error) from error


def of(exchange_id: str, *, generation: int, now: datetime) -> Mapping[str, str]:
    """Returns the reason for each kind of history that the exchange refuses us now."""
    held = Backfill.objects.filter(pk=exchange_id).values_list("closed_ways", flat=True).first() or {}
    return {
        way: each["why"]
        for way, each in held.items()
        if each["generation"] == generation and datetime.fromisoformat(each["until"]) > now
    }


def remember(exchange_id: str, closed: Closed, *, generation: int, now: datetime) -> None:
    """Remembers a refusal until tomorrow, or until an operator's verb."""
    until = (now + REMEMBERED).isoformat()
    with transaction.atomic():
        backfill = Backfill.objects.select_for_update().get(pk=exchange_id)
        backfill.closed_ways[closed.way] = {"why": str(closed), "generation": generation, "until": until}
        backfill.save(update_fields=["closed_ways"])
    log.info("way_closed", exchange=exchange_id, way=closed.way, error=str(closed))
