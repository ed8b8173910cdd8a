"""The status documents as bytes: rendered once a second by the pulse into Valkey, handed out by the web.

A body is good for two seconds, and only until a row in it would have changed its status; then, and whenever the pulse
or Valkey is away, a web process renders for itself, once for all that wait.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import redis
from django.conf import settings

from collectors.status import pipelines as pipelines_status
from collectors.status.dialects import pairs, pipelines
from collectors.status.workers import CollectorAbsent
from lib import clock, valkey

PIPELINES, PAIRS, SOURCES = "status:pipelines", "status:pairs", "status:sources"
EXPIRES_SECONDS = 10
EDGE_GRACE_SECONDS = 1.0  # until the next pulse; the web would otherwise render in each second that some row ages
POLL_SECONDS = 0.1
AWAY_SECONDS = 1.0  # how long a Valkey that failed is left alone
WORTH_COMPRESSING_BYTES = 1400  # one packet
COMPRESSION = 1  # 7.5 MB: 200 kB in 19 ms; level 6 makes 166 kB of it in 45 ms


@dataclass(frozen=True, slots=True)
class Body:
    """An answer ready to be sent."""

    taken_at: datetime
    edge: int | None
    count: int
    content: bytes
    is_gzip: bool = False

    def is_good(self, now: datetime) -> bool:
        age = (now - self.taken_at).total_seconds()
        if not 0 <= age < settings.STATUS_BODY_MAX_AGE_SECONDS:
            return False
        return self.edge is None or now.timestamp() < self.edge + EDGE_GRACE_SECONDS


# --- the pulse's side -------------------------------------------------------------------------------------------


def publish(now: datetime) -> None:
    """Renders both documents and hands them over, all at once. Raises redis.RedisError, DatabaseError."""
    try:
        of_pipelines, of_pairs = pipelines_status.read_all(now)
    except CollectorAbsent:
        valkey.client().delete(PIPELINES, PAIRS, SOURCES)
        return
    fragments = pipelines.fragments(of_pipelines)
    count = len(of_pipelines.names.names)
    whole = pipelines.body((joined for _, joined in fragments.values()), count=count)
    mark = _mark(now, pipelines.next_edge(of_pipelines))
    by_source = {f"source:{name}": b"%d %b" % (rows, joined) for name, (rows, joined) in fragments.items()}
    _store(
        {
            PIPELINES: {**mark, "count": count, "body": whole, "gzip": compressed(whole)},
            SOURCES: {**mark, **by_source},
            PAIRS: _pairs_fields(pairs.render(of_pairs), now, pairs.next_edge(of_pairs), len(of_pairs.names.names)),
        }
    )


def _pairs_fields(body: bytes, now: datetime, edge: int | None, count: int) -> dict[str, Any]:
    return {**_mark(now, edge), "count": count, "body": body, "gzip": compressed(body)}


def _mark(now: datetime, edge: int | None) -> dict[str, Any]:
    return {"taken_at": now.timestamp(), "edge": "" if edge is None else edge}


def _store(hashes: Mapping[str, Mapping[str, Any]]) -> None:
    with valkey.client().pipeline(transaction=True) as together:
        for name, fields in hashes.items():
            together.delete(name)
            together.hset(name, mapping=cast("dict[Any, Any]", fields))
            together.expire(name, EXPIRES_SECONDS)
        together.execute()


def compressed(body: bytes) -> bytes:
    packer = zlib.compressobj(COMPRESSION, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


# --- the web's side ---------------------------------------------------------------------------------------------


def all_pipelines(now: datetime, *, accepts_gzip: bool) -> Body:
    """All rows of the pipelines API. Raises CollectorAbsent."""
    return _ready(PIPELINES, now, accepts_gzip) or _rendered(PIPELINES, _render_pipelines, accepts_gzip)


def all_pairs(now: datetime, *, accepts_gzip: bool) -> Body:
    """The pairs API. Raises CollectorAbsent."""
    return _ready(PAIRS, now, accepts_gzip) or _rendered(PAIRS, _render_pairs, accepts_gzip)


def one_source(source: str, now: datetime) -> Body:
    """One listed source's rows joined, without anything around them. Raises CollectorAbsent."""
    return _ready_source(source, now) or _render_source(source, now)


def _ready_source(source: str, now: datetime) -> Body | None:
    if not _may_ask():
        return None
    try:
        taken_at, edge, fragment = _fields(SOURCES, "taken_at", "edge", f"source:{source}")
    except redis.RedisError:
        _stop_asking()
        return None
    if taken_at is None or fragment is None:
        return None
    count, _, joined = fragment.partition(b" ")
    body = Body(_moment(taken_at), _edge(edge), int(count), joined)
    return body if body.is_good(now) else None


def _render_source(source: str, now: datetime) -> Body:
    rows = pipelines_status.read_source(source, now)
    return Body(now, None, len(rows.names.names), b",".join(pipelines.entries(rows)))


def _render_pipelines(now: datetime) -> Body:
    rows = pipelines_status.read_pipelines(now)
    return Body(now, pipelines.next_edge(rows), len(rows.names.names), pipelines.render(rows))


def _render_pairs(now: datetime) -> Body:
    rows = pipelines_status.read_pairs(now)
    return Body(now, pairs.next_edge(rows), len(rows.names.names), pairs.render(rows))


# What the pulse has made, by document and encoding, and when Valkey was last asked for something newer.
_held: dict[tuple[str, bool], Body] = {}
_asked_at: dict[tuple[str, bool], float] = {}
_held_lock = threading.Lock()
_away_until = 0.0


def _ready(name: str, now: datetime, accepts_gzip: bool) -> Body | None:
    slot = (name, accepts_gzip)
    held = _held.get(slot)
    if (held is None or time.monotonic() - _asked_at.get(slot, 0.0) >= POLL_SECONDS) and _may_ask():
        held = _refreshed(slot, held)
    return held if held is not None and held.is_good(now) else None


def _refreshed(slot: tuple[str, bool], held: Body | None) -> Body | None:
    """One thread asks; the others go on with what is held."""
    if not _held_lock.acquire(blocking=held is None):
        return held
    try:
        held = _held.get(slot)
        if held is None or time.monotonic() - _asked_at.get(slot, 0.0) >= POLL_SECONDS:
            held = _fetched(slot, held)
            _asked_at[slot] = time.monotonic()
            if held is None:
                _held.pop(slot, None)
            else:
                _held[slot] = held
        return held
    finally:
        _held_lock.release()


def _fetched(slot: tuple[str, bool], held: Body | None) -> Body | None:
    name, wants_gzip = slot
    try:
        (taken_at,) = _fields(name, "taken_at")
        if taken_at is None or (held is not None and held.taken_at == _moment(taken_at)):
            return held if taken_at is not None else None
        taken_at, edge, count, content = _fields(name, "taken_at", "edge", "count", "gzip" if wants_gzip else "body")
    except redis.RedisError:
        _stop_asking()
        return None
    if taken_at is None or count is None or content is None:
        return None
    return Body(_moment(taken_at), _edge(edge), int(count), content, is_gzip=wants_gzip)


def _fields(name: str, *fields: str) -> list[bytes | None]:
    return cast("list[bytes | None]", valkey.client().hmget(name, list(fields)))


def _moment(seconds: bytes) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)


def _edge(text: bytes | None) -> int | None:
    return int(text) if text else None


def _may_ask() -> bool:
    return settings.STATUS_BODY_MAX_AGE_SECONDS > 0 and time.monotonic() >= _away_until


def _stop_asking() -> None:
    global _away_until
    _away_until = time.monotonic() + AWAY_SECONDS


# This process's own last rendering by document, and when it was begun.
_own: dict[str, tuple[float, Body]] = {}
_own_locks = {PIPELINES: threading.Lock(), PAIRS: threading.Lock()}


def _rendered(name: str, render: Callable[[datetime], Body], accepts_gzip: bool) -> Body:
    """What was begun after this request came is as good as its own rendering; nothing older is used."""
    came_at = time.monotonic()
    with _own_locks[name]:
        begun_at, body = _own.get(name, (0.0, None))
        if body is None or begun_at <= came_at:
            begun_at = time.monotonic()
            body = render(clock.now())
            _own[name] = begun_at, body
    return as_accepted(body, accepts_gzip)


def as_accepted(body: Body, accepts_gzip: bool) -> Body:
    if body.is_gzip or not accepts_gzip or len(body.content) < WORTH_COMPRESSING_BYTES:
        return body
    return Body(body.taken_at, body.edge, body.count, compressed(body.content), is_gzip=True)
