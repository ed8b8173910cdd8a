"""Reads the prices of a pair's sources, and renders live rates; `rules/pair_rates` says which prices make one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from collectors.models import Gap, Pipeline
from collectors.rules import pair_rates
from collectors.rules.pair_rates import Rate, RatePolicy
from collectors.rules.quality import MOST_GAPS_NAMED, Quality
from collectors.rules.snapshot import OldAnswer, SourcePrice
from collectors.status import ages, workers
from lib.clock import FUTURE_SECONDS, seconds_z

# Other kinds have a price of their own: an option, a chance, a contract of some later day.
KINDS = {"spot": "spot", "swap": "perpetual"}
COLUMNS = (
    "market_id", "market__exchange_id", "market__kind", "received_at", "last", "bid", "ask", "base_volume", "frozen",
    "changed_at", "market__halted_at", "unconfirmed_count",
)  # fmt: skip


def read(
    markets_of_pairs: Mapping[str, Sequence[int]], now: datetime, *, max_age_seconds: int, kind: str = ""
) -> list[Rate]:
    """Returns the pairs' rates, in their order; of one kind of market where it is named. Three queries at most. Raises
    CollectorAbsent."""
    wanted = [market for markets in markets_of_pairs.values() for market in markets]
    with workers.reading():
        prices = _prices(wanted, kind, now)
    policy = RatePolicy(max_age_seconds, conflict_share=settings.RATE_CONFLICT_SHARE)
    return [
        pair_rates.rate_of(pair, _one_per_exchange(markets, prices), now, policy=policy)
        for pair, markets in markets_of_pairs.items()
    ]


def quality_of(found: Sequence[Rate], markets_of_pairs: Mapping[str, Sequence[int]]) -> Quality:
    """Returns the quality of the rates together. It counts sources: `expected` are those that have a price, `stored`
    those whose price is used. One query."""
    used = sum(len(rate.sources) for rate in found)
    excluded = [each for rate in found for each in rate.excluded]
    wanted = [market for markets in markets_of_pairs.values() for market in markets]
    gaps = list(Gap.objects.filter(pipeline__in=wanted, ended_at=None).order_by("id").values_list("id", "cause"))
    causes = Counter(cause for _, cause in gaps)
    return Quality(
        expected=used + len(excluded),
        stored=used,
        filled=0,
        origins={"live": used, "candle": 0, "trade": 0},
        has_rows=used > 0,
        open_gap_ids=tuple(number for number, _ in gaps[:MOST_GAPS_NAMED]),
        worst_cause=max(causes, key=lambda cause: (causes[cause], cause)) if causes else None,
        is_frozen=any(each.reason == pair_rates.FROZEN for each in excluded),
    )


def _prices(markets: Sequence[int], kind: str, now: datetime) -> dict[int, SourcePrice]:
    """Returns by market its price: the last trade, else the middle of the book. One of the future is none."""
    kinds = [word for word, name in KINDS.items() if not kind or name == kind]
    future = now + timedelta(seconds=FUTURE_SECONDS)
    rows = Pipeline.objects.live().filter(market__in=markets, market__kind__in=kinds, received_at__lte=future)
    old = ages.read()
    found = (_price(old, row) for row in rows.values_list(*COLUMNS))
    return {market: price for market, price in found if price is not None}


def _price(old: Mapping[ages.Source, OldAnswer], row: Sequence[Any]) -> tuple[int, SourcePrice | None]:
    (market, exchange, kind, received_at, last, bid, ask, volume, is_frozen, changed_at, halted_at, unconfirmed) = row
    price = last if last is not None else (bid + ask) / 2 if bid is not None and ask is not None else None
    if price is None:
        return market, None
    answer = old.get((exchange, kind))
    fault = pair_rates.fault_of(
        is_halted=halted_at is not None, is_old=answer is not None, is_frozen=is_frozen, is_unconfirmed=unconfirmed > 0
    )
    told = [received_at, *([answer.made_at] if answer else []), *([changed_at] if is_frozen and changed_at else [])]
    return market, SourcePrice(exchange, price, volume, min(told), KINDS[kind], fault)


def _one_per_exchange(markets: Sequence[int], prices: Mapping[int, SourcePrice]) -> list[SourcePrice]:
    """Returns one price of each exchange for a pair: a sound one if there is any, of a spot market if it has one, the
    newest."""
    best: dict[str, SourcePrice] = {}
    for price in (prices[market] for market in markets if market in prices):
        rival = best.get(price.exchange)
        if rival is None or _rank(price) > _rank(rival):
            best[price.exchange] = price
    return list(best.values())


def _rank(price: SourcePrice) -> tuple[bool, bool, datetime]:
    return not price.fault, price.kind == "spot", price.stored_at


# --- as the answer ------------------------------------------------------------------------------------------------


def render(
    found: Sequence[Rate], now: datetime, *, max_age_seconds: int, quality: Quality, asked_for: int
) -> dict[str, Any]:
    """Returns the answer's body; it says `capped` where a plan gives fewer pairs than were asked for."""
    body = {"rates": [_entry(rate, now, max_age_seconds) for rate in found], "quality": quality.body()}
    if len(found) < asked_for:
        body["capped"] = {"pairs": len(found), "asked_for": asked_for}
    return body


def _entry(rate: Rate, now: datetime, max_age_seconds: int) -> dict[str, Any]:
    freshness = _seconds_since(rate.stored_at, now)
    entry: dict[str, Any] = {
        "pair": rate.pair,
        "vwap": rate.vwap,
        "timestamp": seconds_z(rate.stored_at) if rate.stored_at else None,
        "sources": [_source(source, now) for source in rate.sources],
        "freshness_seconds": freshness,
    }
    if freshness is None or freshness > max_age_seconds:
        entry["stale"] = True
    if rate.is_conflict:
        entry["conflict"] = True
    if rate.excluded:
        entry["excluded"] = [each.exchange for each in rate.excluded]
        entry["excluded_details"] = [
            {"exchange": each.exchange, "reason": each.reason, "age_seconds": each.age_seconds}
            for each in rate.excluded
        ]
    return entry


def _source(source: SourcePrice, now: datetime) -> dict[str, Any]:
    return {
        "exchange": source.exchange,
        "price": source.price,
        "volume": source.volume,
        "timestamp": seconds_z(source.stored_at),
        "age_seconds": pair_rates.age_of(source, now),
        "kind": source.kind,
    }


def _seconds_since(moment: datetime | None, now: datetime) -> int | None:
    return None if moment is None else max(0, int(now.timestamp() // 1) - int(moment.timestamp() // 1))
