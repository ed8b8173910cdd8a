"""The page of one exchange: how it is now and since when, its pipelines' day, and what happened last."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse

from board import gap_rows, pages
from board.gap_rows import GapRow
from collectors.admin.run_columns import OUTCOME_LABELS, problem_of, spent
from collectors.gaps import parts
from collectors.history import currencies
from collectors.models import Gap, Pipeline, Run, Switch, Transition, Worker
from collectors.polling import transports
from collectors.rules import age, worker_status
from collectors.status import workers
from exchanges.models import ConnectivityCheck, Exchange
from lib import clock
from web.admin import STATUS_LABELS, cut

SHOWN = 10
CHECK_LABELS = {"ok": "success", "started": "success", "failed": "danger", "skipped": "warning"}
TRANSPORTS = {"stream": "stream (websocket)", "poll": "poll every {seconds:g} s", "none": "none"}
TONES = {"running": "success", "error": "danger", "stopped": "warning"}


def show(request: HttpRequest, exchange_id: str) -> HttpResponse:
    """Shows the page, with nine queries whatever there is."""
    exchange = Exchange.objects.known().filter(pk=exchange_id).first()
    if exchange is None:
        raise Http404
    now = clock.now()
    context = {
        "title": exchange.name or exchange.pk,
        "exchange": exchange,
        "state": _state(exchange, now),
        "pipelines": _pipelines(exchange.pk),
        "checks": _checks(exchange.pk),
        "runs": _runs(exchange.pk),
        "parts": _parts(exchange.pk),
        "transitions": _transitions(exchange.pk),
        "switches": _switches(exchange.pk),
        "gaps": _gaps(exchange.pk, now),
        "links": _links(exchange.pk),
        "heat_url": reverse("board-exchange-heat", args=[exchange.pk]),
    }
    return pages.show(request, "board/exchange.html", context)


def _state(exchange: Exchange, now: datetime) -> dict[str, Any]:
    """Returns its worker's status as every other page says it, and the stream's."""
    worker = Worker.objects.filter(pk=exchange.pk).select_related("exchange", "exchange__stream").first()
    if worker is None:
        return {"status": "stopped", "tone": "warning", "reason": "it has no worker yet"}
    view = worker_status.view(workers.facts(worker), now)
    used = transports.in_use(worker.exchange, now)
    return {
        "status": view.status,
        "tone": "warning" if view.old and view.status == "running" else TONES.get(view.status, "warning"),
        "reason": view.reason or "; ".join(f"{answer.kind}: {answer.reason}" for answer in view.old),
        "since": worker.status_since,
        "stored_at": worker.stored_at,
        "stored_count": worker.stored_count,
        "heartbeat_at": worker.heartbeat_at,
        "errors": worker.error_count,
        "markets": worker.symbols_tracked,
        "retry_at": worker.retry_at if worker.retry_at and worker.retry_at > now else None,
        "transport": TRANSPORTS[used.word].format(seconds=exchange.poll_interval_seconds),
        "transport_why": used.why,
        "answers": [(kind, age.in_words(state)) for kind, state in sorted(age.of_json(worker.answers).items())],
        "is_old": bool(view.old),
        "unknown_rows": worker.unknown_rows,
        "not_compared": _not_compared(exchange),
    }


def _not_compared(exchange: Exchange) -> str:
    """Returns the names of currencies whose markets nobody can rank by size, where the largest are asked for."""
    if "top" not in exchange.market_filter and not any(each and "top" in each for each in exchange.depth.values()):
        return ""
    return ", ".join(currencies.not_compared(exchange.pk))


def _parts(exchange_id: str) -> list[dict[str, Any]]:
    """Returns what its polls go without now."""
    return [
        {
            "name": row.part,
            "since": row.started_at,
            "markets": len(row.pipelines),
            "outcome": "left out" if row.is_left_out else "in turn" if row.is_in_turn else row.outcome,
            "variant": "info" if row.is_left_out or row.is_in_turn else "danger",
            "why": cut(row.reason),
        }
        for row in parts.running([exchange_id]).get(exchange_id, [])
    ]


def _pipelines(exchange_id: str) -> dict[str, int]:
    return (
        Pipeline.objects.live()
        .filter(market__exchange_id=exchange_id)
        .aggregate(
            all=Count("pk"),
            silent=Count("pk", filter=Q(gap_open=True, received_at__isnull=False, market__halted_at=None)),
            halted=Count("pk", filter=Q(market__halted_at__isnull=False)),
            frozen=Count("pk", filter=Q(frozen=True)),
            never=Count("pk", filter=Q(received_at=None)),
        )
    )


def _checks(exchange_id: str) -> list[dict[str, Any]]:
    """Returns the checks of the newest occasion."""
    found = list(ConnectivityCheck.objects.filter(exchange_id=exchange_id).order_by("-checked_at", "pk")[:4])
    return [
        {
            "name": row.name.replace("_", " "),
            "result": row.result,
            "variant": CHECK_LABELS.get(row.result, ""),
            "reason": cut(row.reason),
            "at": row.checked_at,
        }
        for row in found
        if row.checked_at == found[0].checked_at
    ]


def _runs(exchange_id: str) -> list[dict[str, Any]]:
    return [
        {
            "at": run.started_at,
            "outcome": run.outcome,
            "variant": OUTCOME_LABELS.get(run.outcome, ""),
            "spent": spent(run),
            "rows": run.rows_stored,
            "quarantined": run.rows_quarantined,
            "repaired": run.rows_repaired,
            "error": cut(problem_of(run)),
        }
        for run in Run.objects.filter(exchange_id=exchange_id).order_by("-started_at")[:SHOWN]
    ]


def _transitions(exchange_id: str) -> list[dict[str, Any]]:
    rows = Transition.objects.filter(exchange_id=exchange_id).order_by("-happened_at", "-id")
    return [
        {
            "at": row.happened_at,
            "before": row.from_status,
            "after": row.to_status,
            "variant": STATUS_LABELS.get(row.to_status, ""),
            "why": cut(row.reason),
        }
        for row in rows[:SHOWN]
    ]


def _switches(exchange_id: str) -> list[dict[str, Any]]:
    rows = Switch.objects.filter(exchange_id=exchange_id).order_by("-happened_at", "-id")
    return [{"at": row.happened_at, "to": row.to_transport, "why": cut(row.reason)} for row in rows[:SHOWN]]


def _gaps(exchange_id: str, now: datetime) -> list[GapRow]:
    """Returns the open gaps, or else the newest; those of one outage in one row."""
    found = Gap.objects.filter(pipeline__market__exchange_id=exchange_id).select_related("pipeline__market")
    newest = found.order_by("-started_at", "-id")[: gap_rows.MOST_READ]
    running = list(found.filter(ended_at__isnull=True).order_by("-started_at", "-id")[: gap_rows.MOST_READ])
    return gap_rows.grouped(gap_rows.rows(running or newest, now), now=now, most=SHOWN)[0]


def _links(exchange_id: str) -> list[tuple[str, str]]:
    return [
        ("Restart, blacklist, settings …", reverse("admin:exchanges_exchange_change", args=[exchange_id])),
        ("All gaps", f"{reverse('board-gaps')}?exchange={exchange_id}"),
        ("All runs", f"{reverse('admin:collectors_run_changelist')}?exchange__id__exact={exchange_id}"),
        (
            "All pipelines",
            f"{reverse('admin:collectors_pipeline_changelist')}?market__exchange__id__exact={exchange_id}",
        ),
        ("All markets", f"{reverse('admin:exchanges_market_changelist')}?exchange__id__exact={exchange_id}"),
    ]
