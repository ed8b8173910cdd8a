"""Checks and stores objectives, the same for API, admin and files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exchanges.models import is_exchange_id
from incidents.configuration import Misconfigured, is_pair
from incidents.objectives import counting
from incidents.objectives.models import Objective, ObjectiveDay, ObjectiveKind

LEAST_WINDOW_DAYS, LONGEST_WINDOW_DAYS = 7, 90  # gaps are kept for 90 days
LONGEST_WITHIN_SECONDS = 86_400
LEAST_TARGET, MOST_TARGET = 0.5, 0.99999
MOST_PAIRS = 500
MOST_PIPELINES = 5000  # the running day of so many is counted in seconds
COUNTED_BY = ("exchanges", "pairs", "kind", "within_seconds")  # what days were counted by


def check(row: Objective) -> None:
    """Checks an objective. Raises Misconfigured."""
    faults = {name: fault for name, fault in _faults(row).items() if fault}
    if not faults and (count := counting.pipelines(row)) > MOST_PIPELINES:
        faults["pairs"] = f"That is {count} markets, and at most {MOST_PIPELINES} are counted: name exchanges or pairs."
    if faults:
        raise Misconfigured(faults)


def _faults(row: Objective) -> Mapping[str, str]:
    wrong = next((name for name in row.exchanges if not is_exchange_id(name)), None)
    bad = next((name for name in row.pairs if not is_pair(name)), None)
    return {
        "name": "" if row.name.strip() else "An objective has a name.",
        "exchanges": "" if wrong is None else f"{wrong[:60]!r} is no exchange's id.",
        "pairs": _pairs_fault(row, bad),
        "kind": "" if row.kind in ObjectiveKind.values else f"One of {', '.join(ObjectiveKind.values)}.",
        "target": _within(row.target, LEAST_TARGET, MOST_TARGET),
        "within_seconds": _within(row.within_seconds, 0, LONGEST_WITHIN_SECONDS),
        "window_days": _within(row.window_days, LEAST_WINDOW_DAYS, LONGEST_WINDOW_DAYS),
    }


def _pairs_fault(row: Objective, bad: str | None) -> str:
    if len(row.pairs) > MOST_PAIRS:
        return f"At most {MOST_PAIRS}."
    return "" if bad is None else f"{bad[:60]!r} is no pair such as BTC/USDT."


def _within(value: Any, least: float, most: float) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "" if is_number and least <= value <= most else f"From {least} to {most}."


def save(row: Objective) -> None:
    """Stores an objective that was checked; days that were counted by other markets or rules are counted anew."""
    before = Objective.objects.filter(pk=row.pk).first() if row.pk else None
    is_other = before is not None and any(getattr(before, name) != getattr(row, name) for name in COUNTED_BY)
    if is_other:
        row.counted_at = None
        ObjectiveDay.objects.filter(objective=row).delete()
    row.save()
