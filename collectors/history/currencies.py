"""Learns what collected prices tell of currencies, once a minute, and reads it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from collectors.models import CalmPair, CurrencyValue
from collectors.rules import currencies
from collectors.rules.currencies import KnownCalm, Pair, PairDay
from exchanges.models import Market

# What a market trades in a day, in its quote currency; worth what it costs now where only amounts are told.
TRADED = Coalesce(F("pipeline__quote_volume"), F("pipeline__base_volume") * F("pipeline__last"))
OLDEST_PRICE = timedelta(days=1)
OLDEST_DAY = timedelta(hours=1)
LEAST_EXCHANGES = 2  # a price that one exchange alone has may stand still because nobody trades there

# Prices of currencies that markets are priced in, in others of them.
PRICES = """
SELECT m.base, m.quote, percentile_cont(0.5) WITHIN GROUP (ORDER BY p.last)
FROM exchanges_market AS m JOIN collectors_pipeline AS p ON p.market_id = m.id
WHERE m.kind = 'spot' AND m.active AND p.last > 0 AND p.last < 'infinity' AND NOT p.frozen
  AND p.received_at > %(since)s
  AND m.base IN (SELECT quote FROM exchanges_market WHERE active) AND m.base <> m.quote
GROUP BY 1, 2
"""
QUOTES = "SELECT quote, count(*) FROM exchanges_market WHERE active AND kind = 'spot' GROUP BY 1"
DAYS = """
SELECT upper(m.base), upper(m.quote), percentile_cont(0.5) WITHIN GROUP (ORDER BY (p.high - p.low) / p.low),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY p.last)
FROM exchanges_market AS m JOIN collectors_pipeline AS p ON p.market_id = m.id
WHERE m.kind IN ('spot', 'swap') AND m.active AND p.low > 0 AND p.high >= p.low AND p.high < 'infinity' AND p.last > 0
  AND p.received_at > %(since)s
GROUP BY 1, 2 HAVING count(DISTINCT m.exchange_id) >= %(least)s
"""


def learn(now: datetime) -> None:
    """Learns values and calm pairs anew. Twice is harmless."""
    learn_values(now)
    learn_calm_pairs(now)


def learn_values(now: datetime) -> int:
    """Writes the value of each currency that prices lead to; returns how many. Others keep theirs from before."""
    with connection.cursor() as cursor:
        cursor.execute(PRICES, {"since": now - OLDEST_PRICE})
        prices = {(base, quote): float(price) for base, quote, price in cursor.fetchall()}
        cursor.execute(QUOTES)
        quotes = Counter(dict(cursor.fetchall()))
    if not quotes:
        return 0
    unit = min(quotes, key=lambda code: (-quotes[code], code))
    found = currencies.values(prices, unit)
    rows = [CurrencyValue(code=code, value=found[code], unit=unit, learned_at=now) for code in sorted(found)]
    with transaction.atomic():
        CurrencyValue.objects.exclude(unit=unit).delete()  # values in another unit cannot be compared with these
        CurrencyValue.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["code"], update_fields=["value", "unit", "learned_at"]
        )
    return len(rows)


def values(now: datetime) -> dict[str, float]:
    """Returns the value of each currency in one of them; learned now if never before."""
    known = dict(CurrencyValue.objects.values_list("code", "value"))
    if known or not learn_values(now):
        return known
    return dict(CurrencyValue.objects.values_list("code", "value"))


def by_size(markets: QuerySet[Market]) -> QuerySet[Market]:
    """Returns the markets that trade anything, the largest first, all sizes in one currency. Those whose currency no
    price converts come last."""
    value = Subquery(CurrencyValue.objects.filter(code=OuterRef("quote")).values("value")[:1])
    sized = markets.alias(traded=TRADED).filter(traded__gt=0).alias(size=F("traded") * value)
    return sized.order_by(F("size").desc(nulls_last=True), F("traded").desc(), "symbol")


def not_compared(exchange_id: str) -> list[str]:
    """Returns the currencies of an exchange's active markets that no collected price converts: nobody can say how large
    these markets are beside others. Empty where all are in one currency."""
    quotes = set(Market.objects.filter(exchange_id=exchange_id, active=True).values_list("quote", flat=True))
    if len(quotes) < 2:
        return []
    return sorted(quotes - set(CurrencyValue.objects.filter(code__in=quotes).values_list("code", flat=True)))


def learn_calm_pairs(now: datetime) -> None:
    """Notes pairs whose price hardly moved in a day, and forgets those whose did."""
    known = _calm_pairs()
    with connection.cursor() as cursor:
        cursor.execute(DAYS, {"since": now - OLDEST_DAY, "least": LEAST_EXCHANGES})
        days = {(base, quote): PairDay(float(share), float(price)) for base, quote, share, price in cursor.fetchall()}
    after = currencies.follow(known, days, now)
    rows = [
        CalmPair(base=base, quote=quote, calm_since=calm.calm_since, range_share=calm.day.range_share,
                 price=calm.day.price, learned_at=now)
        for (base, quote), calm in sorted(after.items())
        if known.get((base, quote)) != calm
    ]  # fmt: skip
    with transaction.atomic():
        for base, quote in known.keys() - after.keys():
            CalmPair.objects.filter(base=base, quote=quote).delete()
        CalmPair.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["base", "quote"],
            update_fields=["range_share", "price", "learned_at"],
        )  # fmt: skip


def pegged_pairs(now: datetime) -> frozenset[Pair]:
    """Returns pairs, in capitals, whose price is meant to stand still."""
    return frozenset(pair for pair, calm in _calm_pairs().items() if currencies.is_pegged(calm, now))


def _calm_pairs() -> dict[Pair, KnownCalm]:
    rows = CalmPair.objects.values_list("base", "quote", "calm_since", "range_share", "price")
    return {(base, quote): KnownCalm(since, PairDay(share, price)) for base, quote, since, share, price in rows}
