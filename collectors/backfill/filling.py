"""Makes one request after another, as long as the exchange has a pause for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from collectors.backfill import asking, importing, outcome, refused_history
from collectors.backfill.choice import EVERYTHING, GapSelection, claim, due
from collectors.backfill.turns import end_turn, take_turn
from collectors.models import Backfill
from collectors.rate_limits.idle_window import RequestSlot
from exchanges.models import Exchange
from feeds.base import FeedError, Superseded, Unsupported
from feeds.request_gate import HeldBack

log = structlog.get_logger(__name__)

NEXT_LOOK_SECONDS = 0.25  # between two looks of a caller that waits patiently


def fill(
    exchange_id: str,
    *,
    clock: Callable[[], datetime],
    wanted: GapSelection = EVERYTHING,
    seconds: float,
    patiently: bool = False,
) -> int:
    """Fills gaps of one exchange while it has a request slot, at most `seconds`; returns the number of rows stored.

    Without a gap it goes on with imports of history.

    `patiently` waits for the next request slot, as a command may; a task ends and comes again with the next poll.
    """
    exchange = Exchange.objects.get(pk=exchange_id)
    Backfill.objects.get_or_create(exchange=exchange)
    give_up_at, stored = time.monotonic() + seconds, 0
    while time.monotonic() < give_up_at:
        now = clock()
        is_due = due(exchange_id, now, wanted).exists()
        if not is_due and (wanted != EVERYTHING or not importing.waiting(exchange_id, now).exists()):
            break
        turn = take_turn(exchange)
        if turn is None:
            if not patiently:
                break
            time.sleep(NEXT_LOOK_SECONDS)
            continue
        stored += _take_step(turn, clock, wanted) if is_due else _import_step(turn, clock)
    return stored


def _import_step(turn: RequestSlot, clock: Callable[[], datetime]) -> int:
    """Makes one request for history from before the start; returns the minutes stored. Gaps come first."""
    changes: dict[str, Any] = {}
    try:
        stored, changes = importing.take_step(turn, clock())
        return stored
    finally:
        end_turn(turn.exchange.id, **changes)


def _take_step(turn: RequestSlot, clock: Callable[[], datetime], wanted: GapSelection) -> int:
    """Makes one request and stores what follows from it; returns the number of rows stored."""
    exchange_id, changes, now = turn.exchange.id, {}, clock()
    try:
        span = claim(exchange_id, now, wanted)
        if span is None:
            return 0
        try:
            found = asking.ask(turn, span, now)
        except Superseded:
            return 0
        except HeldBack as error:
            changes = outcome.step_back(span, error, now)
            return 0
        except refused_history.Closed as error:
            refused_history.remember(turn.exchange.id, error, generation=turn.generation, now=now)
            outcome.release(span)  # there may be another way
            return 0
        except Unsupported as error:
            log.info("no_history", exchange=exchange_id, symbol=span.symbol, error=str(error))
            outcome.remember_nothing(turn, span, str(error))
            return 0
        except FeedError as error:
            changes = outcome.pause(turn, span, error, now)
            return 0
        if found is None:
            outcome.release(span)
            return 0
        return outcome.save(turn, span, found, clock())
    finally:
        end_turn(exchange_id, **changes)
