"""Admin pages of objectives and of their reports."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import display

from incidents import configuration
from incidents.admin.kit import AuditedAdmin
from incidents.objectives import configuring, counting
from incidents.objectives.models import Objective, ObjectiveReport
from lib import clock
from web.admin import MachineAdmin, cut, since

BURN_LABELS = {"none": "success", "slow": "warning", "fast": "danger"}


class ObjectiveForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Objective
        fields = (
            "name", "is_enabled", "exchanges", "pairs", "kind", "target", "within_seconds", "window_days",
        )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        sent: dict[str, Any] = super().clean() or {}
        if self.errors:
            return sent
        try:
            configuring.check(Objective(**sent))
        except configuration.Misconfigured as error:
            raise forms.ValidationError(dict(error.faults)) from error
        return sent


@admin.register(Objective)
class ObjectiveAdmin(AuditedAdmin):
    form = ObjectiveForm
    list_display = ("name", "is_enabled", "promised", "covers", "left", "spent_by", "burns", "counted")
    search_fields = ("name__icontains",)
    ordering = ("name",)

    @display(description="promised")
    def promised(self, row: Objective) -> str:
        how = f"known within {row.within_seconds} s" if row.kind == "timely" else "in the end"
        return f"{row.target * 100:g} %, {how}, over {row.window_days} days"

    @display(description="covers")
    def covers(self, row: Objective) -> str:
        return cut("; ".join(", ".join(names) for names in (row.exchanges, row.pairs) if names)) or "everything"

    @display(description="minutes left")
    def left(self, row: Objective) -> str:
        if row.counted_at is None:
            return "not counted yet"
        of = counting.account_of(row)
        return f"{of.left(row.target):.0f} of {of.budget(row.target):.0f}"

    @display(description="spent by")
    def spent_by(self, row: Objective) -> str:
        return ", ".join(f"{who} {minutes}" for who, minutes in row.spent.items() if minutes) or "nobody"

    @display(description="burns", label=BURN_LABELS)
    def burns(self, row: Objective) -> str:
        return row.burn

    @display(description="counted", header=True)
    def counted(self, row: Objective) -> tuple[str, str]:
        return since(row.counted_at)

    def save_model(self, request: HttpRequest, obj: Objective, form: Any, change: bool) -> None:
        obj.created_at = obj.created_at or clock.now()
        configuring.save(obj)
        super().save_model(request, obj, form, change)


@admin.register(ObjectiveReport)
class ObjectiveReportAdmin(MachineAdmin):
    list_display = ("__str__", "computed_at", "forms_of_it")
    ordering = ("-month",)

    @display(description="as")
    def forms_of_it(self, row: ObjectiveReport) -> str:
        links = [reverse("objective-report", args=(str(row), form)) for form in ("html", "csv", "json")]
        return format_html('<a href="{}">HTML</a> <a href="{}">CSV</a> <a href="{}">JSON</a>', *links)
