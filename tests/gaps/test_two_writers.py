"""A writer that stood still: at no point of its statement can another one store beside it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction

from collectors import lease
from collectors.lease import Permit
from collectors.models import Tick, Worker
from collectors.polling import store
from lib import clock
from tests.gaps.conftest import Field, field_
from tests.gaps.test_races import in_thread, until_somebody_waits
from tests.world import cycle

__all__ = ["field_"]


@pytest.fixture
def frozen(field_: Field) -> tuple[Permit, datetime]:
    """A stream's permit, and when its rows came."""
    field_.add("kraken", 2)
    permit = lease.take("kraken", lease_seconds=8, repeat=True)
    assert permit is not None
    return permit, clock.now() - timedelta(seconds=20)


def expire() -> None:
    Worker.objects.update(lease_until=clock.now() - timedelta(seconds=1))


def rows_at(at: datetime) -> int:
    return Tick.objects.filter(received_at=at).count()


def test_what_stood_still_before_its_statement_stores_nothing_once_another_has_the_lease(
    field_: Field, frozen: tuple[Permit, datetime]
) -> None:
    permit, at = frozen
    expire()
    assert lease.take("kraken", lease_seconds=8, repeat=True) is not None

    assert store.finish(permit, cycle(at, accepted=field_.quotes("kraken", at), keep_seconds=10.0)) is None

    assert rows_at(at) == 0


def test_what_stands_still_before_its_commit_keeps_the_other_waiting(
    field_: Field, frozen: tuple[Permit, datetime]
) -> None:
    permit, at = frozen
    expire()
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            store.finish(permit, cycle(at, accepted=field_.quotes("kraken", at), keep_seconds=10.0))
            other = in_thread(pool, lambda: lease.take("kraken", lease_seconds=8, repeat=True))
            until_somebody_waits()
            assert not other.done()
        taken = other.result()

    assert taken is None  # the batch has renewed the lease that it was stored under
    assert rows_at(at) == 2


def test_what_stands_still_for_good_is_ended_and_leaves_nothing(field_: Field, frozen: tuple[Permit, datetime]) -> None:
    """The server ends a session that stands still within a transaction; here that is done by hand."""
    permit, at = frozen
    expire()

    def stand_still() -> None:
        with transaction.atomic():
            store.finish(permit, cycle(at, accepted=field_.quotes("kraken", at), keep_seconds=10.0))
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with ThreadPoolExecutor(1) as pool:
        assert in_thread(pool, stand_still).exception() is not None

    assert rows_at(at) == 0
    assert lease.take("kraken", lease_seconds=8, repeat=True) is not None
