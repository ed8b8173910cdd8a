"""Prometheus' series of incidents: what lasts, what waits, which channels fail, what is left of budgets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Count, Min
from prometheus_client.core import Metric

from incidents.models import WAITING, AlertChannel, Delivery, Incident
from incidents.objectives import counting
from incidents.objectives.models import Objective
from incidents.rules.budgets import Burn, Spender
from incidents.rules.words import IncidentKind, Level
from metrics.families import gauge


def families(now: datetime) -> Iterator[Metric]:
    """Yields the series. Four queries."""
    lasting = gauge("incidents_open", "Incidents that last and that no other explains.", "kind", "severity")
    roots = Incident.objects.filter(ended_at__isnull=True, parent__isnull=True, is_drill=False)
    counts = {
        (row["kind"], row["severity"]): row["n"] for row in roots.values("kind", "severity").annotate(n=Count("id"))
    }
    for kind in IncidentKind:
        for level in Level:
            if kind != IncidentKind.DRILL:
                lasting.add_metric([kind, level], counts.get((kind, level), 0))
    waiting = gauge("deliveries_waiting", "Messages that are due and not delivered yet.")
    oldest = gauge("delivery_overdue_seconds", "For how long the oldest of them has been due.")
    due = Delivery.objects.filter(state__in=WAITING, due_at__lte=now, next_try_at__lte=now)
    found = due.aggregate(n=Count("id"), since=Min("due_at"))
    waiting.add_metric([], found["n"])
    oldest.add_metric([], (now - found["since"]).total_seconds() if found["since"] else 0.0)
    failing = gauge("channel_failing", "1 while a channel's messages fail.", "channel")
    for name, since in AlertChannel.objects.filter(is_enabled=True).values_list("name", "failing_since"):
        failing.add_metric([name], float(since is not None))
    yield from (lasting, waiting, oldest, failing, *_budgets())


def _budgets() -> Iterator[Metric]:
    """Yields what is left of each objective's budget, and who spent it, of those that were counted. One query."""
    left = gauge("objective_budget_left_minutes", "Minutes that may still be lost; below zero: overspent.", "objective")
    whole = gauge("objective_budget_minutes", "Minutes that may be lost in the objective's window.", "objective")
    spent = gauge(
        "objective_spent_minutes", "Minutes lost in the objective's window, by who lost them.", "objective", "by"
    )
    burning = gauge("objective_burning", "1 while the budget burns so fast.", "objective", "speed")
    for row in Objective.objects.filter(is_enabled=True, counted_at__isnull=False).order_by("name"):
        account = counting.account_of(row)
        left.add_metric([row.name], account.left(row.target))
        whole.add_metric([row.name], account.budget(row.target))
        for who in Spender:
            spent.add_metric([row.name, who], account.spent.get(who, 0))
        for speed in (Burn.SLOW, Burn.FAST):
            burning.add_metric([row.name, speed], float(row.burn == speed))
    yield from (left, whole, spent, burning)
