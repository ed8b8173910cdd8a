"""Sources of a collection, as a list of small functions. Each notes what it found and returns what failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol, TypeVar

import orjson
from django.conf import settings
from django.db import connection

from collectors.models import Pipeline
from collectors.polling import poll
from exchanges.models import Exchange
from feeds.base import FeedError
from lib.clock import FUTURE_SECONDS
from metrics import analysis, candles, dialect, grids
from metrics.exchange_calls import NotNow, callable_worker, open_line
from metrics.models import Balance, Collection, Grid, GridReading, Series, Verdict

T = TypeVar("T")
Answer = tuple[T | None, str]  # and the reason where there is none
STORED = Decimal("1e-18")
_threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="metrics")


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure of one source: what it did not get, and why."""

    source: str
    exchange: str
    reason: str

    def as_dict(self) -> dict[str, str]:
        return {"source": self.source, "exchange": self.exchange, "reason": self.reason[:500]}


@dataclass(slots=True)
class CollectedData:
    """The rows that a run found, not stored yet. Market data goes from table to table and is not here."""

    balances: list[Balance] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    readings: list[GridReading] = field(default_factory=list)


class Seconds(Protocol):
    exchange_seconds: float

    @property
    def left(self) -> float: ...


class MetricsSource(Protocol):
    def __call__(self, found: CollectedData, *, now: datetime, budget: Seconds) -> list[Failure]: ...


def market_data(found: CollectedData, *, now: datetime, budget: Seconds) -> list[Failure]:
    """Polls exchanges whose pipelines are stale once, through the one write path; the rest is stored already."""
    answers = per_exchange(stale_exchanges(now), lambda exchange: _poll(exchange, now), budget)
    return [Failure("market_data", exchange, reason) for exchange, (_, reason) in answers.items() if reason]


def stale_exchanges(now: datetime) -> list[Exchange]:
    """Returns the collected exchanges without a single fresh pipeline."""
    fresh_since = now - timedelta(seconds=settings.METRICS_FRESH_SECONDS)
    fresh_until = now + timedelta(seconds=FUTURE_SECONDS)
    fresh = Pipeline.objects.filter(received_at__range=(fresh_since, fresh_until)).values("market__exchange")
    return list(Exchange.objects.collected().exclude(pk__in=fresh))


def account_balances(found: CollectedData, *, now: datetime, budget: Seconds) -> list[Failure]:
    """Fetches the balances of every exchange that we have credentials for."""
    exchanges = [each for each in Exchange.objects.collected() if each.feed_spec().credentials]
    seconds = min(budget.exchange_seconds, budget.left)
    answers = per_exchange(exchanges, lambda exchange: _balances(exchange, now, seconds), budget)
    for balances, _ in answers.values():
        found.balances += balances or []
    return [Failure("account_balances", exchange, reason) for exchange, (_, reason) in answers.items() if reason]


def regime_analysis(found: CollectedData, *, now: datetime, budget: Seconds) -> list[Failure]:
    """Judges every series that is watched; missing candles are asked for first."""
    analysis.watch_configured()
    watched = list(Series.objects.watched().select_related("market__exchange"))
    failures = fetch_candles(watched, now=now, budget=budget)
    found.verdicts += [analysis.judge(series, now=now, source="collection") for series in watched]
    return [Failure("regime_analysis", exchange, reason) for exchange, reason in failures.items()]


def grid_status(found: CollectedData, *, now: datetime, budget: Seconds) -> list[Failure]:
    """Reads the status of every grid, as GET /grids/status says it."""
    standings = grids.standings(Grid.objects.select_related("market").order_by("pk"), now=now)
    found.readings += [
        GridReading(grid=each.grid, body=orjson.dumps(dialect.grid_entry(each)).decode()) for each in standings
    ]
    return [Failure("grid_status", each.grid.market.exchange_id, each.error) for each in standings if each.error]


SOURCES: Mapping[str, MetricsSource] = {
    "market_data": market_data,
    "account_balances": account_balances,
    "regime_analysis": regime_analysis,
    "grid_status": grid_status,
}


def store(found: CollectedData, collection: Collection, *, now: datetime) -> int:
    """Stores what was found in the caller's transaction; returns the number of rows."""
    for balance in found.balances:
        balance.collection = collection
    for reading in found.readings:
        reading.collection = collection
    Balance.objects.bulk_create(found.balances)
    GridReading.objects.bulk_create(found.readings)
    for verdict in found.verdicts:
        verdict.collection = collection
        analysis.keep(verdict, now=now)
    return len(found.balances) + len(found.readings) + len(found.verdicts)


def fetch_candles(
    series: Iterable[Series], *, now: datetime, budget: Seconds, lookback: int | None = None
) -> dict[str, str]:
    """Fetches missing candles of all series; returns why not, by exchange. One exchange's wait for each other."""
    by_exchange: dict[str, list[Series]] = {}
    for each in series:
        by_exchange.setdefault(each.market.exchange_id, []).append(each)

    def fetch(exchange: Exchange) -> None:
        give_up_at = budget.left - budget.exchange_seconds
        for each in by_exchange[exchange.id]:
            seconds = min(budget.exchange_seconds, budget.left - max(0.0, give_up_at))
            candles.collect(each, now=now, deadline_seconds=max(0.1, seconds), lookback=lookback)

    exchanges = {each.market.exchange_id: each.market.exchange for group in by_exchange.values() for each in group}
    answers = per_exchange(exchanges.values(), fetch, budget)
    return {exchange: reason for exchange, (_, reason) in answers.items() if reason}


def per_exchange(exchanges: Iterable[Exchange], ask: Callable[[Exchange], T], budget: Seconds) -> dict[str, Answer[T]]:
    """Asks all exchanges at once; returns for each its answer, or the reason why there is none in time."""
    running: dict[str, Future[T]] = {exchange.id: _threads.submit(_in_thread, ask, exchange) for exchange in exchanges}
    wait(running.values(), timeout=min(budget.exchange_seconds + 1.0, budget.left))
    return {exchange_id: _answer(future) for exchange_id, future in running.items()}


def _in_thread(ask: Callable[[Exchange], T], exchange: Exchange) -> T:
    try:
        return ask(exchange)
    finally:
        connection.close()  # a connection of this thread only


def _answer(future: Future[Any]) -> Answer[Any]:
    if not future.done():
        future.cancel()
        return None, "no answer within the budget"
    error = future.exception()
    if error is None:
        return future.result(), ""
    return None, str(error) if isinstance(error, FeedError | NotNow) else f"{type(error).__name__}: {error}"


def _poll(exchange: Exchange, now: datetime) -> None:
    outcome = poll.collect_once(exchange.id, now=now)
    if outcome == poll.SKIPPED:
        callable_worker(exchange, now=now)
        raise NotNow(f"{exchange.id} is stale, and is being asked by another process at this moment")
    if outcome != "stored":
        raise NotNow(f"{exchange.id} was {outcome}")


def _balances(exchange: Exchange, now: datetime, seconds: float) -> list[Balance]:
    line = open_line(exchange, now=now)
    parts = line.feed.fetch_balance(deadline_seconds=seconds, may_call=line.may_call)
    assets = sorted(set().union(*parts.values()))
    amounts = [{part: amount(parts[part].get(asset)) for part in ("free", "used", "total")} for asset in assets]
    rows = [Balance(exchange=exchange, asset=asset[:50], **row) for asset, row in zip(assets, amounts, strict=True)]
    return [row for row in rows if row.total != 0]


def amount(value: Any) -> Decimal | None:
    """Returns what the exchange said, or None where it said nothing that is a number."""
    try:
        found = Decimal(str(value)) if value is not None else None
    except InvalidOperation:
        return None
    return found.quantize(STORED) if found is not None and found.is_finite() and abs(found) < 10**17 else None
