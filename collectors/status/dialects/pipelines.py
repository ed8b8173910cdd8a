"""Renders pipelines in the words of the pipelines API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter

import orjson

from collectors.rules.snapshot import PipelineRows
from collectors.status.dialects import json_rows

DEGRADED_FROM_SECONDS = 60
DOWN_AFTER_SECONDS = 300
FIELDS = ("source", "symbol")


def status(delay_seconds: int | None) -> str:
    """Returns `healthy` below 60 s, `degraded` to 300 s inclusive, `down` beyond or when there never was a row."""
    if delay_seconds is None or delay_seconds > DOWN_AFTER_SECONDS:
        return "down"
    return "degraded" if delay_seconds >= DEGRADED_FROM_SECONDS else "healthy"


def next_edge(pipelines: PipelineRows) -> int | None:
    """Returns the first second at which some row's status changes if nothing more is stored; None for never."""
    now = json_rows.whole_second(pipelines.taken_at)
    edges = (_edge(second, now) for second in set(pipelines.stored_seconds) if second is not None)
    return min((edge for edge in edges if edge is not None), default=None)


def _edge(second: int, now: int) -> int | None:
    age = json_rows.age_seconds(second, now)
    if age is None:
        return None  # a sweep sets it aside
    if age < DEGRADED_FROM_SECONDS:
        return second + DEGRADED_FROM_SECONDS
    return second + DOWN_AFTER_SECONDS + 1 if age <= DOWN_AFTER_SECONDS else None


def entries(pipelines: PipelineRows) -> Iterator[bytes]:
    """Yields one JSON object for each row, in order."""
    now = json_rows.whole_second(pipelines.taken_at)
    tails = json_rows.Tails[tuple[int | None, int]](lambda key: _tail(key[0], key[1], now))
    keys = list(zip(pipelines.stored_seconds, pipelines.gaps_24h, strict=True))
    ends = list(map(tails.__getitem__, keys))
    for row in pipelines.halted:
        ends[row] = _tail(*keys[row], now, is_halted=True)
    return map(bytes.__add__, json_rows.heads(pipelines.names, FIELDS), ends)


def _tail(second: int | None, gaps: int, now: int, *, is_halted: bool = False) -> bytes:
    if second is None:
        return b',"last_ingested":null,"delay_seconds":null,"status":"down","gaps_last_24h":0}'
    delay = json_rows.age_seconds(second, now)
    if delay is None:
        return f',"last_ingested":null,"delay_seconds":null,"status":"down","gaps_last_24h":{gaps}}}'.encode()
    word = status(max(delay, DEGRADED_FROM_SECONDS) if is_halted else delay)  # halted is no word of this API
    return (
        f',"last_ingested":"{json_rows.stamp(second)}","delay_seconds":{delay},'
        f'"status":"{word}","gaps_last_24h":{gaps}}}'
    ).encode()


def fragments(pipelines: PipelineRows) -> dict[str, tuple[int, bytes]]:
    """Returns by source how many rows there are, and the rows themselves without their brackets."""
    found = {}
    named = zip(pipelines.names.names, entries(pipelines), strict=True)
    for source, group in groupby(named, key=lambda row: row[0][0]):
        of_source = list(map(itemgetter(1), group))
        found[source] = (len(of_source), b",".join(of_source))
    return found


def body(
    parts: Iterable[bytes],
    *,
    count: int,
    source: str | None = None,
    symbol: str | None = None,
    next_cursor: str | None = None,
    is_capped: bool = False,
) -> bytes:
    """Returns the whole answer around rows, or around pieces of rows that are joined already. `is_capped`: the plan
    gives fewer rows than were asked for."""
    meta = {"symbol": symbol, "source": source, "interval": None, "count": count, "next_cursor": next_cursor}
    if is_capped:
        meta["capped"] = True
    return b'{"data":[%b],"meta":%b}' % (b",".join(parts), orjson.dumps(meta))


def render(pipelines: PipelineRows) -> bytes:
    """Returns all rows, unfiltered."""
    return body(entries(pipelines), count=len(pipelines.names.names))
