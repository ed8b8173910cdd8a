"""How many processes of one kind live."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lib import valkey
from lib.presence import Presence

KEY = "tests:processes"


@pytest.fixture
def processes() -> Iterator[Presence]:
    valkey.client().delete(KEY)
    yield Presence(KEY)
    valkey.client().delete(KEY)


def count(processes: Presence, now: float) -> int:
    with valkey.client().pipeline() as together:
        processes.count_in(together, now=now)
        return int(together.execute()[0])


def test_all_that_live_are_named_in_order(processes: Presence) -> None:
    processes.say("b", now=100, seconds=10)

    assert processes.say("a", now=101, seconds=10) == ["a", "b"]
    assert count(processes, 101) == 2


def test_who_is_silent_for_longer_than_it_said_is_not_counted(processes: Presence) -> None:
    processes.say("a", now=100, seconds=10)

    assert count(processes, 110) == 1
    assert count(processes, 110.1) == 0
    assert processes.say("b", now=110, seconds=10) == ["b"]


def test_who_leaves_is_gone_at_once(processes: Presence) -> None:
    processes.say("a", now=100, seconds=10)
    processes.leave("a")

    assert count(processes, 100) == 0
