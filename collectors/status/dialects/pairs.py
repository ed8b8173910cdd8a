"""Renders pairs and collectors in the words of the pairs API, and holds its rule of when a pair is stale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from collectors.rules.snapshot import PairRows, WorkerView
from collectors.status.dialects import json_rows
from lib.clock import seconds_z

STALE_FROM_SECONDS = 600
UNAVAILABLE_AFTER_SECONDS = 1800
FIELDS = ("pair",)


def status(freshness_seconds: int | None) -> str:
    """Returns `fresh` below 600 s, `stale` to 1800 s inclusive, `unavailable` beyond or when there never was a row."""
    if freshness_seconds is None or freshness_seconds > UNAVAILABLE_AFTER_SECONDS:
        return "unavailable"
    return "stale" if freshness_seconds >= STALE_FROM_SECONDS else "fresh"


def overall(workers: Iterable[WorkerView], pair_statuses: Iterable[str]) -> str:
    """Returns the system's state in one word, over collectors that are wanted and pairs that they should bring.

    No data is an outage, never operational.
    """
    enabled = [worker.status for worker in workers if worker.is_collected]
    seen = set(pair_statuses)
    if "running" not in enabled or not seen & {"fresh", "stale"}:
        return "outage"
    return "operational" if set(enabled) == {"running"} and seen == {"fresh"} else "degraded"


def next_edge(pairs: PairRows) -> int | None:
    """Returns the first second at which some pair's status changes if nothing more is stored; None for never."""
    now = json_rows.whole_second(pairs.taken_at)
    edges = (_edge(second, now) for second in set(pairs.stored_seconds) if second is not None)
    return min((edge for edge in edges if edge is not None), default=None)


def _edge(second: int, now: int) -> int | None:
    age = json_rows.age_seconds(second, now)
    if age is None:
        return None  # a sweep sets it aside
    if age < STALE_FROM_SECONDS:
        return second + STALE_FROM_SECONDS
    return second + UNAVAILABLE_AFTER_SECONDS + 1 if age <= UNAVAILABLE_AFTER_SECONDS else None


def entries(pairs: PairRows) -> Iterator[bytes]:
    """Yields one JSON object for each pair, in order."""
    now = json_rows.whole_second(pairs.taken_at)
    tails = json_rows.Tails[int | None](lambda second: _tail(second, now))
    ends = list(map(tails.__getitem__, pairs.stored_seconds))
    for row in pairs.halted:
        ends[row] = _tail(pairs.stored_seconds[row], now, is_halted=True)
    return map(bytes.__add__, json_rows.heads(pairs.names, FIELDS), ends)


def _tail(second: int | None, now: int, *, is_halted: bool = False) -> bytes:
    age = None if second is None else json_rows.age_seconds(second, now)
    if second is None or age is None:
        return b',"last_update":null,"freshness_seconds":null,"status":"unavailable"}'
    word = status(max(age, STALE_FROM_SECONDS) if is_halted else age)  # halted is no word of this API
    return f',"last_update":"{json_rows.stamp(second)}","freshness_seconds":{age},"status":"{word}"}}'.encode()


def render(pairs: PairRows) -> bytes:
    return b'{"status":"%b","collectors":%b,"pairs":[%b],"timestamp":"%b"}' % (
        overall(pairs.workers, _watched_statuses(pairs)).encode(),
        orjson.dumps([_collector(worker) for worker in pairs.workers]),
        b",".join(entries(pairs)),
        seconds_z(pairs.taken_at).encode(),
    )


def _watched_statuses(pairs: PairRows) -> set[str]:
    now = json_rows.whole_second(pairs.taken_at)
    seconds = {second for second, watched in zip(pairs.stored_seconds, pairs.watched, strict=True) if watched}
    return {status(None if second is None else json_rows.age_seconds(second, now)) for second in seconds}


def _collector(worker: WorkerView) -> dict[str, Any]:
    heartbeat = seconds_z(worker.heartbeat_at) if worker.heartbeat_at else None
    return {"exchange": worker.exchange, "status": worker.status, "last_heartbeat": heartbeat}
