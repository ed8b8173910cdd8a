"""The page of all gaps: which are open, why, how far each has been filled, and when the backfill may be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from board import gap_rows, links, pages
from collectors.backfill.answers import MINUTE, PAGE
from collectors.models import TO_FILL_SQL, Gap, GapCause, GapState
from exchanges.models import Exchange
from lib import clock

PER_PAGE = 50  # rows, of which one may be a whole outage
MOST_SKIPPED = 10_000  # deeper than this an OFFSET costs seconds, and a filter finds the row sooner
DAY = timedelta(hours=24)

# Everything that is still to be asked for, and what a day brought, by exchange.
PROGRESS = f"""
SELECT m.exchange_id, count(*) FILTER (WHERE g.state IN ({TO_FILL_SQL})),
       coalesce(sum(greatest(1, ceil(extract(epoch FROM coalesce(g.ended_at, %(now)s)
                                             - coalesce(g.filled_until, g.started_at)) / {PAGE * MINUTE})))
                FILTER (WHERE g.state IN ({TO_FILL_SQL})), 0)::bigint,
       count(*) FILTER (WHERE g.state NOT IN ({TO_FILL_SQL})), coalesce(sum(g.filled_count), 0),
       max(b.paused_until) FILTER (WHERE b.paused_until > %(now)s)
FROM collectors_gap AS g JOIN exchanges_market AS m ON m.id = g.pipeline_id
JOIN exchanges_exchange AS e ON e.id = m.exchange_id AND e.removed_at IS NULL
LEFT JOIN collectors_backfill AS b ON b.exchange_id = e.id
WHERE g.state IN ({TO_FILL_SQL}) OR g.started_at > %(since)s
GROUP BY 1 ORDER BY 2 DESC, 1
"""


@dataclass(frozen=True, slots=True)
class GapFilter:
    """The filter of the page; an unknown word narrows nothing."""

    state: str = ""
    cause: str = ""
    exchange: str = ""
    lasting: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> GapFilter:
        return cls(
            state=given.get("state", "") if given.get("state") in GapState.values else "",
            cause=given.get("cause", "") if given.get("cause") in GapCause.values else "",
            exchange=given.get("exchange", "")[:64],
            lasting=given.get("lasting", "") if given.get("lasting") in ("yes", "no") else "",
        )

    def narrow(self, gaps: QuerySet[Gap]) -> QuerySet[Gap]:
        if self.state:
            gaps = gaps.filter(state=self.state)
        if self.cause:
            gaps = gaps.filter(cause=self.cause)
        if self.exchange:
            gaps = gaps.filter(pipeline__market__exchange_id=self.exchange)
        if self.lasting:
            gaps = gaps.filter(ended_at__isnull=self.lasting == "yes")
        return gaps

    def query(self, skip: int) -> str:
        chosen = {"state": self.state, "cause": self.cause, "exchange": self.exchange, "lasting": self.lasting}
        return urlencode({name: word for name, word in chosen.items() if word} | ({"skip": skip} if skip else {}))


def show(request: HttpRequest) -> HttpResponse:
    """Shows the page, with two queries."""
    now, wanted = clock.now(), GapFilter.of(request.GET.dict())
    skip = skipped(request.GET.get("skip", ""))
    known = Gap.objects.filter(pipeline__market__exchange__removed_at__isnull=True)
    found = wanted.narrow(known).select_related("pipeline__market").order_by("-started_at", "-id")
    read = gap_rows.rows(found[skip : skip + gap_rows.MOST_READ], now)
    rows, used = gap_rows.grouped(read, now=now, most=PER_PAGE)
    is_more = used < len(read) or len(read) == gap_rows.MOST_READ
    context = {
        "title": "Gaps",
        "wanted": wanted,
        "states": GapState.values,
        "causes": GapCause.values,
        "exchanges": list(Exchange.objects.known().order_by("pk").values_list("pk", flat=True)),
        "rows": rows,
        "skip": skip,
        "newest": wanted.query(0),
        "older": wanted.query(skip + used) if is_more and skip + used <= MOST_SKIPPED else "",
    }
    return pages.show(request, "board/gaps.html", context)


def skipped(text: str) -> int:
    return min(int(text), MOST_SKIPPED) if text.isdecimal() and len(text) < 6 else 0


def show_progress(request: HttpRequest) -> HttpResponse:
    """Shows the progress as a part of its own: with 100,000 gaps a day it takes longer than the rest of the page."""
    context = {"progress": progress(clock.now()), "budget": settings.BACKFILL_REQUESTS_PER_MINUTE}
    return render(request, "board/gaps_progress.html", context)


def progress(now: datetime) -> list[dict[str, Any]]:
    """Returns a row for each exchange with gaps of the last day, or older ones to fill. One query."""
    with connection.cursor() as cursor:
        cursor.execute(PROGRESS, {"now": now, "since": now - DAY})
        rows = cursor.fetchall()
    return [
        {
            "exchange": exchange,
            "url": links.exchange(exchange),
            "waiting": waiting,
            "done": done,
            "percent": round(100 * done / (done + waiting)),
            "rows": filled,
            "paused_until": paused_until if waiting else None,
            "forecast": forecast(int(requests), settings.BACKFILL_REQUESTS_PER_MINUTE),
        }
        for exchange, waiting, requests, done, filled, paused_until in rows
    ]


def forecast(requests: int, per_minute: int) -> str:
    """Returns in words how long the rest takes at the allowed pace; exchanges are filled side by side."""
    if requests == 0:
        return "nothing left to ask"
    if per_minute <= 0:
        return "backfill is off"
    minutes = ceil(requests / per_minute)
    return f"{requests:,} request{'' if requests == 1 else 's'}, about {gap_rows.lasted(timedelta(minutes=minutes))}"
