"""Thousands of fills and answers at random: none as of an earlier moment changes, no packet is wrong."""

from __future__ import annotations

import random

import pytest

from collectors.gaps import invariants
from collectors.models import Gap
from tests.history.conftest import past
from tests.history.test_knowing import fill_at_random
from tests.history.test_packets import check_packets, checker

__all__ = ["past"]


@pytest.mark.timeout(3600)
def test_ten_thousand_fills_change_no_earlier_answer(past):
    chance, fills = random.Random(7), 0
    while fills < 10_000:
        fills += fill_at_random(past, chance, rows=150, minutes=380)
        assert [found for found in invariants.check(since=past.start) if found.offences] == []
        past.begin_anew()
    assert Gap.objects.exists()


@pytest.mark.timeout(3600)
def test_ten_thousand_packets_are_what_the_ledger_says(client, past):
    chance, answers = random.Random(8), 0
    while answers < 10_000:
        checker(past, chance)
        answers += check_packets(client, past, chance, spans=100)
        past.begin_anew()
