"""Which markets an exchange has: registered when they are listed, deactivated when they are gone, never deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import redis
from django.db import connection, transaction

from collectors.lease import Permit
from collectors.models import Worker
from exchanges.feeds.base import BadReply, Capabilities, Listing
from exchanges.models import Exchange, Market
from exchanges.sources import source_label
from marketmon.lib import valkey

LEAST_SHARE_OF_KNOWN = 0.5  # a list half as long as the last one is a broken answer, not a mass delisting
_known: Final[dict[str, tuple[int, Mapping[str, int]]]] = {}


class ValkeyMarketCache:
    """The feeds' parsed market lists, shared by all processes; without Valkey each process downloads its own."""

    def load(self, key: str) -> bytes | None:
        try:
            held = valkey.client().get(f"marketmon:markets:{key}")
        except redis.RedisError:
            return None
        return held if isinstance(held, bytes) else None

    def store(self, key: str, value: bytes, *, ttl_seconds: int) -> None:
        try:
            valkey.client().set(f"marketmon:markets:{key}", value, ex=ttl_seconds)
        except redis.RedisError:
            return


def pipelines_of(exchange_id: str, version: int) -> Mapping[str, int]:
    """Symbol to pipeline number of all collected markets; asked from the database once per version and process."""
    held = _known.get(exchange_id)
    if held is None or held[0] != version:
        collected = Market.objects.collected().filter(exchange_id=exchange_id)
        held = (version, dict(collected.values_list("symbol", "id")))
        _known[exchange_id] = held
    return held[1]


def register(permit: Permit, listings: Sequence[Listing], capabilities: Capabilities, *, now: datetime) -> int:
    """Stores the venue's market list and gives the new version. Raises BadReply when the list cannot be whole."""
    exchange = permit.exchange
    active_before = Market.objects.filter(exchange=exchange, active=True).count()
    active_count = sum(listing.active for listing in listings)
    if active_count == 0 or active_count < active_before * LEAST_SHARE_OF_KNOWN:
        raise BadReply(
            f"{exchange.id} listed {active_count} active markets, {active_before} are known; kept the old list"
        )
    with transaction.atomic():
        # Two processes that registered at once would deadlock in the upsert; the row lock queues them.
        Worker.objects.select_for_update().get(pk=exchange.id)
        _upsert(exchange.id, listings, now)
        _deactivate_missing(exchange.id, listings, now)
        _add_pipelines(exchange)
        Exchange.objects.filter(pk=exchange.id).update(
            name=capabilities.name, capabilities=dict(capabilities.has), timeframes=list(capabilities.timeframes)
        )
        return _bump_version(exchange.id, now)


def touch_version(exchange_id: str) -> None:
    """Makes every process read the collected markets anew, after an operator changed which they are."""
    with connection.cursor() as cursor:
        cursor.execute(BUMP, {"exchange": exchange_id, "loaded_at": None})


def _upsert(exchange_id: str, listings: Sequence[Listing], now: datetime) -> None:
    kinds = {listing.kind for listing in listings}
    markets = [
        Market(
            exchange_id=exchange_id,
            symbol=listing.symbol,
            base=listing.base,
            quote=listing.quote,
            kind=listing.kind,
            venue_id=listing.venue_id,
            source=source_label(exchange_id, listing.kind, kinds),
            active=listing.active,
            taker_fee=listing.taker_fee,
            listed_at=now,
            delisted_at=None if listing.active else now,
        )
        for listing in {listing.symbol: listing for listing in listings}.values()
    ]
    Market.objects.bulk_create(
        markets,
        update_conflicts=True,
        unique_fields=["exchange", "symbol"],
        update_fields=["base", "quote", "kind", "venue_id", "active", "taker_fee", "delisted_at"],
        batch_size=2000,
    )


def _deactivate_missing(exchange_id: str, listings: Sequence[Listing], now: datetime) -> None:
    listed = {listing.symbol for listing in listings}
    known = Market.objects.filter(exchange_id=exchange_id, active=True)
    missing = [pk for pk, symbol in known.values_list("id", "symbol") if symbol not in listed]
    Market.objects.filter(pk__in=missing).update(active=False, delisted_at=now)
    with connection.cursor() as cursor:
        cursor.execute(END_GAPS_OF_DELISTED, {"exchange": exchange_id, "now": now})


def _add_pipelines(exchange: Exchange) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO collectors_pipeline (market_id, expected_seconds, gaps_24h, gap_open) "
            "SELECT id, %s, 0, false FROM exchanges_market WHERE exchange_id = %s ON CONFLICT DO NOTHING",
            [exchange.poll_interval_seconds, exchange.id],
        )


def _bump_version(exchange_id: str, now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(BUMP, {"exchange": exchange_id, "loaded_at": now})
        return int(cursor.fetchone()[0])


BUMP = """
UPDATE collectors_worker SET
    markets_version = markets_version + 1,
    markets_loaded_at = COALESCE(%(loaded_at)s, markets_loaded_at),
    symbols_tracked = (SELECT count(*) FROM exchanges_market
                       WHERE exchange_id = %(exchange)s AND active AND NOT blacklisted),
    stored_count = 0
WHERE exchange_id = %(exchange)s
RETURNING markets_version
"""

END_GAPS_OF_DELISTED = """
WITH silent AS (
    UPDATE collectors_pipeline AS p SET gap_open = false
    FROM exchanges_market AS m
    WHERE m.id = p.market_id AND m.exchange_id = %(exchange)s AND NOT m.active AND p.gap_open
    RETURNING p.market_id
)
UPDATE collectors_gap AS g
SET ended_at = %(now)s, cause = 'delisted', evidence = 'the exchange no longer lists this market'
FROM silent WHERE g.pipeline_id = silent.market_id AND g.ended_at IS NULL
"""
