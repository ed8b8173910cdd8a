"""The interval at which a pipeline's rows come: learned from its own distances, in whole polls, below a ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

LEAST_DISTANCES = 30  # fewer say nothing
QUANTILE = 0.9  # one late row in ten does not make a market slow
AT_ONCE = 0.25  # of a poll interval: jitter, not a missed poll
KEEP_SHARE = 0.1  # a smaller change is not worth a write to a hot row


def expected_seconds(distances: Sequence[float], *, poll_seconds: float, ceiling_seconds: float) -> float:
    """Returns the interval in seconds within which nine of ten rows came, as a whole number of polls.

    Distances are between received rows, without those that an outage made. The poll interval when there are too few.
    """
    if len(distances) < LEAST_DISTANCES:
        return poll_seconds
    ordered = sorted(distances)
    usual = ordered[ceil(QUANTILE * len(ordered)) - 1]
    polls = max(1, ceil(usual / poll_seconds - AT_ONCE))
    return max(poll_seconds, min(polls * poll_seconds, ceiling_seconds))


def is_news(learned: float, known: float) -> bool:
    return abs(learned - known) > KEEP_SHARE * known


def reason(expected: float, *, poll_seconds: float, ceiling_seconds: float) -> str:
    """Returns in words why a pipeline is expected so often."""
    if expected <= poll_seconds:
        return f"every poll ({poll_seconds:g} s)"
    if expected >= ceiling_seconds:
        return f"comes seldom; held at the ceiling of {ceiling_seconds:g} s"
    return f"learned: nine of ten rows come within {expected:g} s, polls are every {poll_seconds:g} s"
