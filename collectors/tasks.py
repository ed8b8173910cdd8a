"""The Celery tasks of collection: each reads the clock once and makes one call. Unknown arguments of other
releases are tolerated, so that a deploy loses no slot."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog
from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded

from collectors import archive_round, backfill, retention
from collectors.gaps import learning
from collectors.history import currencies
from collectors.market_data import collect
from collectors.polling import poll, schedule
from lib import clock, database_clock, queues

log = structlog.get_logger(__name__)

DEPTH_SECONDS = 10.0
ARCHIVE_SECONDS = 20.0  # then it begins nothing new; one exchange's day may take minutes
ARCHIVE_LIMIT_SECONDS = 1800
FILL_SECONDS = 15.0  # well within the soft time limit, and children are for polls first


@shared_task(bind=True)
def collect_exchange(self: Any, /, *, exchange_id: str, **_: Any) -> str:
    """Makes one poll. Twice is harmless: the lease lets one through, and not twice in a slot."""
    outcome = poll.collect_once(exchange_id, now=clock.now(), correlation_id=self.request.id or "")
    if outcome in ("stored", poll.SKIPPED) and backfill.is_wanted(exchange_id):
        # The pause after this poll, or all of a stream's time, is the time for it; if the message is lost, the next
        # poll sends another.
        queues.send(fill_gaps, expires_seconds=FILL_SECONDS, exchange_id=exchange_id)
    return outcome


@shared_task
def fill_gaps(*, exchange_id: str, **_: Any) -> int:
    """Fills gaps for as long as polling leaves time. Twice is harmless: one request at a time, each gap claimed."""
    return backfill.fill(exchange_id, clock=clock.now, seconds=FILL_SECONDS)


@shared_task
def collect_depth(*, exchange_id: str, **_: Any) -> dict[str, int]:
    """Collects order books, trades and funding that are due. Twice is harmless: a request slot is for one request, and
    what was asked for is no longer due."""
    return collect.collect(exchange_id, clock=clock.now, seconds=DEPTH_SECONDS)


@shared_task
def plan_backfill(**_: Any) -> None:
    """Says which exchanges have gaps to fill. Twice finds the same."""
    now = database_clock.now()
    backfill.plan(now, gives_up=retention.may_delete(now))


@shared_task(name="collectors.tasks.learn_habits")
def learn_cadence(**_: Any) -> None:
    """Learns cadences and currencies, finds frozen values. Twice is harmless: only differences are written."""
    now = clock.now()
    currencies.learn(now)
    learning.learn(now)
    learning.find_frozen(now)


@shared_task
def refresh_markets(*, exchange_id: str, **_: Any) -> str:
    """Reloads one market list. Twice is harmless: the second finds the same."""
    return poll.refresh_markets(exchange_id, now=clock.now())


@shared_task(name="collectors.tasks.keep_up")
def run_maintenance(**_: Any) -> None:
    """Makes partitions, rolls up, counts gaps, prunes. Twice is harmless: cursors move in the work's transaction.

    The moment is PostgreSQL's: what one host believes the time to be deletes nothing.
    """
    now = database_clock.now()
    failures = [error for part in retention.PARTS if (error := _tried(part, now)) is not None]
    if failures:
        raise failures[0]


# Acknowledged at once: a message that is not, for longer than the visibility timeout, is sent again and again.
@shared_task(acks_late=False, soft_time_limit=ARCHIVE_LIMIT_SECONDS, time_limit=ARCHIVE_LIMIT_SECONDS + 30)
def archive(**_: Any) -> int:
    """Makes one round of the archive. Twice is harmless: a lease lets one through, and the ledger has no two tips."""
    return archive_round.run(database_clock.now(), seconds=ARCHIVE_SECONDS)


def _tried(part: Callable[[datetime], object], now: datetime) -> Exception | None:
    """Runs one part; returns its error, which holds up no other part: else a failing rollup stops partitions, too."""
    try:
        part(now)
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:  # noqa: BLE001 - the task raises it in the end
        log.warning("upkeep_failed", part=f"{part.__module__}.{part.__name__}", error=str(error).strip())
        return error
    return None


@shared_task
def sync_schedule(**_: Any) -> None:
    """Catches edits that went round the verbs. Twice is harmless: only differences are saved."""
    schedule.sync(now=clock.now())
