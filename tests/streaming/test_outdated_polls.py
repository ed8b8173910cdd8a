"""A poll beside a stream whose answer is older than what was pushed: it decides nothing."""

from __future__ import annotations

import pytest

from collectors.streaming import comparison_poll
from feeds.base import Poll, Quote

NOON = 1_795_000_000.0


def stamped(*stamps: float | None) -> list[Quote]:
    return [Quote(f"C{number}/USD", 1.0, *(None,) * 6, stamp, NOON) for number, stamp in enumerate(stamps)]


@pytest.mark.parametrize(
    ("pushed", "polled", "cached_seconds", "is_outdated"),
    [
        ([NOON], [NOON - 30], None, False),
        ([NOON], [NOON - 31], None, True),
        ([NOON], [NOON - 5000, NOON - 1], None, False),
        ([NOON - 5000], [NOON], None, False),
        ([None], [NOON - 5000], None, False),
        ([NOON], [None], None, False),
        ([None], [None], 180.0, False),
        ([None], [None], 181.0, True),
        ([], [NOON], None, False),
    ],
    ids=[
        "within half a minute", "older", "one quiet pair", "a stream behind the poll", "no stamps pushed",
        "no stamps polled", "held for a while", "held by a cache", "nothing pushed yet",
    ],
)  # fmt: skip
def test_it_is_known_by_its_newest_stamp_or_by_its_cache(
    pushed: list[float | None], polled: list[float | None], cached_seconds: float | None, is_outdated: bool
) -> None:
    held = {quote.symbol: quote for quote in stamped(*pushed)}
    poll = Poll(tuple(stamped(*polled)), len(polled), cached_seconds=cached_seconds)

    assert comparison_poll.is_outdated(held, poll) is is_outdated
