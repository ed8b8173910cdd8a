"""Two clocks for every exchange: one that prices follow, one that stamps and the venue's own time follow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Clock:
    """Real time plus an offset, unless it stands still."""

    offset_seconds: float = 0.0
    frozen_at: float | None = None

    def at(self, now: float) -> float:
        return (now if self.frozen_at is None else self.frozen_at) + self.offset_seconds

    def render(self, now: float) -> dict[str, object]:
        return {"offset_seconds": self.offset_seconds, "frozen": self.frozen_at is not None, "shows": self.at(now)}
