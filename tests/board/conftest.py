"""The board's pages are tested on rows made for them, by a signed-in operator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import pytest

from board import badges, public
from board.rules import heat
from collectors.history import partitions
from exchanges.models import Exchange, Market
from tests.api.conftest import now, operator
from tests.world import add_market

__all__ = ["now", "operator"]


@pytest.fixture(autouse=True)
def no_copies() -> Iterator[None]:
    """Copies of one test are not another's."""
    public.forget()
    badges.forget()
    yield
    public.forget()
    badges.forget()


@pytest.fixture
def day(db: None, now: datetime) -> datetime:
    """The start of the window, with partitions for all of it."""
    partitions.ensure_since(now - timedelta(days=2), now)
    return heat.window(now)[0]


def make_pipelines(exchange: Exchange, symbols: Sequence[str], now: datetime) -> list[Market]:
    since = now - timedelta(days=9)
    return [
        add_market(
            exchange, symbol.partition("/")[0], since=since, symbol=symbol, venue_id=symbol,
            pipeline={"received_at": now, "gaps_24h": 0},
        )
        for symbol in symbols
    ]  # fmt: skip
