"""Exchanges, markets and collected rows: the one builder of what tests are about. Fixtures give it their own names.

Rows of exchanges are made as they are after onboarding; quotes go through the real write path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

from collectors import lease
from collectors.gaps.sweep import SWEPT_CURSOR
from collectors.models import Pipeline, Watermark, Worker
from collectors.polling import poll as polling
from collectors.polling import schedule, store
from collectors.rules.quote_checks import QuoteRow
from exchanges.models import SANDBOX_PLACEHOLDER, Exchange, Market
from feeds.base import Quote
from lib import clock, processes
from operations import commands

INTERVAL_SECONDS = 10
# Most exchanges allow one request a second; a test that polls twice would wait for it.
NO_RATE_LIMIT = {"budget_units": 1000, "budget_seconds": 1}


# --- rows as they stand in the tables ----------------------------------------------------------------------------


def add_exchange(
    exchange_id: str, *, since: datetime, worker: Mapping[str, Any] | None = None, **fields: Any
) -> Exchange:
    """An exchange whose worker has been collecting since then; `worker` has other fields of the worker's row."""
    exchange = Exchange.objects.create(id=exchange_id, **{"poll_interval_seconds": INTERVAL_SECONDS, **fields})
    began = {"resumed_at": since, "status_since": since}
    Worker.objects.create(exchange=exchange, **{**began, **(worker or {})})
    return exchange


def add_market(
    exchange: Exchange,
    base: str,
    quote: str = "USD",
    *,
    since: datetime,
    pipeline: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Market:
    """A market, listed since then, with its pipeline; a derivative is settled in its quote."""
    is_spot = fields.setdefault("kind", "spot") == "spot"
    usual = {
        "symbol": f"{base}/{quote}" if is_spot else f"{base}/{quote}:{quote}",
        "venue_id": f"{base}{quote}" if is_spot else f"{base}{quote}{fields['kind']}",
        "source": exchange.pk,
        "listed_at": since,
    }
    market = Market.objects.create(exchange=exchange, base=base, quote=quote, **{**usual, **fields})
    Pipeline.objects.create(market=market, **{"expected_seconds": INTERVAL_SECONDS, **(pipeline or {})})
    return market


def beat_was_seen(seconds_ago: float = 0, *, pulse_seconds_ago: float = 0) -> None:
    """Beat leads, as of then, and has its schedule; the pulse was seen, too."""
    for name, seconds in ((schedule.BEAT_CURSOR, seconds_ago), (SWEPT_CURSOR, pulse_seconds_ago)):
        Watermark.objects.update_or_create(name=name, defaults={"reached_at": clock.now() - timedelta(seconds=seconds)})
    schedule.sync(now=clock.now())


def a_worker_lives() -> None:
    with patch.object(processes, "_mine", "worker:here:1"):
        processes.say()


# --- quotes through the write path -------------------------------------------------------------------------------


def quote(symbol: str = "BTC/USD", *, received_at: float = 1_795_000_000.0, **fields: object) -> Quote:
    """A sound quote, with the named fields replaced."""
    sound = Quote(symbol, 100.0, 99.0, 101.0, 110.0, 90.0, 5.0, 500.0, received_at - 1, received_at)
    return sound._replace(**fields)  # type: ignore[arg-type]


def quotes(market_ids: Sequence[int], *, at: datetime, price: float = 100.0) -> list[QuoteRow]:
    """A sound quote for each market, received at `at`."""
    return [QuoteRow(number, quote(received_at=at.timestamp(), last=price)) for number in market_ids]


def permit(exchange_id: str, *, lease_seconds: float = 60) -> lease.Permit:
    """The right to poll, whoever was told to wait."""
    Worker.objects.filter(pk=exchange_id).update(retry_at=None)
    found = lease.take(exchange_id, lease_seconds=lease_seconds, repeat=True)
    assert found is not None
    return found


def cycle(
    at: datetime, outcome: str = "stored", *, accepted: Sequence[QuoteRow] = (), error_count: int = 0, **fields: Any
) -> store.Cycle:
    """What one poll came to, with the named fields replaced."""
    usual: dict[str, Any] = {
        "started_at": at,
        "finished_at": at,
        "outcome": outcome,
        "error_count": error_count,
        "strikes": error_count,
        "retry_at": None,
        "status": "running",
        "accepted": accepted,
        "error": "" if accepted else f"the exchange was {outcome}",
    }
    return store.Cycle(**{**usual, **fields})


def store_quotes(exchange_id: str, rows: Sequence[QuoteRow], *, at: datetime) -> int | None:
    """One stored poll; how many rows were stored, None where somebody else has the permit by now."""
    return store.finish(permit(exchange_id), cycle(at, accepted=rows))


# --- exchanges of the sandbox ------------------------------------------------------------------------------------


def onboard(exchange_id: str, **settings: Any) -> Exchange:
    """An exchange of the sandbox, made by the operators' command; nothing has been asked of it."""
    return commands.create(
        exchange_id, by="test", now=clock.now(), base_url=SANDBOX_PLACEHOLDER, **{**NO_RATE_LIMIT, **settings}
    )


def poll(exchange_id: str, *, now: datetime | None = None) -> str:
    """One poll, whatever the slot; its outcome."""
    Worker.objects.filter(pk=exchange_id).update(cycle_started_at=None)
    return polling.collect_once(exchange_id, now=now or clock.now())


def onboard_and_poll(exchange_id: str, *, now: datetime | None = None) -> str:
    """One poll of an exchange of the sandbox, which is made where it is not there yet; the poll's outcome."""
    if not Exchange.objects.filter(pk=exchange_id).exists():
        onboard(exchange_id)
    return poll(exchange_id, now=now)
