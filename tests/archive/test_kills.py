"""A writer that is killed at any step has lost nothing, has nothing twice, and leaves nothing that is not named."""

from __future__ import annotations

import os
import signal

import pytest
from django.db import connection

from tests.archive.conftest import Archived, kept
from tests.archive.killing import STEPS, assert_whole, killed_at

__all__ = ["kept"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("step", STEPS)
def test_a_round_that_is_killed_loses_nothing_and_stores_nothing_twice(kept: Archived, step: str) -> None:
    kept.store()
    kept.roll_up(0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pipeline_id, received_at FROM collectors_tick")
        stored = set(cursor.fetchall())

    assert killed_at(kept, step, after=3.5) == signal.SIGKILL

    assert_whole(kept, stored, after=3.6)
