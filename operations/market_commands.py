"""Blacklists single markets, by a person or because a market was bad in every one of the last polls."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import connection, transaction

from collectors.polling import market_list
from exchanges.models import Exchange, Market, MarketBlacklistEntry
from operations import transitions

log = structlog.get_logger(__name__)

BAD_RUNS = 12  # two minutes at the usual interval: longer than any hiccup of one row
UNKNOWN_SYMBOL_RUNS = 3  # the exchange itself says that there is no such market
UNKNOWN_SYMBOL_REASONS = ("BadSymbol", "MarketClosed", "ContractUnavailable")
FIRST_PAUSE = timedelta(hours=1)
LONGEST_PAUSE = timedelta(hours=24)
MEMORY = timedelta(days=7)  # how long an earlier automatic entry makes the next one longer
AUTOMATIC = "quarantine"

# The newest runs that stored anything, and the symbols that were quarantined in every one of them.
PERSISTENTLY_BAD = """
SELECT e.id, bad.symbol, bad.reason
FROM exchanges_exchange AS e
CROSS JOIN LATERAL (
    SELECT q ->> 'symbol' AS symbol, min(q ->> 'reason') AS reason, count(DISTINCT r.id) AS runs,
           bool_and(split_part(q ->> 'reason', ':', 1) = ANY(%(unknown)s)) AS is_unknown,
           count(DISTINCT r.id) FILTER (WHERE r.place <= %(unknown_runs)s) AS newest_runs
    FROM (SELECT id, quarantine, row_number() OVER (ORDER BY started_at DESC) AS place FROM collectors_run
          WHERE exchange_id = e.id AND outcome = 'stored' AND started_at > %(since)s
          ORDER BY started_at DESC LIMIT %(bad_runs)s) AS r
    CROSS JOIN LATERAL jsonb_array_elements(r.quarantine) AS q
    GROUP BY 1
) AS bad
WHERE e.is_collected
  AND (bad.runs = %(bad_runs)s OR (bad.is_unknown AND bad.newest_runs = %(unknown_runs)s))
"""


def blacklist_market(
    exchange_id: str,
    symbol: str,
    *,
    by: str,
    now: datetime,
    reason: str = "",
    expires_at: datetime | None = None,
    origin: str = "",
    is_automatic: bool = False,
) -> bool:
    """Takes one market out of the collection; its silence is no gap. Returns False when it was out already."""
    with transaction.atomic():
        market = _locked(exchange_id, symbol)
        is_new = not market.blacklisted
        if is_new:
            MarketBlacklistEntry.objects.create(
                market=market, reason=reason, listed_at=now, listed_by=by, expires_at=expires_at,
                is_automatic=is_automatic,
            )  # fmt: skip
            _set(market, blacklisted=True, now=now)
        transitions.record(
            "blacklist market", by=by, now=now, exchange=exchange_id, market=symbol, why=reason, origin=origin,
            changed=is_new,
        )  # fmt: skip
    log.info("market_blacklisted", exchange=exchange_id, market=symbol, by=by, reason=reason)
    return is_new


def lift_market(exchange_id: str, symbol: str, *, by: str, now: datetime, origin: str = "", reason: str = "") -> bool:
    """Collects a blacklisted market again. Returns False when it was not blacklisted."""
    with transaction.atomic():
        market = _locked(exchange_id, symbol)
        before = _take_off(market, by=by, now=now) if market.blacklisted else {}
        transitions.record(
            "lift market", by=by, now=now, exchange=exchange_id, market=symbol, why=reason, origin=origin,
            before=before, changed=bool(before),
        )  # fmt: skip
    log.info("market_lifted", exchange=exchange_id, market=symbol, by=by)
    return bool(before)


def lift_expired_market_entry(entry_id: int, *, now: datetime) -> bool:
    """Lifts an entry whose time is over; returns False when an operator has changed it meanwhile."""
    with transaction.atomic():
        place = MarketBlacklistEntry.objects.values_list("market__exchange_id", "market__symbol").get(pk=entry_id)
        market = _locked(*place)
        if not MarketBlacklistEntry.objects.past_expiry(now).filter(pk=entry_id).exists():
            return False
        before = _take_off(market, by="expiry", now=now)
        transitions.record(
            "lift market", by="expiry", now=now, exchange=place[0], market=place[1], why="its time was over",
            before=before,
        )  # fmt: skip
    log.info("market_lifted", exchange=place[0], market=place[1], by="expiry")
    return True


def blacklist_bad_markets(now: datetime) -> list[str]:
    """Takes out, for a while, what was unusable in every one of the last polls; returns their names.

    The pause doubles each time within a week. Twice is harmless: what is out stays out.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            PERSISTENTLY_BAD,
            {
                "unknown": list(UNKNOWN_SYMBOL_REASONS),
                "unknown_runs": UNKNOWN_SYMBOL_RUNS,
                "bad_runs": BAD_RUNS,
                "since": now - timedelta(days=1),
            },
        )
        found = cursor.fetchall()
    collected = Market.objects.collected().filter(exchange_id__in={row[0] for row in found})
    known = set(collected.values_list("exchange_id", "symbol"))
    return [_quarantine(*row, now=now) for row in found if (row[0], row[1]) in known]


def _quarantine(exchange_id: str, symbol: str, reason: str, *, now: datetime) -> str:
    earlier = MarketBlacklistEntry.objects.filter(
        market__exchange_id=exchange_id, market__symbol=symbol, is_automatic=True, listed_at__gt=now - MEMORY
    ).count()
    blacklist_market(
        exchange_id,
        symbol,
        by=AUTOMATIC,
        now=now,
        reason=f"unusable in every one of the last polls: {reason}"[:500],
        expires_at=now + min(FIRST_PAUSE * 2 ** min(earlier, 10), LONGEST_PAUSE),
        is_automatic=True,
    )
    return f"{exchange_id}:{symbol}"


def _locked(exchange_id: str, symbol: str) -> Market:
    transitions.locked(exchange_id)
    market = Market.objects.filter(exchange_id=exchange_id, symbol=symbol).first()
    if market is None:
        raise transitions.NotFound(f"{exchange_id} has no market {symbol[:100]}")
    return market


def _take_off(market: Market, *, by: str, now: datetime) -> dict[str, Any]:
    running = MarketBlacklistEntry.objects.running().filter(market=market)
    entry = running.first()
    running.update(lifted_at=now, lifted_by=by)
    _set(market, blacklisted=False, now=now)
    if entry is None:
        return {"reason": "", "expires_at": None}
    return {"reason": entry.reason, "expires_at": entry.expires_at and entry.expires_at.isoformat()}


def _set(market: Market, *, blacklisted: bool, now: datetime) -> None:
    with market_list.changing(market.exchange_id, now=now):
        Market.objects.filter(pk=market.pk).update(blacklisted=blacklisted)


def blacklisted_markets() -> list[str]:
    rows = Market.objects.filter(blacklisted=True, exchange__in=Exchange.objects.known())
    return [f"{row[0]}:{row[1]}" for row in rows.order_by("exchange_id", "symbol").values_list("exchange_id", "symbol")]
