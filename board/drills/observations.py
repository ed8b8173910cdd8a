"""What the database, and what readers are sent, say of a drill: facts with their moments, never guesses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import QuerySet

from board import live
from board.drills.faults import FAULTS, Hits
from board.fragments import TILE
from board.models import Drill
from collectors.models import Gap, Origin, Outcome, Run, Stream, Switch, Tick, Transition, Worker, WorkerStatus
from exchanges.models import Market, Transport

# Where a tile says its state, the transport that is used, and that some of its markets are silent.
STATE = re.compile(r"\bbd-is-(\w+)")
TRANSPORT = re.compile(r"<dt>by</dt><dd[^>]*>(\w+)</dd>")
SILENT = re.compile(r">(\d+ silent)<")
LOOK_BACK = timedelta(minutes=2)  # a run that ended during the drill began no earlier


@dataclass(frozen=True, slots=True)
class Sign:
    """Something that tells of the fault, or of its end."""

    moment: datetime
    words: str


def detection(drill: Drill) -> Sign | None:
    """The first fact in the database that says that something is wrong."""
    return min(_facts(drill), key=lambda sign: sign.moment, default=None)


def _facts(drill: Drill) -> Iterator[Sign]:
    """A failed cycle, a stream given up, a gap."""
    runs = Run.objects.filter(exchange_id=drill.exchange_id, started_at__gt=drill.started_at - LOOK_BACK)
    for run in runs.exclude(outcome__in=[Outcome.STORED, Outcome.SUPERSEDED]):
        ended_at = run.started_at + timedelta(milliseconds=run.duration_ms)
        if ended_at > drill.started_at:
            yield Sign(ended_at, f"a failed cycle ({run.outcome.replace('_', ' ')}): {run.error}")
    for switch in _given_up(drill):
        yield Sign(switch.happened_at, f"the stream was given up: {switch.reason}")
    for gap in Gap.objects.filter(pipeline__market=_market(drill), detected_at__gt=drill.started_at):
        yield Sign(gap.detected_at, f"a gap of {drill.symbol}: {gap.evidence}")


def showing(drill: Drill) -> Sign | None:
    """What readers of the board are sent. Raises DatabaseError, InterfaceError."""
    picture = live.current()
    tile = picture.parts.get(f"{TILE}{drill.exchange_id}")
    words = trouble(tile.html, is_streamed=FAULTS[drill.fault].hits is Hits.STREAMS) if tile else ""
    return Sign(picture.taken_at, f"the board's tile: {words}") if words else None


def trouble(html: str, *, is_streamed: bool) -> str:
    """What a tile says is wrong; empty when it says that all is well."""
    state, way, silent = STATE.search(html), TRANSPORT.search(html), SILENT.search(html)
    if state and state[1] != "delivers":
        return state[1]
    if is_streamed and way and way[1] != "stream":
        return f"by {way[1]}"
    return silent[1] if silent else ""


def healing(drill: Drill) -> Sign | None:
    """All is well again: rows of the market, a running worker, no open gap, and the stream where there was one."""
    assert drill.lifted_at is not None
    worker = Worker.objects.get(pk=drill.exchange_id)
    if worker.error_count or worker.status != WorkerStatus.RUNNING:
        return None
    ticks = Tick.objects.filter(pipeline_id=_market(drill).pk, received_at__gt=drill.lifted_at, origin=Origin.LIVE)
    row = ticks.order_by("received_at").values_list("received_at", flat=True).first()
    gaps = Gap.objects.filter(pipeline__market=_market(drill), detected_at__gt=drill.started_at)
    ends = list(gaps.values_list("ended_at", flat=True))
    back_at = _back_on_stream(drill)
    if row is None or None in ends or (back_at is None and _given_up(drill).exists()):
        return None
    turned = Transition.objects.filter(exchange_id=drill.exchange_id, happened_at__gt=drill.lifted_at)
    turns = turned.filter(to_status=WorkerStatus.RUNNING).values_list("happened_at", flat=True)
    moments = [row, *(end for end in ends if end), *turns[:1], *([back_at] if back_at else [])]
    return Sign(max(moments), "rows are stored again")


def _given_up(drill: Drill) -> QuerySet[Switch]:
    switches = Switch.objects.filter(exchange_id=drill.exchange_id, happened_at__gt=drill.started_at)
    return switches.exclude(to_transport=Transport.STREAM)


def _back_on_stream(drill: Drill) -> datetime | None:
    """Since when the exchange has been listened to again; None while it is not."""
    stream = Stream.objects.filter(pk=drill.exchange_id, is_delivering=True).first()
    return stream.since if stream else None


def running_seconds(drill: Drill, now: datetime) -> float:
    return min(drill.seconds, (now - drill.started_at).total_seconds())


def _market(drill: Drill) -> Market:
    return Market.objects.get(exchange_id=drill.exchange_id, symbol=drill.symbol)
