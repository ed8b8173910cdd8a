"""The heat map's rules: a day in quarter hours, each coloured by the share of its minutes that hold a stored row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

QUARTER = timedelta(minutes=15)
QUARTERS = 96
MINUTE = timedelta(minutes=1)
SETTLE = timedelta(seconds=90)  # a minute is rolled up and counted by then

FULL, NEARLY, PARTLY, LITTLE, NONE = "full", "nearly", "partly", "little", "none"
FILLED = "filled"  # whole now, a part of it from the exchange's history
PLANNED, UNKNOWN, BEFORE = "planned", "unknown", "before"
LEVELS = ((0.99, FULL), (0.9, NEARLY), (0.5, PARTLY))
WORDS = {
    FULL: "99 % or more stored",
    FILLED: "backfilled",
    NEARLY: "90 % or more",
    PARTLY: "half or more",
    LITTLE: "less than half",
    NONE: "nothing stored",
    PLANNED: "not expected (planned stop)",
    UNKNOWN: "not measured",
    BEFORE: "not collected yet",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One quarter of an hour. `expected` is None when nobody counted, 0 when nothing was to come. `is_before`:
    nobody counted because there was nothing to collect yet."""

    expected: int | None = None
    stored: int = 0
    is_filled: bool = False
    is_before: bool = False

    @property
    def level(self) -> str:
        if self.expected is None:
            return BEFORE if self.is_before else UNKNOWN
        if self.expected <= 0:
            return PLANNED
        if self.stored <= 0:
            return NONE
        share = self.stored / self.expected
        found = next((level for least, level in LEVELS if share >= least), LITTLE)
        return FILLED if found == FULL and self.is_filled else found


BEFORE_IT = Cell(is_before=True)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Cells of one level side by side: one rectangle on the screen."""

    level: str
    first: int
    count: int
    expected: int
    stored: int


@dataclass(frozen=True, slots=True)
class HeatGap:
    """A gap of one pipeline, as far as it touches the map."""

    started_at: datetime
    ended_at: datetime | None
    is_filled: bool = False


def window(now: datetime) -> list[datetime]:
    """The starts of the last 96 quarters, the running one last."""
    seconds = int(now.timestamp()) // 900 * 900
    last = datetime.fromtimestamp(seconds, UTC)
    return [last - QUARTER * back for back in range(QUARTERS - 1, -1, -1)]


def stretches(cells: Sequence[Cell]) -> list[Stretch]:
    found = []
    for level, group in groupby(enumerate(cells), key=lambda each: each[1].level):
        members = list(group)
        expected = sum(cell.expected or 0 for _, cell in members)
        stored = sum(min(cell.stored, cell.expected or 0) for _, cell in members)
        found.append(Stretch(level, members[0][0], len(members), expected, stored))
    return found


def share(cells: Iterable[Cell]) -> float | None:
    """Of all minutes that were expected; None when none were."""
    known = [(cell.expected or 0, min(cell.stored, cell.expected or 0)) for cell in cells]
    expected = sum(expected for expected, _ in known)
    return sum(stored for _, stored in known) / expected if expected else None


def said(stretch: Stretch, quarters: Sequence[datetime]) -> str:
    """`12:15 to 14:30 UTC: 130 of 135 expected minutes stored (96.2 %)`."""
    start = quarters[stretch.first]
    end = quarters[stretch.first + stretch.count - 1] + QUARTER
    return f"{start:%H:%M} to {end:%H:%M} UTC: {_fact(stretch)}"


def _fact(stretch: Stretch) -> str:
    if stretch.level in (PLANNED, UNKNOWN, BEFORE):
        return WORDS[stretch.level]
    if stretch.level == NONE:
        return f"none of {stretch.expected:,} expected minutes stored"
    later = ", a part of them later (backfilled)" if stretch.level == FILLED else ""
    return f"{stretch.stored:,} of {stretch.expected:,} expected minutes stored ({percent(stretch)}){later}"


def percent(stretch: Stretch) -> str:
    return share_words(stretch.stored / stretch.expected)


def share_words(part: float | None) -> str:
    """Never rounded up to 100 %, because then a gap would read as none."""
    if part is None:
        return "not measured"
    return "100 %" if part >= 1 else f"{min(part, 0.999):.1%}".replace("%", " %")


def pipeline_cell(
    quarter: datetime,
    *,
    now: datetime,
    stored: int,
    expected_seconds: float,
    listed_at: datetime,
    is_planned: bool | None,
    silences: Sequence[HeatGap],
    has_rows: bool,
) -> Cell:
    """A quarter of one pipeline. `is_planned` is the exchange's, None when nobody counted it.

    The ledger decides what was lost: where it has no gap, minutes without a row were not expected to have one, unless
    nothing ever came.
    """
    touching = [gap for gap in silences if _touches(gap, quarter, now)]
    expected = expected_minutes(quarter, now=now, expected_seconds=expected_seconds, listed_at=listed_at)
    if expected == 0 or (is_planned is None and not stored and not touching):
        return Cell(None)
    if touching:
        return Cell(expected, stored, is_filled=any(gap.is_filled for gap in touching))
    return Cell(stored, stored) if stored or is_planned or has_rows else Cell(expected)


def with_beginning(cells: Sequence[Cell], quarters: Sequence[datetime], began_at: datetime) -> tuple[Cell, ...]:
    """What nobody counted because it began later is no lack of knowledge."""
    return tuple(
        BEFORE_IT if cell.expected is None and quarter + QUARTER <= began_at else cell
        for cell, quarter in zip(cells, quarters, strict=True)
    )


def _touches(gap: HeatGap, quarter: datetime, now: datetime) -> bool:
    return gap.started_at < quarter + QUARTER and (gap.ended_at or now) > quarter


def expected_minutes(quarter: datetime, *, now: datetime, expected_seconds: float, listed_at: datetime) -> int:
    """Whole minutes of the quarter that should hold a row by now; a pipeline slower than a minute fills fewer."""
    end = min(quarter + QUARTER, counted_until(now))
    whole = (end - max(quarter, listed_at)) // MINUTE
    return max(0, int(whole * 60 / max(60.0, expected_seconds)))


def counted_until(now: datetime) -> datetime:
    """Minutes before this are rolled up."""
    return (now - SETTLE).replace(second=0, microsecond=0)
