"""Facts about a drill from the database and from what readers are sent, with their moments, never guesses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import QuerySet

from board import fragments, live, tiles
from board.drills.faults import FAULTS, Hits
from board.fragments import TILE
from board.models import Drill
from board.tiles import Tile
from collectors.models import Gap, Origin, Outcome, Run, Stream, Switch, Tick, Transition, Worker, WorkerStatus
from exchanges.models import Market, Transport
from incidents.rules.conditions import SourceState

LOOK_BACK = timedelta(minutes=2)  # a run that ended during the drill began no earlier


@dataclass(frozen=True, slots=True)
class Sign:
    """A fact that tells of the fault, or of its end."""

    moment: datetime
    words: str


def detection(drill: Drill) -> Sign | None:
    """Returns the first fact in the database that says that something is wrong; None while there is none."""
    return min(_facts(drill), key=lambda sign: sign.moment, default=None)


def _facts(drill: Drill) -> Iterator[Sign]:
    """Yields the signs of the fault: a failed run, a stream given up, a gap."""
    runs = Run.objects.filter(exchange_id=drill.exchange_id, started_at__gt=drill.started_at - LOOK_BACK)
    for run in runs.exclude(outcome__in=[Outcome.STORED, Outcome.SUPERSEDED]):
        ended_at = run.started_at + timedelta(milliseconds=run.duration_ms)
        if ended_at > drill.started_at:
            yield Sign(ended_at, f"a failed run ({run.outcome.replace('_', ' ')}): {run.error}")
    for switch in _given_up(drill):
        yield Sign(switch.happened_at, f"the stream was given up: {switch.reason}")
    for gap in Gap.objects.filter(pipeline__market=_market(drill), detected_at__gt=drill.started_at):
        yield Sign(gap.detected_at, f"a gap of {drill.symbol}: {gap.evidence}")


def showing(drill: Drill) -> Sign | None:
    """Returns the sign of the board's tile, as readers are sent it, once it says that something is wrong; else None.

    What the tile says is read as values, for the moment of the picture that is handed out; the hash of the published
    part proves that readers are sent the same. A picture of another state proves nothing: the next look compares again.
    Raises DatabaseError, InterfaceError.
    """
    picture = live.current()
    tile = _tile(drill, picture.taken_at)
    words = trouble(tile, is_streamed=FAULTS[drill.fault].hits is Hits.STREAMS) if tile else ""
    if tile is None or not words:
        return None
    name = f"{TILE}{tile.exchange}"
    published = picture.parts.get(name)
    if published is None or published.hash != fragments.draw(name, tile).hash:
        return None
    return Sign(picture.taken_at, f"the board's tile: {words}")


def _tile(drill: Drill, now: datetime) -> Tile | None:
    return next((tile for tile in tiles.read(now).tiles if tile.exchange == drill.exchange_id), None)


def trouble(tile: Tile, *, is_streamed: bool) -> str:
    """Returns what is wrong by this tile; empty when all is well. A stream's drill expects a stream."""
    if tile.condition.state != SourceState.DELIVERS:
        return tile.condition.state
    if is_streamed and tile.transport != Transport.STREAM:
        return f"transport {tile.transport}"
    return f"{tile.open_gaps} silent" if tile.open_gaps else ""


def healing(drill: Drill) -> Sign | None:
    """Returns when all was well again (rows, a running worker, no open gap, the stream if there was one), or None."""
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
    """Returns since when the exchange has been listened to again; None while it is not."""
    stream = Stream.objects.filter(pk=drill.exchange_id, is_delivering=True).first()
    return stream.since if stream else None


def running_seconds(drill: Drill, now: datetime) -> float:
    return min(drill.seconds, (now - drill.started_at).total_seconds())


def _market(drill: Drill) -> Market:
    return Market.objects.get(exchange_id=drill.exchange_id, symbol=drill.symbol)
