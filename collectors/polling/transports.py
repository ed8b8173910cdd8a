"""Says which transport an exchange's quotes come by now: what was wished is on the exchange, this is what happens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from collectors.models import Stream
from exchanges.models import Exchange, Transport
from feeds.streams import can_stream

NONE = "none"


@dataclass(frozen=True, slots=True)
class InUse:
    """The transport in use: `word` is stream, poll or none; `since` and `why` are known where a stream was tried."""

    word: str
    since: datetime | None
    why: str


def in_use(exchange: Exchange, now: datetime) -> InUse:
    """Returns the transport in use. A vanished listener shows only by its expired lease. Select `exchange__stream`."""
    if not exchange.is_collected:
        return InUse(NONE, None, "not collected")
    if exchange.transport == Transport.POLL:
        return InUse(Transport.POLL, None, "as set")
    fallback = Transport.POLL if exchange.transport == Transport.AUTO else NONE
    stream: Stream | None = getattr(exchange, "stream", None)
    if stream is None:  # the process that listens makes the row
        return _never_streamed(exchange, fallback)
    if not stream.is_delivering:
        return InUse(fallback, stream.since, stream.reason or "the stream has not proven itself yet")
    if stream.held_until is None or stream.held_until <= now:
        return InUse(fallback, stream.held_until, "the process that listened is gone")
    return InUse(Transport.STREAM, stream.since, stream.reason or "it delivers")


def _never_streamed(exchange: Exchange, fallback: str) -> InUse:
    if can_stream(exchange.id):
        return InUse(fallback, None, "no stream process has run yet")
    return InUse(Transport.POLL, None, "no websocket of this exchange is supported")
