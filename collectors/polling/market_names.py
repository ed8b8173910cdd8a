"""Gives known markets their names of today: found by the exchange's ids, they keep their numbers and history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog
from django.db import connection

from collectors.rules import market_identity
from collectors.rules.market_identity import KnownMarket
from exchanges.models import Market
from feeds.base import Listing

log = structlog.get_logger(__name__)

RESPELL = """
UPDATE exchanges_market AS m SET venue_id = told.text
FROM unnest(%(ids)s::int[], %(texts)s::text[]) AS told (id, text) WHERE m.id = told.id
"""
# Two markets may take over each other's name: all are freed before the first is given.
FREE_NAMES = """
UPDATE exchanges_market SET symbol = chr(127) || id WHERE id = ANY(%(ids)s)
"""
RENAME = """
UPDATE exchanges_market AS m SET symbol = told.text
FROM unnest(%(ids)s::int[], %(texts)s::text[]) AS told (id, text) WHERE m.id = told.id
"""


def follow(exchange_id: str, listings: Sequence[Listing]) -> None:
    """Finds the known markets by their ids and gives them their names of today: a market keeps its number and history
    when it is called otherwise, and another market that takes over its name has its own."""
    known = [KnownMarket(*row) for row in Market.objects.filter(exchange_id=exchange_id).values_list(
        "id", "symbol", "kind", "venue_id", "active")]  # fmt: skip
    if ids := market_identity.respelled(known, listings):
        log.warning("ids_respelled", exchange=exchange_id, count=len(ids), first=next(iter(ids.values())))
        _execute_for(RESPELL, ids)
        known = [row._replace(venue_id=ids.get(row.id, row.venue_id)) for row in known]
    if names := market_identity.renames(known, listings):
        log.info("markets_renamed", exchange=exchange_id, count=len(names), first=next(iter(names.values())))
        _execute_for(FREE_NAMES, names)
        _execute_for(RENAME, names)


def _execute_for(statement: str, values: Mapping[int, str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"ids": list(values), "texts": list(values.values())})
