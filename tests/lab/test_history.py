"""Thousands of fills at random: no answer as of an earlier moment changes, and nothing stored contradicts itself."""

from __future__ import annotations

import random

import pytest

from collectors.gaps import invariants
from collectors.models import Gap
from tests.history.conftest import past
from tests.history.test_knowing import fill_at_random

__all__ = ["past"]


@pytest.mark.timeout(3600)
def test_ten_thousand_fills_change_no_earlier_answer(past):
    chance, fills = random.Random(7), 0
    while fills < 10_000:
        fills += fill_at_random(past, chance, rows=150, minutes=380)
        assert [found for found in invariants.check(since=past.start) if found.offences] == []
        past.begin_anew()
    assert Gap.objects.exists()
