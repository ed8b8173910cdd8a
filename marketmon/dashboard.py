"""The admin's first page: how many exchanges run, which do not and why, open gaps, and what changed last."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from collectors import status
from collectors.models import Gap, Transition, WorkerStatus
from collectors.snapshot import WorkerView
from marketmon.admin import STATUS_LABELS, ago, cut, utc
from marketmon.lib import clock

SHOWN_TRANSITIONS = 10
ORDER = (WorkerStatus.ERROR, WorkerStatus.RUNNING, WorkerStatus.STOPPED)  # what needs somebody comes first


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's callback for the first page."""
    if request.user.has_perm("collectors.view_worker"):
        context |= _board(clock.now())
    return context


def board(request: HttpRequest) -> HttpResponse:
    """The part of the page that is asked for every three seconds."""
    return render(request, "admin/board.html", _board(clock.now()))


def _board(now: datetime) -> dict[str, Any]:
    """Three queries."""
    try:
        workers = status.read(now).workers
    except status.CollectorAbsent as absence:
        return {"board": {"absence": str(absence), "taken_at": utc(now)}}
    gaps = Gap.objects.filter(ended_at__isnull=True).count()
    return {
        "board": {
            **verdict(workers),
            "taken_at": utc(now),
            "open_gaps": gaps,
            "gaps_url": reverse("admin:collectors_gap_changelist") + "?open=yes",
            "workers": [_worker_row(worker, now) for worker in sorted(workers, key=_urgency)],
            "transitions": _transitions(now),
        }
    }


def verdict(workers: Sequence[WorkerView]) -> dict[str, Any]:
    """`5 of 6 exchanges running`. Those that were stopped on purpose are not counted against it."""
    wanted = [worker for worker in workers if worker.is_collected]
    running = [worker for worker in wanted if worker.status == WorkerStatus.RUNNING]
    is_well = len(running) == len(wanted) and bool(wanted)
    return {
        "sentence": f"{len(running)} of {len(wanted)} exchanges running",
        "on_purpose": len(workers) - len(wanted),
        "tone": "success" if is_well else "danger" if not running else "warning",
    }


def _urgency(worker: WorkerView) -> tuple[int, str]:
    places = [str(each) for each in ORDER]
    return places.index(worker.status), worker.exchange


def _worker_row(worker: WorkerView, now: datetime) -> dict[str, Any]:
    return {
        "exchange": worker.exchange,
        "url": reverse("admin:exchanges_exchange_change", args=[worker.exchange]),
        "status": worker.status,
        "variant": STATUS_LABELS.get(worker.status, ""),
        "last_update": ago(worker.stored_at, now),
        "errors": worker.error_count,
        "markets": worker.symbols_tracked,
        "reason": cut(worker.reason),
    }


def _transitions(now: datetime) -> list[dict[str, str]]:
    rows = Transition.objects.filter(exchange__removed_at__isnull=True).order_by("-happened_at", "-id")
    return [
        {
            "when": ago(row.happened_at, now),
            "moment": utc(row.happened_at),
            "exchange": row.exchange_id,
            "before": row.from_status,
            "after": row.to_status,
            "variant": STATUS_LABELS.get(row.to_status, ""),
            "why": cut(row.reason),
        }
        for row in rows[:SHOWN_TRANSITIONS]
    ]
