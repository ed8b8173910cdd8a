"""Which threads a request may take: what is dear never takes those of the probes, nor all of the others."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.access.test_matrix import ANONYMOUS, OURS, right_of
from web import admission
from web.admission import COLLECTION, EXPORTS, LIVE, OTHERS, PROBES, READS, ROOMS, STATUS, Room, room_of
from web.gateway import TurnMissed, Waiting


@pytest.mark.parametrize(
    ("path", "room"),
    [
        ("/live", LIVE),
        ("/ready/", PROBES),
        ("/health", PROBES),
        ("/metrics", READS),
        ("/metrics/history/", READS),
        ("/metrics/collect", COLLECTION),
        ("/regime/analyze/", COLLECTION),
        ("/api/v1/ticks/export", EXPORTS),
        ("/api/v1/pipelines/", READS),
        ("/api/v1/pipelines/7/history", READS),
        ("/api/v1/trades/holes", READS),
        ("/api/v1/market/workers/status", STATUS),
        ("/v1/status", STATUS),
        ("/status", OTHERS),
        ("/", OTHERS),
        ("/live/x", OTHERS),
    ],
)
def test_each_kind_of_request_has_its_room(path: str, room: Room) -> None:
    assert room_of(path) is room


def test_each_open_list_of_the_history_is_a_costly_read() -> None:
    lists = [path for path, route in OURS if re.fullmatch(r"(?!exchanges).*-list", str(route.name))]
    is_open = {path for path in lists if ANONYMOUS in getattr(right_of(path), "readers", ())}
    small = {"api/v1/exchanges", "api/v1/workers"}  # a row for each exchange

    assert {path for path in is_open if room_of(f"/{path}") is not READS} == small


def test_each_room_is_found_by_one_name() -> None:
    assert len({room.name for room in ROOMS}) == len(ROOMS)
    assert set(admission.NAMED_PATHS.groupindex) | {OTHERS.name} == set(admission.BY_NAME)


def test_who_waits_in_vain_is_told_and_takes_no_thread() -> None:
    room, released, begun = replace(READS, threads=2, wait_seconds=0.2, most_waiting=3), threading.Event(), []

    def work() -> None:
        begun.append(1)
        released.wait(10)

    async def crowd() -> tuple[list[bool], float]:
        waiting = Waiting(room)
        loop, started = asyncio.get_running_loop(), time.monotonic()
        callers = [loop.create_task(turn(waiting, work)) for _ in range(7)]
        refused = [each async for each in _as_they_end(callers[2:])]
        seconds = time.monotonic() - started
        released.set()
        served = await asyncio.gather(*callers[:2])
        waiting.shut()
        return [*served, *refused], seconds

    answers, seconds = asyncio.run(crowd())

    assert answers == [True, True, False, False, False, False, False]
    assert len(begun) == 2
    assert 0.2 <= seconds < 2


async def turn(waiting: Waiting, work: Callable[[], object]) -> bool:
    try:
        await waiting.run(work)
    except TurnMissed:
        return False
    return True


async def _as_they_end(callers: list[asyncio.Task[bool]]):  # type: ignore[no-untyped-def]
    for each in asyncio.as_completed(callers):
        yield await each


def test_an_error_of_the_application_is_no_refusal() -> None:
    async def once() -> None:
        await Waiting(LIVE).run(lambda: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(once())
