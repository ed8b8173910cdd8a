"""The read path where the database cannot say anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial

import pytest
from django.db import DatabaseError, InterfaceError, connection

from collectors import pipelines_status, rates, sources_list, status

READERS: dict[str, Callable[[datetime], object]] = {
    "workers": status.read,
    "pairs": pipelines_status.read_pairs,
    "pipelines": pipelines_status.read_pipelines,
    "one source": lambda now: pipelines_status.read_source("kraken", now),
    "a page": lambda now: pipelines_status.read_page(now, limit=1),
    "rates": partial(rates.read, {"BTCUSD": (1,)}),
    "sources": lambda now: sources_list.read(),
}


@pytest.fixture
def cut_connection(world) -> Iterator[None]:
    """PostgreSQL has hung up, and nobody has noticed yet."""
    connection.ensure_connection()
    connection.connection.close()
    yield
    connection.close()


@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
def test_a_connection_that_was_cut_is_an_absent_collector(world, cut_connection, read):
    with pytest.raises(status.CollectorAbsent):
        read(world.now)


@pytest.mark.parametrize("read", list(READERS.values())[:-2], ids=list(READERS)[:-2])
def test_collection_that_is_switched_off_is_an_absent_collector(world, settings, read):
    settings.COLLECTION_ENABLED = False

    with pytest.raises(status.CollectorAbsent, match="COLLECTION_ENABLED"):
        read(world.now)


@pytest.mark.parametrize("fault", [DatabaseError("gone"), InterfaceError("closed")], ids=["an error", "a lost line"])
def test_the_reason_is_kept(fault):
    with pytest.raises(status.CollectorAbsent) as absent, status.reading():
        raise fault

    assert absent.value.__cause__ is fault
