"""What a drill can break, in words: each fault with the sandbox's order for it, and what it takes to be noticed."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from collectors.rules.gaps import GAP_INTERVALS

USUAL_SECONDS = 30.0
LONGEST_SECONDS = 3600.0
SLACK_SECONDS = 3.0  # a sweep, a batch, a busy machine


class Hits(enum.Enum):
    """Whom a fault reaches: an exchange that is polled, one that is listened to, or both."""

    POLLS = "polls"
    STREAMS = "streams"


@dataclass(frozen=True, slots=True)
class DrillFault:
    """`intervals` between polls are how long it must last at the least, or nobody would notice."""

    does: str
    kind: str
    hits: Hits = Hits.POLLS
    params: Mapping[str, Any] = field(default_factory=dict)
    intervals: float = 1.0


@dataclass(frozen=True, slots=True)
class CollectionPace:
    """How quickly an exchange is looked at: what a fault's least time depends on."""

    interval_seconds: float
    deadline_seconds: float
    stream_silence_seconds: float


FAULTS: Mapping[str, DrillFault] = {
    "silent-stream": DrillFault("the websocket stays open and says nothing", "ws_silence", Hits.STREAMS),
    "closed-stream": DrillFault("the websocket is closed, again and again", "ws_close", Hits.STREAMS),
    "cut-stream": DrillFault("the websocket's connection is reset without a word", "ws_reset", Hits.STREAMS),
    "hang": DrillFault("requests are taken and never answered", "hang"),
    "cut": DrillFault("connections are reset without a word", "reset"),
    "html": DrillFault("a friendly page with status 200 comes instead of data", "html"),
    "empty": DrillFault("answers are empty, with status 200", "empty"),
    "truncated": DrillFault("answers end in the middle", "truncated"),
    "rate-limited": DrillFault("status 429 with Retry-After", "status", params={"code": 429, "retry_after": 5}),
    "server-error": DrillFault("status 503", "status", params={"code": 503}),
    "nonsense": DrillFault("every price is NaN", "override", params={"field": "last", "raw": '"NaN"'}),
    "missing": DrillFault("one market is left out of the answers", "drop_symbols", intervals=GAP_INTERVALS + 1),
}


def least_seconds(name: str, pace: CollectionPace) -> float:
    """How long the fault must last so that it is noticed for sure."""
    fault = FAULTS[name]
    if fault.hits is Hits.STREAMS:
        return pace.stream_silence_seconds + SLACK_SECONDS
    waiting = pace.deadline_seconds if fault.kind == "hang" else 0.0
    return fault.intervals * pace.interval_seconds + waiting + SLACK_SECONDS


def order(name: str, *, exchange: str, symbol: str, seconds: float) -> dict[str, Any]:
    """What the sandbox is told. It ends the fault by itself, whatever becomes of us."""
    fault = FAULTS[name]
    params = {**fault.params, "symbols": [symbol]} if fault.kind == "drop_symbols" else dict(fault.params)
    return {"exchange": exchange, "kind": fault.kind, "params": params, "for_seconds": seconds}
