"""Packs rows in PostgreSQL's binary COPY format: five times cheaper for the server to take in than text."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from functools import cache

from collectors.rules.quote_checks import QuoteRow

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
END = struct.pack(">h", -1)
POSTGRES_EPOCH_MICROSECONDS = 946_684_800_000_000  # 2000-01-01
FIELDS = 10
COLUMNS = "pipeline_id, received_at, last, bid, ask, high, low, base_volume, quote_volume, exchange_at"


def pack(rows: Iterable[QuoteRow]) -> io.BytesIO:
    """Returns the rows as one COPY stream, in the order of COLUMNS."""
    parts = [SIGNATURE]
    moment, received = 0.0, 0
    for pipeline_id, (_, last, bid, ask, high, low, base, quote, exchange_at, received_at) in rows:
        if received_at != moment:  # one answer, one moment: the same for almost all rows
            moment, received = received_at, _microseconds(received_at)
        stamp = None if exchange_at is None else _microseconds(exchange_at)
        values = (last, bid, ask, high, low, base, quote, stamp)
        if None in values:
            parts.append(_pack_sparse(pipeline_id, received, values))
            continue
        packed = _pack_full(
            FIELDS, 4, pipeline_id, 8, received,
            8, last, 8, bid, 8, ask, 8, high, 8, low, 8, base, 8, quote, 8, stamp,
        )  # fmt: skip
        parts.append(packed)
    parts.append(END)
    return io.BytesIO(b"".join(parts))


def _pack_sparse(pipeline_id: int, received: int, values: tuple[float | int | None, ...]) -> bytes:
    flat: list[float | int] = []
    for value in values:
        flat.extend((-1,) if value is None else (8, value))
    layout = _layout(tuple([value is None for value in values]))
    return layout.pack(FIELDS, 4, pipeline_id, 8, received, *flat)


@cache
def _layout(missing: tuple[bool, ...]) -> struct.Struct:
    """Returns one of 256 layouts: a null is a length of -1 without a value. The last is a time, the others doubles."""
    letters = ["d"] * 7 + ["q"]
    return struct.Struct(
        ">hiiiq" + "".join("i" if gone else "i" + kind for gone, kind in zip(missing, letters, strict=True))
    )


def _microseconds(moment: float) -> int:
    return round(moment * 1_000_000) - POSTGRES_EPOCH_MICROSECONDS


_pack_full = _layout((False,) * 8).pack
