"""Computes the report of a month once, on the eighth day after it, when backfill has done what it can; and renders it.

What is served is what was stored then, whatever became known later.
"""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import transaction
from django.template.loader import render_to_string

from incidents.objectives import counting
from incidents.objectives.models import Objective, ObjectiveDay, ObjectiveReport
from incidents.rules.budgets import MinuteAccount, Spender
from lib import clock

COMPUTED_ON_DAY = 8
COLUMNS = (
    "objective", "day", "target", "expected_minutes", *(f"lost_by_{who}" for who in Spender), "pending_minutes",
    "planned_minutes", "share",
)  # fmt: skip


def run(now: datetime) -> ObjectiveReport | None:
    """Computes the report of the month before, where it is due and not there. Twice finds the same."""
    today = now.astimezone(UTC).date()
    month = month_before(today)
    if today.day < COMPUTED_ON_DAY or ObjectiveReport.objects.filter(month=month).exists():
        return None
    if not Objective.objects.filter(created_at__lt=counting.midnight(today.replace(day=1))).exists():
        return None  # nothing was promised then
    with transaction.atomic():
        report, is_new = ObjectiveReport.objects.get_or_create(
            month=month, defaults={"computed_at": now, "body": compute(month, now)}
        )
    return report if is_new else None


def month_before(day: date) -> date:
    """Returns the first day of the month before."""
    return (day.replace(day=1) - timedelta(days=1)).replace(day=1)


def compute(month: date, now: datetime) -> dict[str, Any]:
    """Counts each day of a month anew, from what is known by now, and returns the report's body."""
    end = (month + timedelta(days=32)).replace(day=1)
    promised = Objective.objects.filter(is_enabled=True, created_at__lt=counting.midnight(end)).order_by("name")
    return {
        "month": f"{month:%Y-%m}",
        "computed_at": clock.microseconds_z(now),
        "objectives": [_of_objective(each, month, end, now) for each in promised],
    }


def _of_objective(objective: Objective, month: date, end: date, now: datetime) -> dict[str, Any]:
    for number in range((end - month).days):
        counting.count_day(objective, month + timedelta(days=number), now)
    rows = list(ObjectiveDay.objects.filter(objective=objective, day__gte=month, day__lt=end).order_by("day"))
    total = sum(map(counting.account_of, rows), MinuteAccount())
    return {
        "name": objective.name,
        "exchanges": objective.exchanges,
        "pairs": objective.pairs,
        "kind": objective.kind,
        "within_seconds": objective.within_seconds,
        "target": objective.target,
        "is_met": None if total.share is None else total.left(objective.target) >= 0,
        **facts(total, objective.target),
        "days": [{"day": row.day.isoformat(), **facts(counting.account_of(row), objective.target)} for row in rows],
    }


def facts(of: MinuteAccount, target: float) -> dict[str, Any]:
    """Returns an account as JSON; shares are cut, so that 1.0 says that nothing was lost."""
    return {
        "expected_minutes": of.expected,
        "lost_minutes": of.lost,
        "spent": {who.value: of.spent.get(who, 0) for who in Spender},
        "pending_minutes": of.pending,
        "planned_minutes": of.planned,
        "budget_minutes": round(of.budget(target), 1),
        "left_minutes": round(of.left(target), 1),
        "share": None if of.share is None else int(of.share * 1e6) / 1e6,
    }


def as_csv(body: dict[str, Any]) -> str:
    """Returns a report as CSV: a line for each objective's day, and one for its month."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for each in body["objectives"]:
        for row in (*each["days"], {**each, "day": body["month"]}):
            writer.writerow(_line(each, row))
    return out.getvalue()


def _line(of: dict[str, Any], row: dict[str, Any]) -> list[Any]:
    name = of["name"] if of["name"][:1] not in "=+-@\t\r" else f"'{of['name']}"  # no formula to a spreadsheet
    spent = [row["spent"][who] for who in Spender]
    ends = [row["pending_minutes"], row["planned_minutes"], "" if row["share"] is None else row["share"]]
    return [name, row["day"], of["target"], row["expected_minutes"], *spent, *ends]


def as_html(body: dict[str, Any]) -> str:
    """Returns a report as a page of its own, without scripts, for mail and archives."""
    return render_to_string("incidents/objective_report.html", {"report": body, "spenders": list(Spender)})
