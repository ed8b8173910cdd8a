"""Shows workers: how each exchange's collection goes, and its one verb."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.decorators import display

from collectors.api.workers import view_of, with_status
from collectors.models import Worker, WorkerStatus
from collectors.polling import transports
from collectors.rate_limits import admin as ledger
from lib import clock
from operations import permissions
from operations.admin.acting import carry_out
from operations.admin.buttons import RESTART, dialog
from operations.admin.dialogs import ConfirmForm
from web.admin import STATUS_LABELS, MachineAdmin, back_to_page, cut, since, word_filter


@admin.register(Worker)
class WorkerAdmin(MachineAdmin):
    """One collector per exchange; its row's key is the exchange's id, so the verb takes it as it is."""

    list_display = (
        "exchange", "state", "transport", "error_count", "problem", "last_update", "last_run", "symbols_tracked"
    )  # fmt: skip
    list_select_related = ("exchange__stream",)
    list_per_page = 200
    list_filter = (
        word_filter(
            "status",
            WorkerStatus.choices,
            parameter="status",
            narrow=lambda workers, word: with_status(workers, word, clock.now()),
        ),
    )
    search_fields = ("exchange__id__startswith",)
    ordering = ("exchange_id",)
    actions_row = ("restart",)
    actions_detail = ("restart",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        return super().get_queryset(request).filter(exchange__removed_at__isnull=True)  # type: ignore[no-any-return]

    def get_urls(self) -> list[Any]:
        return [*ledger.urls(), *super().get_urls()]

    @display(description="status", label=STATUS_LABELS)
    def state(self, worker: Worker) -> str:
        return view_of(worker, clock.now()).status

    @display(description="transport", header=True)
    def transport(self, worker: Worker) -> tuple[str, str]:
        """Shows the transport in use now; since when, and why."""
        now = transports.in_use(worker.exchange, clock.now())
        return now.word, ", ".join(filter(None, [since(now.since)[0] if now.since else "", cut(now.why)]))

    @display(description="last update", header=True)
    def last_update(self, worker: Worker) -> tuple[str, str]:
        return since(worker.stored_at)

    @display(description="last run", header=True)
    def last_run(self, worker: Worker) -> tuple[str, str]:
        return since(worker.heartbeat_at)

    @display(description="last error", header=True)
    def problem(self, worker: Worker) -> tuple[str, str]:
        return cut(worker.last_error) or "-", since(worker.last_error_at)[0] if worker.last_error else ""

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(permissions.needed_for("restart"))

    @dialog(RESTART, permission="operate")
    def restart(self, request: HttpRequest, form: ConfirmForm, object_id: str) -> HttpResponse:
        carry_out(request, "restart", object_id)
        return back_to_page(request, "admin:collectors_worker_changelist")
