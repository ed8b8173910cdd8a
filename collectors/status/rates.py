"""Computes live rates: a pair's volume-weighted price over its fresh sources, without outliers. Pure but for `read`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from collectors.models import Pipeline
from collectors.rules.snapshot import SourcePrice
from collectors.status import workers
from collectors.status.dialects.json_rows import age_seconds, whole_second
from collectors.status.dialects.pairs import UNAVAILABLE_AFTER_SECONDS
from lib.clock import seconds_z

OUTLIER_SHARE = 0.05  # from the median of three or more: documented with the rate's `excluded`
FEWEST_TO_JUDGE = 3  # nobody can tell which one of two that differ is wrong


@dataclass(frozen=True, slots=True)
class Rate:
    """A pair's rate. Without a source young enough, `vwap` is None and `sources` is empty."""

    pair: str
    vwap: float | None
    stored_at: datetime | None
    sources: tuple[SourcePrice, ...]
    excluded: tuple[str, ...]


def rate_of(pair: str, prices: Iterable[SourcePrice], now: datetime, *, outlier_share: float) -> Rate:
    """Returns the rate at `now` of sources at most 30 minutes old."""
    known = sorted(prices, key=lambda price: price.exchange)
    usable = [price for price in known if _is_usable(price.stored_at, now)]
    kept, excluded = _without_outliers(usable, outlier_share)
    newest = max((price.stored_at for price in kept or known), default=None)
    return Rate(pair, vwap(kept), newest, tuple(kept), tuple(price.exchange for price in excluded))


def vwap(prices: Sequence[SourcePrice]) -> float | None:
    """Returns the weighted price; None when no source told a volume, as a plain mean would pass for what it is not."""
    weighted = [(price.price, price.volume) for price in prices if price.volume]
    total = sum(volume for _, volume in weighted)
    return sum(price * volume for price, volume in weighted) / total if total else None


def _without_outliers(prices: Sequence[SourcePrice], share: float) -> tuple[list[SourcePrice], list[SourcePrice]]:
    if len(prices) < FEWEST_TO_JUDGE:
        return list(prices), []
    middle = median(price.price for price in prices)
    outliers = [price for price in prices if abs(price.price - middle) > share * middle]
    return [price for price in prices if price not in outliers], outliers


def _is_usable(moment: datetime, now: datetime) -> bool:
    age = _age(moment, now)
    return age is not None and age <= UNAVAILABLE_AFTER_SECONDS


def _age(moment: datetime, now: datetime) -> int | None:
    return age_seconds(whole_second(moment), whole_second(now))


def render(rates: Sequence[Rate], now: datetime, *, max_age_seconds: int) -> dict[str, Any]:
    return {"rates": [_entry(rate, now, max_age_seconds) for rate in rates]}


def _entry(rate: Rate, now: datetime, max_age_seconds: int) -> dict[str, Any]:
    freshness = None if rate.stored_at is None else _age(rate.stored_at, now)
    entry: dict[str, Any] = {
        "pair": rate.pair,
        "vwap": rate.vwap,
        "timestamp": seconds_z(rate.stored_at) if rate.stored_at else None,
        "sources": [
            {"exchange": source.exchange, "price": source.price, "volume": source.volume} for source in rate.sources
        ],
        "freshness_seconds": freshness,
    }
    if freshness is None or freshness > max_age_seconds:
        entry["stale"] = True
    if rate.excluded:
        entry["excluded"] = list(rate.excluded)
    return entry


def read(markets_of_pairs: Mapping[str, Sequence[int]], now: datetime) -> list[Rate]:
    """Returns the pairs' rates, in their order. One query. Raises CollectorAbsent."""
    wanted = [market for markets in markets_of_pairs.values() for market in markets]
    with workers.reading():
        prices = _prices(wanted)
    share = OUTLIER_SHARE
    return [
        rate_of(pair, _one_per_exchange(markets, prices), now, outlier_share=share)
        for pair, markets in markets_of_pairs.items()
    ]


Found = dict[int, tuple[bool, SourcePrice]]


def _prices(markets: Sequence[int]) -> Found:
    """Returns by market whether it is a spot market, and its price: the last trade, else the middle of the book."""
    rows = Pipeline.objects.live().filter(market__in=markets, received_at__isnull=False)
    columns = ("market_id", "market__exchange_id", "market__kind", "received_at", "last", "bid", "ask", "base_volume")
    found: Found = {}
    for market, exchange, kind, received_at, last, bid, ask, volume in rows.values_list(*columns):
        price = last if last is not None else (bid + ask) / 2 if bid is not None and ask is not None else None
        if price is not None:
            found[market] = (kind == "spot", SourcePrice(exchange, price, volume, received_at))
    return found


def _one_per_exchange(markets: Sequence[int], prices: Found) -> list[SourcePrice]:
    """Returns one price of each exchange for a pair: its spot market's if it has one, else its newest."""
    known = [prices[market] for market in markets if market in prices]
    best: dict[str, tuple[bool, SourcePrice]] = {}
    for is_spot, price in known:
        rival = best.get(price.exchange)
        if rival is None or (is_spot, price.stored_at) > (rival[0], rival[1].stored_at):
            best[price.exchange] = (is_spot, price)
    return [price for _, price in best.values()]
