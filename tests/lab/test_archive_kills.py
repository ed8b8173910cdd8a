"""Two hundred rounds of the archive that are killed at some step: no row lost, none twice, every leftover named."""

from __future__ import annotations

import random
import signal

import pytest

from collectors.history import partitions
from collectors.models import Watermark
from tests.archive.conftest import Archived, kept
from tests.archive.killing import STEPS, assert_whole, hot_rows, killed_at

__all__ = ["kept"]

ROUNDS = 200


@pytest.mark.timeout(3600)
def test_two_hundred_killed_rounds_lose_no_row(kept: Archived) -> None:
    chance = random.Random(20261201)
    stored: set[tuple[object, ...]] = set()
    killed = 0
    for number in range(ROUNDS):
        partitions.ensure_since(kept.at(0), kept.at(3.5))
        Watermark.objects.filter(name__startswith="archive").update(reached_at=kept.at(0))
        for _ in range(chance.randint(1, 20)):
            kept.fetch_later(second=chance.uniform(0, 86_000), day=chance.choice((0, 0, 1)))
        stored |= hot_rows()
        step = chance.choice(STEPS)
        after = 3.5 + number / 10_000
        killed += killed_at(kept, step, after=after, passes=chance.choice((0, 0, 0, 1))) == signal.SIGKILL
        assert_whole(kept, stored, after=after + 0.00005)
    assert killed > ROUNDS / 2
