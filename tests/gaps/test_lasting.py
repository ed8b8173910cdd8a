"""The rules of a silence that lasts: what was missed by now, and when its cause is judged anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from collectors.rules import gaps

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "expected", "missed"),
    [
        (20.1, 10, 1),
        (5, 10, 1),
        (-5, 10, 1),
        (34.9, 10, 2),
        (35.1, 10, 3),
        (45, 10, 3),
        (600, 10, 59),
        (86_400, 1, 86_399),
    ],
)
@pytest.mark.django_db
def test_what_was_missed_is_the_same_in_python_and_in_sql(seconds: float, expected: float, missed: int) -> None:
    until = NOW + timedelta(seconds=seconds)
    statement = gaps.MISSED.format(start="%s::timestamptz", end="%s::timestamptz", expected="%s::float8")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {statement}", [until, NOW, expected])
        (in_sql,) = cursor.fetchone()

    assert gaps.missed(NOW, until, expected) == in_sql == missed


@pytest.mark.parametrize(
    ("minutes", "looks"), [(1, 10), (39, 10), (41, 5), (79, 5), (81, 2), (60 * 24 * 10, 0)], ids=str
)
def test_a_silence_that_lasts_is_looked_at_each_minute_and_a_long_one_less_often(minutes: int, looks: int) -> None:
    start = NOW - timedelta(minutes=minutes)
    moments = [NOW + timedelta(minutes=number) for number in range(1, 11)]

    found = sum(gaps.is_looked_at_again(start + timedelta(minutes=number), moment)
                for number, moment in enumerate(moments, start=1))  # fmt: skip

    assert found in (looks, looks + 1)
