"""Hands the signs of one moment to the rules that find incidents, and reads the watched pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from django.db import connection

from exchanges.models import Transport
from incidents.models import AlertRoute
from incidents.objectives import counting
from incidents.objectives.models import Objective
from incidents.rules.facts import BudgetSigns, ExchangeSigns, FindableSigns, GapSigns, PairSigns
from incidents.signs import health
from incidents.signs.reading import AllSigns, SourceReading

BUDGETS_LOOKED_AT = timedelta(minutes=10)  # once a minute: what is older says nothing of now

# The sources of the watched pairs, found by the index on base and quote.
PAIRS = """
SELECT m.base, m.quote,
       array_agg(DISTINCT m.exchange_id) FILTER (WHERE p.gap_open),
       min(coalesce(p.received_at, p.resumed_at, m.listed_at)) FILTER (WHERE p.gap_open),
       count(DISTINCT m.exchange_id) FILTER (WHERE NOT p.gap_open AND p.received_at IS NOT NULL)
FROM unnest(%(bases)s::text[], %(quotes)s::text[]) AS w (base, quote)
JOIN exchanges_market AS m ON m.base = w.base AND m.quote = w.quote AND m.is_collected AND m.halted_at IS NULL
JOIN exchanges_exchange AS e ON e.id = m.exchange_id AND e.is_collected
JOIN collectors_pipeline AS p ON p.market_id = m.id
GROUP BY 1, 2 HAVING bool_or(p.gap_open)
"""


def of(signs: AllSigns, *, is_starting: bool = False) -> FindableSigns:
    """Returns the signs as the rules want them. Two queries, and another one while pairs are watched."""
    return FindableSigns(
        exchanges=[_of_source(source) for source in signs.sources],
        alarms=signs.alarms,
        gaps=[
            GapSigns(row.exchange, row.cause, row.lasting, row.lasting_since)
            for row in signs.gaps
            if row.lasting and row.lasting_since is not None
        ],
        pairs=list(_pairs(watched_pairs())),
        budgets=list(_budgets(signs.taken_at)),
        is_off=bool(signs.absence),
        is_starting=is_starting,
        is_beat_late=health.is_beat_late(signs.seen, signs.taken_at),
        is_valkey_away=bool(signs.health.valkey_refusal) or any(depth is None for _, depth in signs.health.queues),
    )


def _of_source(source: SourceReading) -> ExchangeSigns:
    is_short = source.is_listened_to and source.in_use.word != Transport.STREAM
    return ExchangeSigns(
        condition=source.condition,
        address=source.address,
        is_streamed=source.in_use.word == Transport.STREAM,
        is_stream_wanted=source.is_listened_to,
        stream_short_since=source.in_use.since if is_short else None,
        stream_why=source.in_use.why if is_short else "",
        stored_at=source.worker.stored_at,
        markets=source.signs.markets,
        fresh=source.signs.fresh,
    )


def watched_pairs() -> list[str]:
    """Returns the pairs that any route watches, such as `BTC/USDT`."""
    lists = AlertRoute.objects.filter(is_enabled=True).exclude(pairs=[]).values_list("pairs", flat=True)
    return sorted({pair for pairs in lists for pair in pairs})


def _pairs(watched: Sequence[str]) -> Iterator[PairSigns]:
    if not watched:
        return
    bases, quotes = zip(*(pair.split("/", 1) for pair in watched), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(PAIRS, {"bases": list(bases), "quotes": list(quotes)})
        found: list[tuple[str, str, list[str], datetime, int]] = cursor.fetchall()
    for base, quote, exchanges, since, fresh in found:
        yield PairSigns(f"{base}/{quote}", tuple(sorted(exchanges)), since, fresh)


def _budgets(now: datetime) -> Iterator[BudgetSigns]:
    for row in Objective.objects.filter(is_enabled=True, looked_at__isnull=False).order_by("pk"):
        assert row.looked_at is not None
        account, is_known = counting.account_of(row), now - row.looked_at < BUDGETS_LOOKED_AT
        left, whole = account.left(row.target), account.budget(row.target)
        yield BudgetSigns(row.pk, row.name, row.burn, tuple(row.burning), left, whole, is_known)
