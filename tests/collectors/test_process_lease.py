"""A right that one process has, and another seconds after it is gone."""

from __future__ import annotations

import pytest
from django.db import connection

from collectors import process_lease
from collectors.models import ProcessLease

pytestmark = pytest.mark.django_db


def shift(seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE collectors_processlease SET held_until = held_until + make_interval(secs => %s)", [seconds]
        )


def test_one_holds_it_and_renews_it() -> None:
    assert process_lease.take("beat", "a", seconds=8)
    assert not process_lease.take("beat", "b", seconds=8)
    assert process_lease.take("beat", "a", seconds=8)


def test_it_runs_out_though_its_holder_is_silent() -> None:
    process_lease.take("beat", "a", seconds=8)
    shift(-9)

    assert process_lease.take("beat", "b", seconds=8)
    assert not process_lease.take("beat", "a", seconds=8)


def test_one_given_back_is_free_at_once() -> None:
    process_lease.take("beat", "a", seconds=8)
    process_lease.release("beat", "b")
    assert ProcessLease.objects.exists()

    process_lease.release("beat", "a")

    assert process_lease.take("beat", "b", seconds=8)


def test_one_that_a_clock_since_set_back_has_given_ends() -> None:
    process_lease.take("beat", "a", seconds=8)
    shift(3600)

    assert process_lease.take("beat", "b", seconds=8)
