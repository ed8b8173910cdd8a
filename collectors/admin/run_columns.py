"""The columns of every list of reports on rounds of asking, for people."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from unfold.decorators import display

from collectors.models.reports import RunReport
from web.admin import MachineAdmin, cut, since

OUTCOME_LABELS = {
    "stored": "success",
    "throttled": "warning",
    "held_back": "warning",
    "superseded": "info",
    "unreachable": "danger",
    "bad_reply": "danger",
    "denied": "danger",
    "not_connected": "danger",
    "failed": "danger",
    "unsupported": "info",
}


class ReportAdmin(MachineAdmin):
    list_select_related = ("exchange",)
    ordering = ("-started_at", "-id")

    readonly_fields = ("duration",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Returns the fields with the words for the duration: milliseconds do not say what they were spent on."""
        found = [name for name in super().get_fields(request, obj) if name != "duration"]
        return ["duration" if name == "duration_ms" else name for name in found]

    @display(description="started", header=True)
    def started(self, report: RunReport) -> tuple[str, str]:
        return since(report.started_at)

    @display(description="outcome", label=OUTCOME_LABELS)
    def result(self, report: RunReport) -> str:
        return report.outcome

    @display(description="duration")
    def duration(self, report: RunReport) -> str:
        return spent(report)

    @display(description="quarantined", label="warning")
    def quarantined(self, report: RunReport) -> str | None:
        return str(report.rows_quarantined) if report.rows_quarantined else None

    @display(description="problem")
    def problem(self, report: RunReport) -> str:
        return cut(problem_of(report))


def problem_of(report: RunReport) -> str:
    """Returns why a run brought nothing, or what one that stored rows could not use."""
    return report.error or (report.excerpt if report.outcome == "stored" else "")


def spent(report: RunReport) -> str:
    """Returns `243 ms` of a call, `listened 5.2 s` if nobody was asked, or `heard nothing for 6.1 s` at its end."""
    if not report.is_listened:
        return span(report.duration_ms)
    verb = "listened" if report.outcome in ("stored", "bad_reply") and not report.error else "heard nothing for"
    return f"{verb} {span(report.duration_ms)}"


def span(milliseconds: int) -> str:
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:,.1f} s"
