"""Notices in each answer that a halted market is traded again, an hour before the exchange's list would say so.

Halted markets stay collected: a row that the exchange gives is stored. Dormant ones, which were halted ever since we
know them, are only looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from collectors.models import Pipeline
from collectors.polling import market_list
from collectors.polling.market_list import KnownMarkets
from collectors.rules.market_state import Traded, has_traded
from collectors.rules.quote_checks import QuoteRow
from feeds.base import Poll, Quote

# What dormant markets' rows said when they came last: they have no pipeline to compare with.
_dormant: Final[dict[str, tuple[int, dict[int, Traded]]]] = {}


def traded_again(exchange_id: str, rows: Sequence[QuoteRow]) -> list[int]:
    """Returns the halted markets among rows about to be stored that are traded again. No query where none is halted."""
    known = market_list.last_known(exchange_id)
    halted = [row for row in rows if row.pipeline_id in known.halted] if known is not None and known.halted else []
    if not halted:
        return []
    before = {
        pipeline.market_id: pipeline
        for pipeline in Pipeline.objects.filter(pk__in=[row.pipeline_id for row in halted]).select_related("market")
    }
    return [row.pipeline_id for row in halted if _is_back(before.get(row.pipeline_id), row.quote)]


def _is_back(pipeline: Pipeline | None, quote: Quote) -> bool:
    """Says whether it has traded since its last row in the halt, or comes again after rows had stopped coming."""
    if pipeline is None or pipeline.market.halted_at is None:
        return False
    if pipeline.received_at is None or pipeline.received_at <= pipeline.market.halted_at:
        return pipeline.gap_open
    return has_traded(Traded(pipeline.last, pipeline.base_volume), _of(quote))


def awake(exchange_id: str, known: KnownMarkets, poll: Poll) -> list[int]:
    """Returns the dormant markets of an answer that are traded: by a second look, or by coming after they did not."""
    if not known.dormant or poll.missing:  # of half an answer nobody knows what came back
        return []
    found = {known.dormant[quote.symbol]: _of(quote) for quote in poll.quotes if quote.symbol in known.dormant}
    version, seen = _dormant.get(exchange_id, (None, {}))
    _dormant[exchange_id] = (known.version, found)
    if version != known.version:
        return []  # the first answer by this list: what is in it may be years old
    return [pk for pk, traded in found.items() if pk not in seen or has_traded(seen[pk], traded)]


def wanted(known: KnownMarkets, *, in_bulk: bool) -> Collection[str]:
    """Returns the symbols to ask for: dormant ones too where they cost no request of their own."""
    return [*known.collected, *known.dormant] if in_bulk and known.dormant else known.collected.keys()


def _of(quote: Quote) -> Traded:
    return Traded(quote.last, quote.base_volume)


def symbols_to_push(known: Mapping[str, int], halted: frozenset[int]) -> list[str]:
    """Returns what is subscribed to: an exchange may refuse a halted market, and with it its whole group."""
    return [symbol for symbol, pk in known.items() if pk not in halted] or list(known)
