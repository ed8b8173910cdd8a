"""Previews what stopping an exchange would take away, before it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from collectors.models import Pipeline
from exchanges.models import Exchange
from operations import transitions

SHOWN_PAIRS = 20

# Pairs that are collected from these and from no other collected exchange.
LAST_SOURCES = """
SELECT m.base || '/' || m.quote FROM exchanges_market AS m
WHERE m.exchange_id = ANY(%(exchanges)s) AND m.is_collected
GROUP BY m.base, m.quote
HAVING NOT EXISTS (
    SELECT FROM exchanges_market AS other JOIN exchanges_exchange AS e ON e.id = other.exchange_id
    WHERE other.base = m.base AND other.quote = m.quote AND other.exchange_id <> ALL(%(exchanges)s)
      AND other.is_collected AND e.is_collected
)
ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Preview:
    """The effect of a stop: `lost_pairs` are the first of `lost_pair_count` pairs that would have no source left."""

    exchange_id: str
    is_collected: bool
    pipeline_count: int
    lost_pair_count: int
    lost_pairs: tuple[str, ...]

    def sentences(self) -> list[str]:
        if not self.is_collected:
            return [f"{self.exchange_id} is not collected now: nothing would stop."]
        said = [f"{self.pipeline_count} markets of {self.exchange_id} would no longer be collected."]
        if not self.lost_pair_count:
            return [*said, "Every pair has another source."]
        more = ", …" if self.lost_pair_count > len(self.lost_pairs) else ""
        return [
            *said,
            f"{self.lost_pair_count} pairs would lose their last source: {', '.join(self.lost_pairs)}{more}.",
        ]


def preview_stop(exchange_id: str) -> Preview:
    """Returns what a blacklist, a disable or a removal would stop. Three queries; changes nothing."""
    return preview_stop_of([exchange_id])


def preview_stop_of(exchange_ids: Sequence[str]) -> Preview:
    """Returns what stopping several stops: together they may be the last sources of pairs that none loses alone."""
    known = Exchange.objects.known().filter(pk__in=exchange_ids)
    states = {exchange.id: exchange.is_collected for exchange in known}
    missing = [each for each in exchange_ids if each not in states]
    if missing:
        raise transitions.NotFound(f"there is no exchange {missing[0]}")
    named = ", ".join(exchange_ids)
    collected = [each for each, is_collected in states.items() if is_collected]
    if not collected:
        return Preview(named, False, 0, 0, ())
    with connection.cursor() as cursor:
        cursor.execute(LAST_SOURCES, {"exchanges": collected})
        lost = [row[0] for row in cursor.fetchall()]
    count = Pipeline.objects.live().filter(market__exchange_id__in=collected).count()
    return Preview(named, True, count, len(lost), tuple(lost[:SHOWN_PAIRS]))
