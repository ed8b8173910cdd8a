"""The page of objectives: what is left of each budget, who spent it, and the reports of months."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse

from board import pages
from incidents.objectives import counting
from incidents.objectives.models import Objective, ObjectiveReport
from incidents.rules.budgets import MinuteAccount, Spender

MOST_REPORTS = 36


@dataclass(frozen=True, slots=True)
class ObjectiveRow:
    """One objective as the page shows it; percents are of its budget."""

    objective: Objective
    account: MinuteAccount

    @property
    def budget(self) -> float:
        return self.account.budget(self.objective.target)

    @property
    def left(self) -> float:
        return self.account.left(self.objective.target)

    @property
    def left_percent(self) -> int:
        """Returns the percent that is left, 0 when more was spent; cut, so that 100 says that nothing is gone."""
        return max(0, int(100 * self.left / self.budget)) if self.budget else 0

    @property
    def target_percent(self) -> str:
        return f"{self.objective.target * 100:g}"

    @property
    def kept_percent(self) -> str:
        share = self.account.share
        return "-" if share is None else f"{int(share * 1e5) / 1e3:g} %"

    @property
    def spenders(self) -> list[tuple[str, int]]:
        return [(who.value, self.account.spent.get(who, 0)) for who in Spender]

    @property
    def tone(self) -> str:
        if self.objective.counted_at is None or not self.account.expected:
            return "unknown"
        if self.left < 0 or self.objective.burn == "fast":
            return "danger"
        return "warning" if self.objective.burn == "slow" else "success"


def show(request: HttpRequest) -> HttpResponse:
    """Shows all objectives. Two queries."""
    objectives = Objective.objects.order_by("-is_enabled", "name")
    context = {
        "title": "Objectives",
        "rows": [ObjectiveRow(each, counting.account_of(each)) for each in objectives],
        "reports": ObjectiveReport.objects.order_by("-month").defer("body")[:MOST_REPORTS],
        "may_add": request.user.has_perm("incidents.add_objective"),
    }
    return pages.show(request, "board/objectives.html", context)
