"""The read path where the database cannot say anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from django.db import DatabaseError, InterfaceError, connection

from collectors.status import pipelines, rates, sources, workers

READERS: dict[str, Callable[[datetime], object]] = {
    "workers": workers.read,
    "pairs": pipelines.read_pairs,
    "pipelines": pipelines.read_pipelines,
    "one source": lambda now: pipelines.read_source("kraken", now),
    "a page": lambda now: pipelines.read_page(now, limit=1),
    "rates": lambda now: rates.read({"BTCUSD": (1,)}, now, max_age_seconds=60),
    "sources": lambda now: sources.read(),
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
    with pytest.raises(workers.CollectorAbsent):
        read(world.now)


@pytest.mark.parametrize("read", list(READERS.values())[:-2], ids=list(READERS)[:-2])
def test_collection_that_is_switched_off_is_an_absent_collector(world, settings, read):
    settings.COLLECTION_ENABLED = False

    with pytest.raises(workers.CollectorAbsent, match="COLLECTION_ENABLED"):
        read(world.now)


@pytest.mark.parametrize("fault", [DatabaseError("gone"), InterfaceError("closed")], ids=["an error", "a lost line"])
def test_the_reason_is_kept(fault):
    with pytest.raises(workers.CollectorAbsent) as absent, workers.reading():
        raise fault

    assert absent.value.__cause__ is fault
