"""Reads the pipelines API's small answers: which sources there are, and what is left of a caller's plan."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import Any

from access import meter
from access.authentication import Caller
from access.gate import Visit
from access.models import Endpoint
from collectors.history import names
from collectors.status import workers
from exchanges.models import Exchange, Market

KIND_WORDS = {"spot": "Spot", "futures": "Futures", "options": "Options"}


def read() -> list[dict[str, Any]]:
    """Returns the sources with collected markets, sorted. Three queries. Raises CollectorAbsent."""
    with workers.reading():
        known = names.current()
        exchanges = Exchange.objects.in_bulk()
        labels = list(Market.objects.collected().order_by().values_list("source", "exchange_id").distinct())
    venues: dict[str, list[Exchange]] = {}
    for source, exchange_id in sorted(labels):
        venues.setdefault(source, []).append(exchanges[exchange_id])
    return [
        {
            "source": source,
            "display_name": display_name(source, venues[source][0].name),
            "symbols": [symbol for _, symbol in rows],
            "intervals": list(dict.fromkeys(frame for venue in venues[source] for frame in venue.timeframes)),
        }
        for source, rows in groupby(known.pipelines.names.names, key=itemgetter(0))
        if source in venues
    ]


def display_name(source: str, exchange_name: str) -> str:
    """Returns a name such as `Binance Spot`; the exchange's own name where its source names no kind."""
    kind = KIND_WORDS.get(source.rpartition("_")[2]) if "_" in source else None
    return f"{exchange_name} {kind}" if kind else exchange_name


def limits(caller: Caller, visit: Visit) -> dict[str, Any]:
    visit.balance = visit.balance or meter.balance(caller.key_id, visit.now)
    used, limit = visit.balance.credits_used, caller.monthly_credits
    opened = caller.endpoints & caller.scopes if caller.scopes else caller.endpoints
    return {
        "plan": caller.tier,
        "credits": {"used": used, "limit": limit, "remaining": None if limit is None else max(0, limit - used)},
        "rate_limits": {
            "requests_per_minute": caller.requests_per_minute,
            "requests_per_hour": caller.requests_per_hour,
            "current_minute": visit.windows.used("minute"),
            "current_hour": visit.windows.used("hour"),
        },
        "features": {endpoint: endpoint in opened for endpoint in Endpoint.values},
        "max_rows_per_request": caller.max_rows,
    }
