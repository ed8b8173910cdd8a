"""One measured claim: ours against the other way, taken in turn on the same machine, with the ratio that we promise."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

SLACK = 0.25  # shared machines: a goal is missed only by more than this


@dataclass(frozen=True, slots=True)
class Comparison:
    """`ours` and `other` are in the same `unit`, their ratio is ours to other. Without a goal it is only reported.

    `at_most` turns the goal round: for memory and CPU less is better.
    """

    name: str
    ours: float
    other: float
    goal: float | None = None
    unit: str = "rows/s"
    at_most: bool = False
    rounds: int = 1
    note: str = ""

    @property
    def ratio(self) -> float:
        return self.ours / self.other if self.other else 0.0

    @property
    def is_missed(self) -> bool:
        if self.goal is None:
            return False
        if self.at_most:
            return self.ratio > self.goal * (1 + SLACK)
        return self.ratio < self.goal * (1 - SLACK)

    def line(self) -> str:
        sign = "<=" if self.at_most else "="
        goal = "goal=-" if self.goal is None else f"goal{sign}{self.goal:g}"
        return f"bench {self.name} ours={brief(self.ours)} other={brief(self.other)} ratio={self.ratio:.3g} {goal}"

    def record(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "ours": round(self.ours, 3),
            "other": round(self.other, 3),
            "ratio": round(self.ratio, 4),
            "goal": self.goal,
            "goal_is": "at most" if self.at_most else "at least",
            "unit": self.unit,
            "rounds": self.rounds,
            "note": self.note,
        }


def alternate(sides: Sequence[Callable[[int], float]], *, rounds: int, warm_up_rounds: int = 1) -> list[float]:
    """Each side's median. A side is called with the number of the round and gives its own figure (rows/s, seconds);
    every round calls all of them, so that a noisy neighbour meets them alike."""
    results = [[side(number) for side in sides] for number in range(warm_up_rounds + rounds)]
    measured = results[warm_up_rounds:]
    return [statistics.median(column) for column in zip(*measured, strict=True)]


def seconds_of(work: Callable[[], object], *, clock: Callable[[], float] = time.perf_counter) -> float:
    """How long one call takes; `time.process_time` for work that only computes."""
    started = clock()
    work()
    return clock() - started


def brief(value: float) -> str:
    """Three digits that matter, no exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
