"""Draws the rows of an exchange's last minutes as one line, and says them in words."""

from __future__ import annotations

from collections.abc import Sequence

from incidents.signs.activity import SPARK_MINUTES


def sparkline(rows: Sequence[int], *, height: int = 20) -> str:
    """Returns an SVG path of steps from the floor, one unit wide each; a minute without rows is a hole to the floor."""
    most = max(rows, default=0)
    if not most:
        return ""
    steps = "".join(f"V{height - round(height * row / most, 1):g}h1" for row in rows)
    return f"M0 {height}{steps}V{height}Z"


def spark_words(rows: Sequence[int]) -> str:
    """Returns the sparkline's figures in words, for readers who do not see it."""
    return (
        f"rows stored per minute, last {SPARK_MINUTES} minutes: newest {rows[-1]}, least {min(rows)}, most {max(rows)}"
    )
