"""A gap as a row of a page: when, how long, why, and how far it has been filled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from board import links
from collectors.admin.collection import BACKFILL_WORDS, forecast_words
from collectors.models import Gap
from collectors.rules.gap_causes import LABELS

NEARLY = timedelta(seconds=60)  # markets of one outage fall silent, and come back, within so long
FEWEST_TO_GROUP = 3
MOST_READ = 1000  # an outage of ours is one gap for each market of all exchanges


@dataclass(frozen=True, slots=True)
class GapRow:
    """A gap; or the gaps of one outage, the `members`, as one row that unfolds."""

    number: int
    exchange: str
    symbol: str
    url: str
    started_at: datetime
    ended_at: datetime | None
    lasted: str
    missed_count: int
    cause: str
    evidence: str
    state: str  # of its backfill
    filled_count: int
    percent: int
    forecast: str
    members: tuple[GapRow, ...] = ()


def rows(gaps: Iterable[Gap], now: datetime) -> list[GapRow]:
    """Returns rows of gaps whose market was read with them."""
    return [_row(gap, now) for gap in gaps]


def _row(gap: Gap, now: datetime) -> GapRow:
    market = gap.pipeline.market
    return GapRow(
        number=gap.pk,
        exchange=market.exchange_id,
        symbol=market.symbol,
        url=links.pipeline(market.exchange_id, market.symbol, number=market.pk),
        started_at=gap.started_at,
        ended_at=gap.ended_at,
        lasted=lasted((gap.ended_at or now) - gap.started_at),
        missed_count=gap.missed(now),
        cause=LABELS.get(gap.cause, gap.cause),
        evidence=gap.evidence,
        state=BACKFILL_WORDS.get(gap.state, gap.state),
        filled_count=gap.filled_count,
        percent=round(100 * gap.progress(now)),
        forecast=forecast_words(gap, now),
    )


# --- gaps of one outage ---------------------------------------------------------------------------------------------


def grouped(found: Sequence[GapRow], *, now: datetime, most: int) -> tuple[list[GapRow], int]:
    """Returns at most so many single rows and groups, in the same order, and how many gaps they are made of.

    Of MOST_READ gaps the last one's group may have more members than were read, and says so.
    """
    crowds: list[list[GapRow]] = []
    for row in found:
        crowd = next((each for each in crowds if _are_one(each[0], row)), None)
        if crowd is not None:
            crowd.append(row)
        elif len(crowds) < most:
            crowds.append([row])
        else:
            break
    shown: list[GapRow] = []
    for crowd in crowds:
        more = " or more" if len(found) == MOST_READ and crowd[-1] is found[-1] else ""
        shown.extend([_group(crowd, now, more)] if len(crowd) >= FEWEST_TO_GROUP else crowd)
    return shown, sum(map(len, crowds))


def _are_one(first: GapRow, second: GapRow) -> bool:
    if (first.exchange, first.cause) != (second.exchange, second.cause):
        return False
    if abs(first.started_at - second.started_at) > NEARLY:
        return False
    if first.ended_at is None or second.ended_at is None:
        return first.ended_at is second.ended_at
    return abs(first.ended_at - second.ended_at) <= NEARLY


def _group(crowd: Sequence[GapRow], now: datetime, more: str) -> GapRow:
    """Returns a row from the first beginning to the last end, with the evidence that most of them have."""
    started_at = min(each.started_at for each in crowd)
    ended_at = max((each.ended_at for each in crowd if each.ended_at is not None), default=None)
    states = Counter(each.state for each in crowd)
    return replace(
        crowd[0],
        number=min(each.number for each in crowd),
        symbol=f"{len(crowd)}{more} pipelines",
        url=links.exchange(crowd[0].exchange),
        started_at=started_at,
        ended_at=ended_at,
        lasted=lasted((ended_at or now) - started_at),
        missed_count=sum(each.missed_count for each in crowd),
        evidence=Counter(each.evidence for each in crowd).most_common(1)[0][0],
        state=next(iter(states)) if len(states) == 1 else ", ".join(f"{n} {word}" for word, n in states.most_common()),
        filled_count=sum(each.filled_count for each in crowd),
        percent=round(sum(each.percent for each in crowd) / len(crowd)),
        forecast="",
        members=tuple(sorted(crowd, key=lambda each: each.symbol)),
    )


def lasted(length: timedelta) -> str:
    """Returns `42 s`, `12 min`, `3 h 5 min`, `2 d 4 h`: two units at the most."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    minutes, hours = seconds // 60, seconds // 3600
    if minutes < 120:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
