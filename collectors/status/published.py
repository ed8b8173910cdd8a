"""The status documents as bytes: rendered once a second by the pulse into Valkey, handed out by the web.

A body is good for two seconds, and only until a row in it would have changed its status; then, and whenever the pulse
or Valkey is away, a web process renders for itself, once for all that wait.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import redis
from django.conf import settings

from collectors.status import pipelines as pipelines_status
from collectors.status.dialects import pairs, pipelines
from collectors.status.workers import CollectorAbsent
from lib import clock, valkey
from lib.published import PublishedCopy, SharedRendering

PIPELINES, PAIRS, SOURCES = "status:pipelines", "status:pairs", "status:sources"
EXPIRES_SECONDS = 10
EDGE_GRACE_SECONDS = 1.0  # until the next pulse; the web would otherwise render in each second that some row ages
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
        if not -clock.FUTURE_SECONDS < age < settings.STATUS_BODY_MAX_AGE_SECONDS:
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
    """Returns all rows of the pipelines API. Raises CollectorAbsent."""
    return _ready(PIPELINES, now, accepts_gzip) or as_accepted(_own_pipelines.get(), accepts_gzip)


def all_pairs(now: datetime, *, accepts_gzip: bool) -> Body:
    """Returns the pairs API's document. Raises CollectorAbsent."""
    return _ready(PAIRS, now, accepts_gzip) or as_accepted(_own_pairs.get(), accepts_gzip)


def one_source(source: str, now: datetime) -> Body:
    """Returns one listed source's rows joined, without anything around them. Raises CollectorAbsent."""
    return _ready_source(source, now) or _render_source(source, now)


def forget() -> None:
    """Makes this process as it was at its start: nothing held, Valkey worth a question."""
    for copy in _copies.values():
        copy.forget()
    _own_pipelines.forget()
    _own_pairs.forget()


def _ready(name: str, now: datetime, accepts_gzip: bool) -> Body | None:
    if settings.STATUS_BODY_MAX_AGE_SECONDS <= 0:
        return None
    body = _copies[name, accepts_gzip].newest()
    return body if body is not None and body.is_good(now) else None


def _ready_source(source: str, now: datetime) -> Body | None:
    if settings.STATUS_BODY_MAX_AGE_SECONDS <= 0 or not _availability.is_worth_a_try():
        return None
    try:
        taken_at, edge, fragment = _fields(SOURCES, "taken_at", "edge", f"source:{source}")
    except redis.RedisError:
        _availability.failed()
        return None
    if taken_at is None or fragment is None:
        return None
    count, _, joined = fragment.partition(b" ")
    body = Body(_moment(taken_at), _edge(edge), int(count), joined)
    return body if body.is_good(now) else None


def _render_source(source: str, now: datetime) -> Body:
    rows = pipelines_status.read_source(source, now)
    return Body(now, None, len(rows.names.names), b",".join(pipelines.entries(rows)))


def _render_pipelines() -> Body:
    now = clock.now()
    rows = pipelines_status.read_pipelines(now)
    return Body(now, pipelines.next_edge(rows), len(rows.names.names), pipelines.render(rows))


def _render_pairs() -> Body:
    now = clock.now()
    rows = pipelines_status.read_pairs(now)
    return Body(now, pairs.next_edge(rows), len(rows.names.names), pairs.render(rows))


def _fetch(name: str, wants_gzip: bool, held: Body | None) -> Body | None:
    """Returns what is published under this name; `held` where nothing is newer. Raises redis.RedisError."""
    (taken_at,) = _fields(name, "taken_at")
    if taken_at is None or (held is not None and held.taken_at == _moment(taken_at)):
        return held if taken_at is not None else None
    taken_at, edge, count, content = _fields(name, "taken_at", "edge", "count", "gzip" if wants_gzip else "body")
    if taken_at is None or count is None or content is None:
        return None
    return Body(_moment(taken_at), _edge(edge), int(count), content, is_gzip=wants_gzip)


def _fields(name: str, *fields: str) -> list[bytes | None]:
    return cast("list[bytes | None]", valkey.client().hmget(name, list(fields)))


def _moment(seconds: bytes) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)


def _edge(text: bytes | None) -> int | None:
    return int(text) if text else None


_availability = valkey.Availability()
_copies = {
    (name, gzip): PublishedCopy(partial(_fetch, name, gzip), availability=_availability)
    for name in (PIPELINES, PAIRS)
    for gzip in (False, True)
}
_own_pipelines, _own_pairs = SharedRendering(_render_pipelines), SharedRendering(_render_pairs)


def as_accepted(body: Body, accepts_gzip: bool) -> Body:
    if body.is_gzip or not accepts_gzip or len(body.content) < WORTH_COMPRESSING_BYTES:
        return body
    return Body(body.taken_at, body.edge, body.count, compressed(body.content), is_gzip=True)
