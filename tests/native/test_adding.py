"""The exchange of docs/extending.md, added as that page says: one file, two lines, and it is collected."""

from __future__ import annotations

import importlib.util
import re
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from collectors.models import Tick
from exchanges.models import Exchange
from feeds import known_exchange_ids
from feeds.streams import can_stream
from feeds.table import FEEDS
from lib import clock
from operations import commands
from tests.feeds.venue import Answer, Venue

PAGE = Path(__file__).resolve().parents[2] / "docs/extending.md"
MOST_LINES_IN_THE_TABLE = 3


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def bazaar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The page's file, under the name it would have in the project."""
    path, name = tmp_path / "bazaar.py", "feeds.native.bazaar"
    path.write_text(blocks()[0])
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    monkeypatch.setitem(FEEDS, "bazaar", module.BazaarFeed)
    return module


@pytest.fixture
def answering(venue: Venue) -> Venue:
    stamp = int(time.time() * 1000)
    market = {"id": "btc-usd", "base": "BTC", "quote": "USD", "open": True}
    closed = {"id": "eth-usd", "base": "ETH", "quote": "USD", "open": False}
    ticker = {"id": "btc-usd", "last": "64000.5", "bid": "64000", "ask": "64001", "volume": "12.5", "at": stamp}
    venue.answers = {
        "/markets": Answer([market, closed]),
        "/tickers": Answer([ticker, {**ticker, "id": "eth-usd"}]),
        "/time": Answer({"now": stamp}),
    }
    return venue


@pytest.mark.usefixtures("bazaar")
def test_an_exchange_that_is_in_the_table_is_collected(collect, answering, settings):
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = True
    commands.create("bazaar", by="test", now=clock.now(), base_url=answering.base_url)

    assert collect("bazaar") == "stored"

    (tick,) = Tick.objects.select_related("pipeline__market")
    assert tick.pipeline.market.symbol == "BTC/USD"
    assert (tick.last, tick.bid, tick.ask, tick.base_volume) == (64000.5, 64000.0, 64001.0, 12.5)
    assert Exchange.objects.get().capabilities["fetchTickers"]


@pytest.mark.usefixtures("bazaar")
def test_an_exchange_that_is_in_the_table_is_known_and_polled():
    assert "bazaar" in known_exchange_ids()
    assert not can_stream("bazaar")


def test_the_page_asks_for_no_more_lines_than_it_promises():
    assert "one file, and two lines" in PAGE.read_text()
    assert len(blocks()[1].splitlines()) == 2 < MOST_LINES_IN_THE_TABLE
