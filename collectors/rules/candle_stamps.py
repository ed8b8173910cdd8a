"""The rule that finds candles stamped at their end: by our own rows of the same minutes, whatever the exchange is."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

MINUTE = 60.0
LEAST_COMPARED = 10  # minutes
CLEARLY = 0.5  # one way of reading fits twice as well as the other


def shift_seconds(closes: Mapping[float, float], ours: Mapping[float, float]) -> float | None:
    """Returns by how much candles are stamped too late: 0, or a minute where they carry their end; None where that
    cannot be told. `closes` are by the candles' stamps, `ours`, our last prices, by the minutes' beginnings."""
    compared = [
        (abs(close / ours[at] - 1), abs(close / ours[at - MINUTE] - 1))
        for at, close in closes.items()
        if at in ours and at - MINUTE in ours
    ]
    if len(compared) < LEAST_COMPARED:
        return None
    as_beginning, as_end = (median(each) for each in zip(*compared, strict=True))
    if as_beginning < as_end * CLEARLY:
        return 0.0
    return MINUTE if as_end < as_beginning * CLEARLY else None
